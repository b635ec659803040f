"""[local]: a convolution whose weights differ from position to position (local_layer.c)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darknet_builder.cfg.block import Block
from darknet_builder.errors import ShapeError
from darknet_builder.layers.activations import make_activation
from darknet_builder.layers.base import (
    Graph,
    Layer,
    WeightLayout,
    WeightsHeader,
    read_activation,
    register,
)
from darknet_builder.layers.parts import check_positive
from darknet_builder.layers.representation import format_options, unless
from darknet_builder.shapes import Shape, convolution_output


@register("local")
class Local(Layer):
    """A locally connected layer.

    Args:
        in_shape: input shape (C, H, W).
        filters: number of output channels.
        size: kernel height and width.
        stride: the same in both directions.
        padding: on each side; must be 0, or 1 with ``size`` 3, as Darknet's sizes need.
        activation: Darknet's name of the activation, such as ``leaky``.

    Raises:
        ShapeError: if Darknet would read outside its memory with this padding, or the output would
            be empty.
    """

    def __init__(
        self,
        in_shape: Shape,
        *,
        filters: int,
        size: int = 1,
        stride: int = 1,
        padding: int = 0,
        activation: str = "logistic",
    ) -> None:
        # Darknet's output size assumes padding 0, or size 3 with padding 1 (local_layer.c:10).
        if padding and (padding, size) != (1, 3):
            raise ShapeError(
                f"pad={padding} with size={size}: a local layer takes pad=0, or pad=1 with size=3"
            )
        height = convolution_output(in_shape.height, size, stride, padding)
        width = convolution_output(in_shape.width, size, stride, padding)
        shape = check_positive(
            Shape(filters, height, width), f"a {size} x {size} kernel on {in_shape}"
        )
        super().__init__(in_shape, shape)
        self.size, self.stride, self.padding = size, stride, padding
        self.weight = nn.Parameter(
            torch.empty(height * width, filters, in_shape.channels * size * size)
        )
        self.bias = nn.Parameter(torch.empty(filters, height, width))
        self.activation_name = activation
        self.activation = make_activation(activation)
        self.reset_parameters()

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Local:
        """Build from a cfg section (parser.c:144)."""
        return cls(
            graph.image_shape(block),
            filters=block.get_int("filters", 1, minimum=1),
            size=block.get_int("size", 1, minimum=1),
            stride=block.get_int("stride", 1, minimum=1),
            padding=block.get_int("pad", 0, minimum=0),
            activation=read_activation(block, "logistic"),
        )

    def reset_parameters(self) -> None:
        """Draw weights from U(-1, 1) * sqrt(2 / fan_in), set biases to 0 (local_layer.c:60)."""
        bound = math.sqrt(2 / self.weight.shape[2])
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, filters, H', W')."""
        # k is C * size * size, p the output positions H' * W', n the filters.
        patches = F.unfold(x, self.size, padding=self.padding, stride=self.stride)  # (B, k, p)
        values = torch.einsum("bkp,pnk->bnp", patches, self.weight)  # (B, n, p)
        # (B, n, H' * W') -> (B, n, H', W')
        return self.activation(values.unflatten(2, self.bias.shape[1:]) + self.bias)

    def weight_layout(self, header: WeightsHeader) -> WeightLayout:
        """Return bias, weight (parser.c:2352)."""
        return [("bias", self.bias), ("weight", self.weight)]

    def summary_cells(self) -> tuple[str, str]:
        """Return the filters and, for example, ``3 x 3 / 1``."""
        return f"{self.out_shape.channels}", f"{self.size} x {self.size} / {self.stride}"

    def extra_repr(self) -> str:
        """Return the options that ``print(network)`` shows."""
        return format_options(
            {
                "filters": self.out_shape.channels,
                "size": self.size,
                "stride": self.stride,
                "pad": unless(self.padding, 0),
                "activation": self.activation_name,
            }
        )
