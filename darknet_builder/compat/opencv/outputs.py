"""Compute the values of OpenCV's layers with a Darknet network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from darknet_builder.boxes.formats import on_cpu
from darknet_builder.compat.opencv.names import Part, Stage, keeps_shape
from darknet_builder.compat.opencv.rows import RowRules, rows_of
from darknet_builder.layers.base import Head
from darknet_builder.network.network import Network

Runner = Callable[[Tensor], Sequence[Tensor]]
"""A fast path: input -> the outputs of ``Network.output_indices``."""


def values_of(
    network: Network, stages: Sequence[Stage], x: Tensor, run: Runner | None, *, suppress: bool
) -> list[np.ndarray]:
    """Return the value of each stage, float32.

    Args:
        network: the network, in eval mode, at the size of ``x``.
        stages: the stages to compute.
        x: (B, C, H, W) or (B, N) on the network's device.
        run: the fast path; None for the network itself.
        suppress: whether heads may suppress boxes (see ``RowRules.nms``).
    """
    needed = tuple(dict.fromkeys(index for stage in stages for index in _reads(network, stage)))
    if run is not None and set(needed) <= set(network.output_indices):
        outputs = dict(zip(network.output_indices, run(x), strict=True))
    else:
        outputs = dict(zip(needed, network.outputs_of(x, needed), strict=True))
    return [_value(network, stage, outputs, suppress) for stage in stages]


def _reads(network: Network, stage: Stage) -> tuple[int, ...]:
    """Return the indices of the layers whose outputs a stage is computed from."""
    if stage.part is not Part.WHOLE:
        return network.sequence()[stage.index].sources
    return (_before_cost(network, stage.index),)


def _before_cost(network: Network, index: int) -> int:
    """Return the layer whose output a layer returns: itself, or the one before a [cost]."""
    layers = network.sequence()
    while index >= 0 and layers[index].is_cost:
        index = layers[index].sources[0]
    return index


def _value(
    network: Network, stage: Stage, outputs: dict[int, Tensor], suppress: bool
) -> np.ndarray:
    layer = network.sequence()[stage.index]
    inputs = [outputs[index] for index in _reads(network, stage)]
    if stage.part is Part.ROWS:
        assert isinstance(layer, Head)
        rules = RowRules.of(layer, network.blocks[stage.index + 1], suppress=suppress)
        return rows_of(layer, inputs[0], network.input_size, rules)
    if stage.part is Part.MAP:
        raw = inputs[0]
        return on_cpu((raw.permute(0, 2, 3, 1) if raw.dim() == 4 else raw).contiguous())
    if stage.part is Part.WHOLE:
        return on_cpu(_as_before(network, stage.index, inputs[0]).contiguous())
    return on_cpu(input_of(getattr(layer, stage.part.value), layer, inputs).contiguous())


def _as_before(network: Network, index: int, output: Tensor) -> Tensor:
    """Give a softmax the shape of its input, as OpenCV does; Darknet's is a vector."""
    layer = network.sequence()[_before_cost(network, index)]
    if not keeps_shape(layer) or layer.in_shape.flat:
        return output
    return output.reshape(layer.in_shape.batched(len(output)))


def input_of(module: nn.Module, layer: nn.Module, inputs: Sequence[Tensor]) -> Tensor:
    """Run a layer, and return the input of one of its modules.

    Args:
        module: the module whose input is returned.
        layer: the layer that contains it.
        inputs: the inputs of the layer.
    """
    seen: list[Tensor] = []
    # A copy: activations may work in the memory of their input.
    handle = module.register_forward_pre_hook(lambda _, args: seen.append(args[0].clone()))
    try:
        layer(*inputs)
    finally:
        handle.remove()
    return torch.as_tensor(seen[-1])
