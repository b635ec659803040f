"""[scale_channels], [sam] and [implicit]: layers whose output multiplies another layer's output."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from darknet_builder.cfg.block import Block
from darknet_builder.errors import ShapeError
from darknet_builder.layers.activations import make_activation
from darknet_builder.layers.base import (
    Graph,
    Layer,
    WeightLayout,
    WeightsHeader,
    as_image,
    read_activation,
    register,
)
from darknet_builder.layers.parts import reset_normal
from darknet_builder.layers.representation import format_options, unless
from darknet_builder.shapes import Shape


class _Product(Layer):
    """Multiply the previous layer's output by that of ``from=``, then apply an activation.

    Args:
        in_shape: shape of the previous layer's output, which holds the weights.
        out_shape: shape of the layer that ``from=`` names, which is multiplied by them.
        activation: Darknet's name of the activation, such as ``leaky``.
    """

    def __init__(self, in_shape: Shape, out_shape: Shape, *, activation: str = "linear") -> None:
        super().__init__(in_shape, out_shape)
        self.activation_name = activation
        self.activation = make_activation(activation)

    def forward(self, weights: Tensor, x: Tensor) -> Tensor:
        """Weights and (B, C, H, W) -> (B, C, H, W)."""
        # A vector (B, N) and an image (B, N, 1, 1) have equal shapes in Darknet; torch would
        # broadcast them to (B, N, B, N).
        if weights.dim() != x.dim():
            weights, x = as_image(weights), as_image(x)
        return self.activation(weights * x)

    def summary_cells(self) -> tuple[str, str]:
        """Return the index of the layer that is multiplied."""
        return "", str(self.sources[1])

    def extra_repr(self) -> str:
        """Return the options that ``print(network)`` shows."""
        source = self.sources[-1] if self.sources else None
        activation = unless(self.activation_name, "linear")
        return format_options({"from": source, "activation": activation})


@register("scale_channels", dialects=("alexeyab",))
class ScaleChannels(_Product):
    """Multiply by one weight per channel, or per pixel with ``scale_wh`` (scale_channels_layer.c).

    Args:
        in_shape: (C, 1, 1), or (1, H, W) with ``scale_wh``.
        out_shape: shape (C, H, W) of the layer that ``from=`` names.
        scale_wh: one weight per pixel instead of one per channel.
        activation: Darknet's name of the activation, such as ``leaky``.

    Raises:
        ShapeError: if the shape of the weights does not match.
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        *,
        scale_wh: bool = False,
        activation: str = "linear",
    ) -> None:
        per_pixel = Shape(1, out_shape.height, out_shape.width)
        expected = per_pixel if scale_wh else Shape(out_shape.channels)
        if in_shape != expected:
            raise ShapeError(
                f"needs weights of {expected} for {out_shape}, the layer before gives {in_shape}"
            )
        super().__init__(in_shape, out_shape, activation=activation)
        self.scale_wh = scale_wh

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> ScaleChannels:
        """Build from a cfg section (parser.c:990)."""
        source = graph.reference(block, "from")
        weights = graph.image_shape(block)
        layer = cls(
            weights,
            _image_of(block, graph, source),
            scale_wh=block.get_flag("scale_wh"),
            activation=read_activation(block, "linear"),
        )
        layer.sources = (graph.index - 1, source)
        return layer

    def forward(self, weights: Tensor, x: Tensor) -> Tensor:
        """(B, C, 1, 1) or (B, 1, H, W), and (B, C, H, W) -> (B, C, H, W)."""
        x = as_image(x)
        if weights.shape[1] < x.shape[1]:
            # A view, no copy. Broadcasting would do the same, but OpenCV 5.0 multiplies one
            # channel by several wrongly when it reads the exported graph.
            weights = weights.expand(-1, x.shape[1], -1, -1)
        return super().forward(weights, x)

    def extra_repr(self) -> str:
        """Return the options that ``print(network)`` shows."""
        return format_options({"scale_wh": self.scale_wh}, after=super().extra_repr())


@register("sam", dialects=("alexeyab",))
class Sam(_Product):
    """Multiply each value by its own weight (sam_layer.c)."""

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Sam:
        """Build from a cfg section (parser.c:1014)."""
        source = graph.reference(block, "from")
        shapes = graph.shape, graph.shape_of(source)
        if len({(shape.channels, shape.height, shape.width) for shape in shapes}) > 1:
            raise block.error(
                f"layer {source} gives {graph.shape_of(source)}, the layer before {graph.shape}: "
                "they must be of one shape",
                "from",
            )
        weights, weighed = shapes
        layer = cls(
            weights,
            weights if weighed.flat else weighed,
            activation=read_activation(block, "linear"),
        )
        layer.sources = (graph.index - 1, source)
        return layer


def _image_of(block: Block, graph: Graph, source: int) -> Shape:
    """Return a layer's output shape; a vector of N counts as an image (N, 1, 1)."""
    shape = graph.shape_of(source)
    if shape.formless:
        raise block.error(
            f"layer {source} gives a vector of {shape.size}", "from", hint="expected an image"
        )
    return Shape(shape.channels, shape.height, shape.width)


@register("implicit", dialects=("alexeyab",))
class Implicit(Layer):
    """Output a learnt constant that does not depend on the input (representation_layer.c).

    Args:
        in_shape: any shape; the layer reads only the batch size.
        filters: channels of the constant.
        atoms: rows of the constant.
        mean: mean of the initial values.
        std: standard deviation of the initial values.
    """

    def __init__(
        self,
        in_shape: Shape,
        *,
        filters: int = 128,
        atoms: int = 1,
        mean: float = 0.0,
        std: float = 0.2,
    ) -> None:
        super().__init__(in_shape, Shape(filters, atoms, 1))
        self.mean, self.std = mean, std
        self.weight = nn.Parameter(torch.empty(atoms, filters))
        self.reset_parameters()

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Implicit:
        """Build from a cfg section (parser.c:1037)."""
        return cls(
            graph.shape,
            filters=block.get_int("filters", 128, minimum=1),
            atoms=block.get_int("atoms", 1, minimum=1),
            mean=block.get_float("mean", 0.0),
            std=block.get_float("std", 0.2),
        )

    def reset_parameters(self) -> None:
        """Draw normal values with ``mean`` and ``std`` (representation_layer.c:30)."""
        reset_normal(self.weight, self.mean, self.std)

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, filters, atoms, 1), the same for every image."""
        # (atoms, filters) -> (1, filters, atoms, 1) -> (B, filters, atoms, 1). Darknet copies the
        # weights as they lie in memory, so this is a view of it and not a transpose.
        return self.weight.view(1, *self.out_shape.batched(1)[1:]).expand(x.shape[0], -1, -1, -1)

    def weight_layout(self, header: WeightsHeader) -> WeightLayout:
        """Return the constant (parser.c:2250)."""
        return [("weight", self.weight)]

    def extra_repr(self) -> str:
        """Return the options that ``print(network)`` shows."""
        return format_options(
            {
                "filters": self.out_shape.channels,
                "atoms": unless(self.out_shape.height, 1),
                "mean": unless(self.mean, 0.0),
                "std": unless(self.std, 0.2),
            }
        )
