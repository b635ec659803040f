"""Run networks in PyTorch, with oneDNN if this machine's PyTorch has it (see ``fused``)."""

from __future__ import annotations

import threading
import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from darknet_builder.engines.base import (
    COMPILED_FROM_CALL,
    PRECISIONS,
    cause_in_one_line,
    for_convolutions,
)
from darknet_builder.engines.cuda_graph import CudaGraphs
from darknet_builder.engines.fused import FusedNetwork, available_methods, quiet_torchscript
from darknet_builder.network.network import Network

_MAX_LAYOUTS = 4
"""Maximum number of input layouts that stay compiled; each has its own packed weights, or on a GPU
its own input and outputs."""
_WARM_UP = 3
"""Number of calls after tracing. TorchScript records shapes in the first call and compiles in the
second."""
_CACHED_BYTES = 16 * 2**20
"""Upper limit in bytes for the largest map of a part of a batch. It is half of a common last-level
cache, so that the output of one layer is still in the cache when the next layer reads it.
``docs/performance.md`` has the measurement."""
_COMPILING = threading.Lock()
"""Held by the thread that compiles, because oneDNN Graph is switched for the whole process, and a
process can record only one CUDA graph at a time."""
_Compiled = Callable[[Tensor], Sequence[Tensor]]


class InputLayout(NamedTuple):
    """Shape and strides of an input; compiled code is valid for one pair only.

    A CUDA graph copies inputs of any strides into its own, so its layout has none.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]


class RecurrentEngine:
    """Run a recurrent network itself, in float32, because its layers hold the state.

    Args:
        network: a network with its weights, in eval mode.
    """

    detail = "the network itself"
    compiles = False

    def __init__(self, network: Network) -> None:
        self._network = network

    def __call__(self, x: Tensor) -> list[Tensor]:
        """See ``Engine``."""
        return self._network.outputs(x)


class TorchEngine:
    """Run the fused network by the best method that this machine's PyTorch has (see ``fused``).

    With the method ``graph``, the third call for an input layout compiles; the first two run like
    ``plain``. On the CPU, a batch whose maps do not fit into the cache is run in parts.

    On CUDA, the third call for an input shape records a CUDA graph, which later calls replay. A
    network that cannot be recorded continues like ``plain``, with a warning.

    Args:
        network: a network with its weights, in eval mode.
        precision: type of the activations, one of ``PRECISION_NAMES``.
        method: one of ``fused.METHODS``, without CUDA graphs; None takes the best one that is
            available.
    """

    def __init__(self, network: Network, precision: str, method: str | None = None) -> None:
        device = network.device
        self.detail = method or (available_methods()[0] if device.type == "cpu" else "plain")
        self._dtype = PRECISIONS[precision]
        self._fused = FusedNetwork(network, self._dtype, self.detail, channels_last=True)
        self._uses_onednn_graph = self.detail == "graph"
        self._cuda_graphs: CudaGraphs | None = None
        if device.type == "cuda" and method is None:
            self._cuda_graphs = CudaGraphs(self._fused, device)
            self.detail = "CUDA graph"
        self.compiles = self._uses_onednn_graph or self._cuda_graphs is not None
        self._compiled: OrderedDict[InputLayout, _Compiled] = OrderedDict()
        self._calls: Counter[InputLayout] = Counter()
        # Maximum number of images in a part; None runs every batch whole.
        self._images_cached = _images_cached(network, self._dtype) if device.type == "cpu" else None

    def __call__(self, x: Tensor) -> list[Tensor]:
        """See ``Engine``."""
        if self._images_cached is None or len(x) <= self._images_cached:
            return self._run(x)
        parts = [self._run(part) for part in _even_parts(x, self._images_cached)]
        # A list of outputs for each part -> one list of outputs for the batch.
        return [torch.cat(outputs) for outputs in zip(*parts, strict=True)]

    def _run(self, x: Tensor) -> list[Tensor]:
        if self._cuda_graphs is not None and CudaGraphs.usable_now():
            replay = self._compiled_for(InputLayout(tuple(x.shape), ()), partial(self._record, x))
            if replay is not None:
                return list(replay(x))
        # A contiguous float32 input is left alone: FusedNetwork converts it, and frees the copy.
        if x.dtype != self._dtype or not x.is_contiguous():
            x = for_convolutions(x, self._dtype)
        function: _Compiled | None = None
        if self._uses_onednn_graph:
            layout = InputLayout(tuple(x.shape), x.stride())
            function = self._compiled_for(layout, partial(_compile_graph, self._fused, x))
        return [output.float() for output in (function or self._fused)(x)]

    def _compiled_for(
        self, layout: InputLayout, compile_it: Callable[[], _Compiled | None]
    ) -> _Compiled | None:
        """Return compiled code for a frequent input layout, and None for a rare one.

        A rare layout is, for example, the smaller last batch of a folder.

        Args:
            layout: the layout of the call's input.
            compile_it: compiles for this layout; None if that is not possible.
        """
        with _COMPILING:  # a second thread must not compile the same layout again
            self._calls[layout] += 1
            if self._calls[layout] < COMPILED_FROM_CALL:
                return None
            if layout not in self._compiled:
                compiled = compile_it()
                if compiled is None:
                    return None
                self._compiled[layout] = compiled
                if len(self._compiled) > _MAX_LAYOUTS:
                    self._compiled.popitem(last=False)  # the least recently used one
            self._compiled.move_to_end(layout)
            return self._compiled[layout]

    def _record(self, x: Tensor) -> _Compiled | None:
        """Record a CUDA graph; if that fails, warn and return None, now and in all later calls."""
        if self._cuda_graphs is None:  # it has failed in another thread, while this one waited
            return None
        try:
            return self._cuda_graphs.record(for_convolutions(x, self._dtype))
        except RuntimeError as error:
            cause = cause_in_one_line(error)
        self._cuda_graphs, self.compiles = None, False
        self._compiled.clear()  # frees their memory, if that is what was missing
        self.detail = f"plain, because no CUDA graph can be recorded: {cause}"
        message = f"the network runs without a CUDA graph, which is slower: {cause}"
        warnings.warn(message, RuntimeWarning, stacklevel=2)
        return None


def _images_cached(network: Network, dtype: torch.dtype) -> int:
    """Return the number of images whose largest map fits into ``_CACHED_BYTES``, 1 at least."""
    layers = network.sequence()
    sizes = [layers[index].out_shape.size for index in network.output_plan.steps]
    largest = max([network.input_shape.size, *sizes])  # values of one image
    return max(1, _CACHED_BYTES // (largest * dtype.itemsize))


def _even_parts(x: Tensor, limit: int) -> Sequence[Tensor]:
    """Split a batch into parts of at most ``limit`` images, equal ones if possible.

    Every size of a part is compiled separately, so equal parts save time. For example:

    * 8 images, limit 6: 4 + 4;
    * 7 images, limit 6: 4 + 3, because the only equal parts are 7 times 1 image.
    """
    divisor = next(size for size in range(limit, 0, -1) if len(x) % size == 0)
    num_parts = -(-len(x) // limit)  # rounded up
    return x.split(divisor) if 2 * divisor >= limit else x.tensor_split(num_parts)


def _compile_graph(fused: FusedNetwork, example: Tensor) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """Trace and freeze the network, and let oneDNN Graph compile the parts that it supports.

    Args:
        fused: the network to trace, in eval mode.
        example: an input of the layout to compile for; its values do not count.
    """
    # The switch is global: restore it, because other code in the process may use TorchScript.
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
