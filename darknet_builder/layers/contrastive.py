"""[contrastive]: marks where a loss over embeddings is computed (contrastive_layer.c)."""

from __future__ import annotations

import torch
from torch import Tensor

from darknet_builder.cfg.block import Block
from darknet_builder.layers.base import Graph, Layer, register
from darknet_builder.layers.representation import format_options, unless
from darknet_builder.shapes import Shape, flat


@register("contrastive", dialects=("alexeyab",))
class Contrastive(Layer):
    """Output zeros, as Darknet does without ground truth; the embeddings are the layer's input.

    Args:
        in_shape: shape of the embeddings.
        classes: number of classes, of which each embedding belongs to one.
        temperature: divisor of the similarities in the loss.
        yolo_layer: index of the head whose boxes the embeddings belong to.
    """

    formless_in = ("alexeyab",)  # A softmax_layer.c:130
    is_cost = True

    def __init__(
        self, in_shape: Shape, *, classes: int = 1000, temperature: float = 1.0, yolo_layer: int = 0
    ) -> None:
        super().__init__(in_shape, flat(in_shape.size))
        self.classes, self.temperature, self.yolo_layer = classes, temperature, yolo_layer

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Contrastive:
        """Build from a cfg section (parser.c:363)."""
        # Not ``reference``: the head is not an input, its boxes are only read by the loss.
        head = graph.layer_index(block, "yolo_layer")
        if graph.layers[head].section != "yolo":
            raise block.error(
                f"layer {head} is a [{graph.layers[head].section}]",
                "yolo_layer",
                hint="expected a [yolo]",
            )
        block.ignore("cls_normalizer", "max_delta", "contrastive_neg_max")
        return cls(
            graph.shape,
            classes=block.get_int("classes", 1000, minimum=1),
            temperature=block.get_float("temperature", 1.0),
            yolo_layer=head,
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, N) of zeros."""
        return torch.zeros_like(x).flatten(1)  # (B, C * H * W)

    def extra_repr(self) -> str:
        """Return the options that ``print(network)`` shows."""
        return format_options(
            {
                "classes": self.classes,
                "temperature": unless(self.temperature, 1.0),
                "yolo_layer": self.yolo_layer,
            }
        )
