"""PyTorch without a compiler of its own: oneDNN where this machine has it (see ``fused``)."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from darknet_builder.engines.base import COMPILED_FROM_CALL, PRECISIONS, for_convolutions
from darknet_builder.engines.fused import FusedNetwork, available_methods, quiet_torchscript
from darknet_builder.network.network import Network

_MOST_LAYOUTS = 4
"""How many input layouts stay compiled: each has its own packed weights."""
_WARM_UP = 3
"""TorchScript looks at the shapes in the first call and compiles in the second."""
_CACHED_BYTES = 16 * 2**20
"""Upper limit for the largest map of a part of a batch: half of a common last-level cache, so that
what one layer has written is still there when the next reads it. ``docs/performance.md`` has the
measurement."""


class InputLayout(NamedTuple):
    """Shape and strides of an input: compiled code assumes both."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]


class RecurrentEngine:
    """The network itself, in float32: its memory stays its own."""

    detail = "the network itself"
    compiles = False

    def __init__(self, network: Network) -> None:
        self._network = network

    def __call__(self, x: Tensor) -> list[Tensor]:
        """See ``Engine``."""
        return self._network.outputs(x)


class TorchEngine:
    """Run the fused network by the best method that this machine's PyTorch has (see ``fused``).

    With ``graph``, the third call of an input layout compiles; the first two run as ``plain``. On
    the CPU a batch whose maps would fall out of the cache goes through in parts.

    Args:
        network: loaded.
        precision: one of ``engine_names.PRECISION_NAMES``.
        method: one of ``fused.METHODS``; the best one by default.
    """

    def __init__(self, network: Network, precision: str, method: str | None = None) -> None:
        device = network.device
        self.detail = method or (available_methods()[0] if device.type == "cpu" else "plain")
        self.compiles = self.detail == "graph"
        self._dtype = PRECISIONS[precision]
        self._fused = FusedNetwork(network, self._dtype, self.detail, channels_last=True)
        self._compiled: OrderedDict[InputLayout, Callable[[Tensor], tuple[Tensor, ...]]] = (
            OrderedDict()
        )
        self._calls: Counter[InputLayout] = Counter()
        self._images_cached = _images_cached(network, self._dtype) if device.type == "cpu" else None

    def __call__(self, x: Tensor) -> list[Tensor]:
        """See ``Engine``."""
        if self._images_cached is None or len(x) <= self._images_cached:
            return self._run(x)
        parts = [self._run(part) for part in _even_parts(x, self._images_cached)]
        return [torch.cat(outputs) for outputs in zip(*parts, strict=True)]

    def _run(self, x: Tensor) -> list[Tensor]:
        if x.dtype != self._dtype or not x.is_contiguous():
            x = for_convolutions(x, self._dtype)
        return [output.float() for output in self._function_for(x)(x)]

    def _function_for(self, x: Tensor) -> Callable[[Tensor], tuple[Tensor, ...]]:
        """Return compiled code for a common input layout; a rare one, as the last batch of a
        folder, gets none.
        """
        layout = InputLayout(tuple(x.shape), x.stride())
        self._calls[layout] += 1
        if not self.compiles or self._calls[layout] < COMPILED_FROM_CALL:
            return self._fused
        if layout not in self._compiled:
            self._compiled[layout] = _compile_graph(self._fused, x)
            if len(self._compiled) > _MOST_LAYOUTS:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(layout)
        return self._compiled[layout]


def _images_cached(network: Network, dtype: torch.dtype) -> int:
    """Return the number of images at once whose largest map stays within ``_CACHED_BYTES``; one at
    least.
    """
    layers = network.sequence()
    largest = max(
        [
            network.input_shape.size,
            *(layers[index].out_shape.size for index in network.output_plan.steps),
        ]
    )
    return max(1, _CACHED_BYTES // (largest * dtype.itemsize))


def _even_parts(x: Tensor, most: int) -> Sequence[Tensor]:
    """Split a batch into parts of up to ``most`` images: equal ones unless they are small, as each
    size is compiled.
    """
    divisor = next(size for size in range(most, 0, -1) if len(x) % size == 0)
    return x.split(divisor) if 2 * divisor >= most else x.tensor_split(-(-len(x) // most))


def _compile_graph(fused: FusedNetwork, example: Tensor) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """Trace, freeze, and have oneDNN Graph compile what it knows; the switch is global, so it is
    put back.
    """
    before = torch.jit.onednn_fusion_enabled()
    with torch.inference_mode(False), torch.no_grad(), quiet_torchscript():
        try:
            torch.jit.enable_onednn_fusion(True)
            x = torch.zeros_like(example)
            compiled = torch.jit.freeze(torch.jit.trace(fused, x, check_trace=False))
            for _ in range(_WARM_UP):
                compiled(x)
        finally:
            torch.jit.enable_onednn_fusion(before)
    return compiled
