"""[connected]: a fully connected layer."""

from __future__ import annotations

from torch import Tensor

from darknet_builder.cfg.block import Block
from darknet_builder.layers.activations import make_activation
from darknet_builder.layers.base import (
    Graph,
    Layer,
    WeightLayout,
    WeightsHeader,
    read_activation,
    register,
)
from darknet_builder.layers.parts import Linear, batch_norm_1d, norm_layout
from darknet_builder.layers.representation import format_options
from darknet_builder.shapes import Shape, flat


@register("connected", "conn")
class Connected(Layer):
    """Flatten, y = x W^T, batch norm or bias, activation (connected_layer.c:180).

    Args:
        in_shape: any shape; the input is flattened.
        output: number of output values.
        batch_normalize: add batch norm; the linear map then has no bias.
        activation: Darknet's name of the activation, such as ``leaky``.
    """

    def __init__(
        self,
        in_shape: Shape,
        *,
        output: int,
        batch_normalize: bool = False,
        activation: str = "logistic",
    ) -> None:
        super().__init__(in_shape, flat(output))
        self.linear = Linear(in_shape.size, output, bias=not batch_normalize)
        self.norm = batch_norm_1d(output) if batch_normalize else None
        self.activation_name = activation
        self.activation = make_activation(activation)

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Connected:
        """Build from a cfg section (parser.c:331)."""
        return cls(
            graph.shape,
            output=block.get_int("output", 1, minimum=1),
            batch_normalize=block.get_flag("batch_normalize"),
            activation=read_activation(block, "logistic"),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, output)."""
        x = self.linear(x.flatten(1))  # (B, C, H, W) -> (B, C * H * W)
        if self.norm is not None:
            x = self.norm(x)
        return self.activation(x)

    def weight_layout(self, header: WeightsHeader) -> WeightLayout:
        """Return bias, weight, [scale, mean, var] (parser.c:1966).

        Batch norm comes after the weights, unlike in a convolution.
        """
        # A transposed view, not a copy, so that loading writes to the parameter (parser.c:2274).
        weight = self.linear.weight.t() if header.transposed else self.linear.weight
        if self.norm is None:
            return [("bias", self.linear.bias), ("weight", weight)]
        return [("bias", self.norm.bias), ("weight", weight), *norm_layout(self.norm)]

    def summary_cells(self) -> tuple[str, str]:
        """Return the number of outputs."""
        return f"{self.out_shape.size}", ""

    def extra_repr(self) -> str:
        """Return the options that ``print(network)`` shows."""
        return format_options({"output": self.out_shape.size, "activation": self.activation_name})
