"""OpenCV's names for the layers of a Darknet network.

OpenCV makes one to three layers of a section. An activation has the number of the *next* section,
because OpenCV increments its counter before it adds the activation (darknet_io.cpp,
``setActivation``):

.. code-block:: text

    section 7, [convolutional] batch_normalize=1 activation=leaky    conv_7  bn_7  leaky_8
    section 8, [maxpool]                                             pool_8
    section 9, [yolo]                                                permute_9  yolo_9

Layers of sections that OpenCV does not read have Darknet's name: ``local_avgpool_3``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from darknet_builder.cfg.block import Block
from darknet_builder.layers.base import Layer
from darknet_builder.network.network import Network

_WORDS = {
    "avgpool": ("avgpool", "Pooling"),
    "connected": ("fullyConnected", "InnerProduct"),
    "convolutional": ("conv", "Convolution"),
    "cost": ("identity", "Identity"),
    "crop": ("crop", "Slice"),
    "dropout": ("identity", "Identity"),
    "maxpool": ("pool", "Pooling"),
    "reorg": ("reorg", "Reorg"),
    "sam": ("sam", "Eltwise"),
    "scale_channels": ("scale_channels", "Scale"),
    "shortcut": ("shortcut", "Eltwise"),
    "softmax": ("softmax", "Softmax"),
    "upsample": ("upsample", "Resize"),
}
"""Section -> OpenCV's name and layer type."""
_ACTIVATIONS = {
    "leaky": "ReLU",
    "logistic": "Sigmoid",
    "mish": "Mish",
    "relu": "ReLU",
    "swish": "Swish",
    "tanh": "TanH",
}
"""Activation -> OpenCV's layer type."""
_HEADS = {"region": "detection_out"}
"""The only head whose name has no number."""


class Part(Enum):
    """The value of a section that a stage returns."""

    CONVOLVED = "norm"
    """The input of the section's batch norm."""
    NORMALIZED = "activation"
    """The input of the section's activation."""
    WHOLE = "whole"
    """The section's output."""
    MAP = "map"
    """The raw map that a head reads, its channels last."""
    ROWS = "rows"
    """One row for each box of a head."""


@dataclass(frozen=True)
class Stage:
    """One of OpenCV's layers.

    Attributes:
        name: OpenCV's name, such as ``conv_0``.
        kind: OpenCV's type, such as ``Convolution``.
        index: index of the section's layer in ``Network.layers``.
        part: the value of the section that it returns.
    """

    name: str
    kind: str
    index: int
    part: Part


def stages_of(network: Network) -> list[Stage]:
    """Return OpenCV's layers for a network, in order; OpenCV counts them from 1.

    Example:
        >>> from darknet_builder import build_network
        >>> stages = stages_of(build_network("yolov4-tiny", initialize=False))
        >>> [stage.name for stage in stages[:3] + stages[-3:]]
        ['conv_0', 'bn_0', 'leaky_1', 'conv_36', 'permute_37', 'yolo_37']
    """
    return [
        stage
        for index, (layer, block) in enumerate(
            zip(network.sequence(), network.blocks[1:], strict=True)
        )
        for stage in _stages_of_section(index, layer, block)
    ]


def unread(network: Network, stages: list[Stage]) -> list[int]:
    """Return the positions of the stages that no other stage reads, counted from 1.

    Args:
        network: the network of the stages.
        stages: all stages, from ``stages_of``.
    """
    read = {source for layer in network.sequence() for source in layer.sources}
    last_of_section = {stage.index: number for number, stage in enumerate(stages, start=1)}
    return [number for index, number in last_of_section.items() if index not in read]


def keeps_shape(layer: Layer) -> bool:
    """Return whether OpenCV's output has the shape of the input, and Darknet's is a vector."""
    return layer.section == "softmax"


def _stages_of_section(index: int, layer: Layer, block: Block) -> Iterator[Stage]:
    section = layer.section
    if layer.is_head:
        yield Stage(f"permute_{index}", "Permute", index, Part.MAP)
        yield Stage(_HEADS.get(section, f"{section}_{index}"), "Region", index, Part.ROWS)
        return
    word, kind = _words_of_route(layer) if section == "route" else _WORDS.get(section, ("", ""))
    if not word:
        yield Stage(f"{section}_{index}", section, index, Part.WHOLE)
        return
    named = [(f"{word}_{index}", kind)]
    parts = []
    if getattr(layer, "norm", None) is not None:
        named.append((f"bn_{index}", "BatchNorm"))
        parts.append(Part.CONVOLVED)
    # Read from the section: in an XNOR network, a layer may leave its activation to the next one.
    activation = block.get_str("activation", getattr(layer, "activation_name", "linear"))
    if activation != "linear":
        named.append((f"{activation}_{index + 1}", _ACTIVATIONS.get(activation, activation)))
        parts.append(Part.NORMALIZED)
    for (name, type_name), part in zip(named, [*parts, Part.WHOLE], strict=True):
        yield Stage(name, type_name, index, part)


def _words_of_route(layer: Layer) -> tuple[str, str]:
    """Return name and type of a [route], which reads several layers, a part of one, or one."""
    if len(layer.sources) > 1:
        return "concat", "Concat"
    return ("slice", "Slice") if getattr(layer, "groups", 1) > 1 else ("identity", "Identity")
