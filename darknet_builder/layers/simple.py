"""Small sections: [dropout], [batchnorm], [activation], [empty]."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

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
from darknet_builder.layers.parts import batch_norm_2d, norm_layout
from darknet_builder.layers.representation import format_options
from darknet_builder.shapes import Shape


@register("dropout")
class Dropout(Layer):
    """In training, zero some values and scale the rest by 1 / (1 - p) (dropout_layer.c).

    Darknet does so in its input's memory, so a route or shortcut to the layer before reads the
    dropped values. ``shares_buffer`` makes the graph do the same.

    Args:
        in_shape: input shape, image or vector; the output has the same.
        probability: probability with which a value is zeroed, 0 to 1.
    """

    shares_buffer = True
    can_overwrite = True

    def __init__(self, in_shape: Shape, *, probability: float = 0.5) -> None:
        super().__init__(in_shape, in_shape)
        self.probability = probability

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Dropout:
        """Build from a cfg section (parser.c:783)."""
        probability = block.get_float("probability", 0.2, minimum=0)  # parser.c:876
        if probability >= 1:
            raise block.error("expected a probability below 1", "probability")
        if block.get_flag("dropblock"):
            # Dropblock zeroes squares of neighbouring values. At inference both pass values on
            # unchanged.
            block.warn("is trained as plain dropout; detection is not affected", "dropblock")
        block.ignore("dropblock_size_rel", "dropblock_size_abs")
        return cls(graph.shape, probability=probability)

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> the same shape."""
        return F.dropout(x, self.probability, self.training)

    def summary_cells(self) -> tuple[str, str]:
        """Return, for example, ``p = 0.50``."""
        return "", f"p = {self.probability:.2f}"

    def extra_repr(self) -> str:
        """Return the options that ``print(network)`` shows."""
        return format_options({"probability": self.probability})


@register("batchnorm")
class Batchnorm(Layer):
    """Batch norm as a layer: (B, C, H, W) -> the same shape."""

    def __init__(self, in_shape: Shape) -> None:
        super().__init__(in_shape, in_shape)
        self.norm = batch_norm_2d(in_shape.channels)

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Batchnorm:
        """Build from a cfg section (parser.c:899)."""
        return cls(graph.image_shape(block))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        return self.norm(x)

    def weight_layout(self, header: WeightsHeader) -> WeightLayout:
        """Return bias, scale, mean, var (parser.c:1944)."""
        return [("bias", self.norm.bias), *norm_layout(self.norm)]


@register("activation")
class Activation(Layer):
    """An activation as a layer: (B, ...) -> the same shape."""

    can_overwrite = True

    def __init__(self, in_shape: Shape, *, activation: str = "linear") -> None:
        super().__init__(in_shape, in_shape)
        self.activation_name = activation
        self.activation = make_activation(activation)

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Activation:
        """Build from a cfg section (parser.c:1070)."""
        return cls(graph.shape, activation=read_activation(block, "linear"))

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> the same shape."""
        return self.activation(x)

    def extra_repr(self) -> str:
        """Return the options that ``print(network)`` shows."""
        return format_options({"activation": self.activation_name})


@register("empty", "silence", dialects=("alexeyab",))
class Empty(Layer):
    """Return the previous layer's output unchanged (parser.c:1450)."""

    can_overwrite = True

    def __init__(self, in_shape: Shape) -> None:
        super().__init__(in_shape, in_shape)

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Empty:
        """Build from a cfg section (parser.c:1450)."""
        return cls(graph.shape)

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> the same tensor."""
        return x
