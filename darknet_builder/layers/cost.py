"""[cost]: marks that a network without a head is trained on its last output."""

from __future__ import annotations

import torch
from torch import Tensor

from darknet_builder.cfg.block import Block
from darknet_builder.layers.base import Graph, Layer, register
from darknet_builder.layers.representation import format_options, unless
from darknet_builder.shapes import Shape, flat

COST_TYPES = ("sse", "masked", "smooth", "L1", "seg", "wgan")


@register("cost")
class Cost(Layer):
    """Output zeros, as Darknet does without ground truth (cost_layer.c:80).

    ``Network`` skips the layer: the network's output is the layer before it (network.c:690).

    Args:
        in_shape: shape of the prediction, image or vector.
        kind: the loss, one of ``COST_TYPES``.
        scale: factor on the loss.
    """

    formless_in = ("alexeyab", "pjreddie")  # cost_layer.c
    is_cost = True
    has_loss = True

    def __init__(self, in_shape: Shape, *, kind: str = "sse", scale: float = 1.0) -> None:
        super().__init__(in_shape, flat(in_shape.size))
        self.kind, self.scale = kind, scale

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Cost:
        """Build from a cfg section (parser.c:610)."""
        block.ignore("ratio", "noobj", "thresh")
        return cls(
            graph.shape,
            kind=block.get_choice("type", "sse", COST_TYPES),
            scale=block.get_float("scale", 1.0),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, N) of zeros."""
        return torch.zeros_like(x).flatten(1)  # (B, C * H * W)

    def extra_repr(self) -> str:
        """Return the options that ``print(network)`` shows."""
        return format_options({"type": self.kind, "scale": unless(self.scale, 1.0)})
