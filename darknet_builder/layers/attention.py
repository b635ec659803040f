"""[scale_channels], [sam] and [implicit]: outputs that weigh other outputs."""

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
from darknet_builder.layers.representation import format_options, unless
from darknet_builder.shapes import Shape


class _Product(Layer):
    """The previous layer's output times that of ``from=``, then an activation.

    Args:
        in_shape: the previous layer's: the weights.
        out_shape: that of ``from=``: what is weighed.
        activation: Darknet's name.
    """

    def __init__(self, in_shape: Shape, out_shape: Shape, *, activation: str = "linear") -> None:
        super().__init__(in_shape, out_shape)
        self.activation_name = activation
        self.activation = make_activation(activation)

    def forward(self, weights: Tensor, x: Tensor) -> Tensor:
        """Weights and (B, C, H, W) -> (B, C, H, W)."""
        if weights.dim() != x.dim():
            weights, x = as_image(weights), as_image(x)
        return self.activation(weights * x)

    def summary_cells(self) -> tuple[str, str]:
        """The index of what is weighed."""
        return "", str(self.sources[1])

    def extra_repr(self) -> str:
        """See ``Layer.extra_repr``."""
        source = self.sources[-1] if self.sources else None
        activation = unless(self.activation_name, "linear")
        return format_options({"from": source, "activation": activation})


@register("scale_channels", dialects=("alexeyab",))
class ScaleChannels(_Product):
    """One weight a channel, or with ``scale_wh`` one weight a pixel (scale_channels_layer.c).

    Args:
        in_shape: (C, 1, 1), or (1, H, W) with ``scale_wh``.
        out_shape: (C, H, W).
        scale_wh: which of the two.
        activation: Darknet's name.

    Raises:
        ShapeError: when the weights do not fit.
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        *,
        scale_wh: bool = False,
        activation: str = "linear",
    ) -> None:
        expected = (
            Shape(1, out_shape.height, out_shape.width) if scale_wh else Shape(out_shape.channels)
        )
        if in_shape != expected:
            raise ShapeError(
                f"needs weights of {expected} for {out_shape}, the layer before gives {in_shape}"
            )
        super().__init__(in_shape, out_shape, activation=activation)
        self.scale_wh = scale_wh

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> ScaleChannels:
        """parser.c:990."""
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
            # No copy; but said aloud, because OpenCV 5.0 multiplies one channel by many wrongly.
            weights = weights.expand(-1, x.shape[1], -1, -1)
        return super().forward(weights, x)

    def extra_repr(self) -> str:
        """See ``Layer.extra_repr``."""
        return format_options({"scale_wh": self.scale_wh}, after=super().extra_repr())


@register("sam", dialects=("alexeyab",))
class Sam(_Product):
    """One weight a value (sam_layer.c)."""

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Sam:
        """parser.c:1014."""
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
    """What a layer gives, a vector as an image of 1 x 1."""
    shape = graph.shape_of(source)
    if shape.formless:
        raise block.error(
            f"layer {source} gives a vector of {shape.size}", "from", hint="expected an image"
        )
    return Shape(shape.channels, shape.height, shape.width)


@register("implicit", dialects=("alexeyab",))
class Implicit(Layer):
    """A learnt constant that depends on no input (representation_layer.c).

    Args:
        in_shape: any; only the number of images is taken from it.
        filters: channels of the constant.
        atoms: its rows.
        mean: of the values that it begins with.
        std: their spread.
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
        """parser.c:1037."""
        return cls(
            graph.shape,
            filters=block.get_int("filters", 128, minimum=1),
            atoms=block.get_int("atoms", 1, minimum=1),
            mean=block.get_float("mean", 0.0),
            std=block.get_float("std", 0.2),
        )

    def reset_parameters(self) -> None:
        """Normal values around ``mean`` (representation_layer.c:30)."""
        nn.init.normal_(self.weight, self.mean, self.std)

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, filters, atoms, 1), the same for every image."""
        # (atoms, filters) -> (1, filters, atoms, 1): the same memory, not a transpose.
        return self.weight.view(1, *self.out_shape.batched(1)[1:]).expand(x.shape[0], -1, -1, -1)

    def weight_layout(self, header: WeightsHeader) -> WeightLayout:
        """The constant (parser.c:2250)."""
        return [("weight", self.weight)]

    def extra_repr(self) -> str:
        """See ``Layer.extra_repr``."""
        return format_options(
            {
                "filters": self.out_shape.channels,
                "atoms": unless(self.out_shape.height, 1),
                "mean": unless(self.mean, 0.0),
                "std": unless(self.std, 0.2),
            }
        )
