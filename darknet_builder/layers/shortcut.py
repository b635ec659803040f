"""[shortcut]: add earlier outputs to the previous layer's output."""

from __future__ import annotations

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
    as_image,
    read_activation,
    register,
)
from darknet_builder.layers.representation import format_options, unless
from darknet_builder.shapes import Shape

_WEIGHTS_TYPES = ("none", "per_feature", "per_layer", "per_channel")
_NORMALIZATIONS = ("none", "relu", "avg_relu", "softmax")
_EPSILON = 1e-4


@register("shortcut")
class Shortcut(Layer):
    """AlexeyAB's sum of any number of layers (blas.c:97).

    The output has the shape of the first input. If another input has more or fewer channels, only
    those that both have are added.

    Args:
        in_shapes: the previous layer's shape, then one for each layer of ``from=``.
        activation: Darknet's name of the activation of the sum, such as ``leaky``.
        weights_type: ``none``, ``per_feature`` (one learnt weight per input) or ``per_channel``.
        normalization: ``relu`` or ``softmax`` over the inputs' weights, or ``none``.

    Raises:
        ShapeError: if the inputs differ in height or width.
    """

    decays = False
    can_overwrite = True

    def __init__(
        self,
        in_shapes: list[Shape],
        *,
        activation: str = "linear",
        weights_type: str = "none",
        normalization: str = "none",
    ) -> None:
        first = in_shapes[0]
        if first.flat and not all(shape.flat for shape in in_shapes):
            first = Shape(first.channels)
        for shape in in_shapes[1:]:
            if (shape.height, shape.width) != (first.height, first.width):
                raise ShapeError(
                    f"cannot add {shape} to {first}: a shortcut needs equal width and height"
                    " (strided shortcuts need dialect='pjreddie')"
                )
        super().__init__(first, first)
        self.in_shapes, self.vectors = in_shapes, first.flat
        self.weights_type, self.normalization = weights_type, normalization
        self.activation_name = activation
        self.activation = make_activation(activation)
        channels = first.channels if weights_type == "per_channel" else 1
        self.weight = (
            None if weights_type == "none" else nn.Parameter(torch.ones(len(in_shapes), channels))
        )

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Layer:
        """Build from a cfg section (parser.c:906; pjreddie's parser.c:508)."""
        if graph.dialect.strided_shortcut:
            return StridedShortcut.from_block(block, graph)
        sources = graph.references(block, "from")
        weights_type = block.get_choice("weights_type", "none", _WEIGHTS_TYPES)
        normalization = block.get_choice("weights_normalization", "none", _NORMALIZATIONS)
        if weights_type != "none" and normalization == "none":
            raise block.error(
                "weights_type needs weights_normalization=relu or softmax (parser.c:933)",
                "weights_type",
            )
        indices = [graph.index - 1, *sources]
        layer = cls(
            [graph.shape_of(index) for index in indices],
            activation=read_activation(block, "linear"),
            weights_type=weights_type,
            normalization=normalization,
        )
        layer.sources = tuple(indices)
        return layer

    def forward(self, *inputs: Tensor) -> Tensor:
        """(B, C, H, W), then (B, C_i, H, W) for each source -> (B, C, H, W).

        Vectors count as images of 1 x 1. If all inputs are vectors, so is the output.
        """
        total = self.activation(self._sum([as_image(x) for x in inputs]))
        return total.flatten(1) if self.vectors else total  # (B, C, 1, 1) -> (B, C)

    def _sum(self, inputs: list[Tensor]) -> Tensor:
        if self.weight is None:
            total = inputs[0]
            for x in inputs[1:]:
                total = total + _fit_channels(x, total.shape[1])
            return total
        weights = self._normalized().unsqueeze(-1).unsqueeze(-1)  # (inputs, C or 1, 1, 1)
        total = inputs[0] * weights[0]
        for x, weight in zip(inputs[1:], weights[1:], strict=True):
            total = total + _fit_channels(x, total.shape[1]) * weight
        return total

    def _normalized(self) -> Tensor:
        """Return the learnt weights, normalised to a sum of one (blas.c:97)."""
        assert self.weight is not None
        if self.normalization == "softmax":
            # Subtracting the maximum keeps exp finite; the sum gets _EPSILON as in C.
            # (inputs, C or 1): each channel has a softmax over the inputs.
            shares = torch.exp(self.weight - self.weight.amax(0))
        else:
            shares = F.relu(self.weight)
        return shares / (_EPSILON + shares.sum(0))

    def reset_parameters(self) -> None:
        """Give all inputs the same weight, as Darknet does (shortcut_layer.c:50)."""
        if self.weight is not None:
            nn.init.ones_(self.weight)

    def weight_layout(self, header: WeightsHeader) -> WeightLayout:
        """Return the weights, one row per input, the previous layer first (parser.c:2237)."""
        return [] if self.weight is None else [("weight", self.weight)]

    def flops(self) -> int:
        """Return one addition per value and input, two if it is weighted (shortcut_layer.c:40)."""
        return self.out_shape.size * (len(self.in_shapes) - 1) * (1 if self.weight is None else 2)

    def summary_cells(self) -> tuple[str, str]:
        """Return the indices of the added layers."""
        return "", " ".join(str(index) for index in self.sources[1:])

    def extra_repr(self) -> str:
        """Return the options that ``print(network)`` shows."""
        return format_options(
            {
                "from": unless(self.sources[1:], ()),
                "activation": unless(self.activation_name, "linear"),
                "weights_type": unless(self.weights_type, "none"),
                "weights_normalization": unless(self.normalization, "none"),
            }
        )


class StridedShortcut(Layer):
    """pjreddie's sum of two layers whose sizes may differ by a whole factor (pjreddie's blas.c:68).

    If the other layer is larger, every ``stride``-th value of it is added; if it is smaller, its
    values are added to every ``sample``-th position.

    Args:
        in_shape: the previous layer's shape.
        other_shape: shape of the layer that ``from=`` names.
        alpha: factor on the previous layer's values at the positions that are added to.
        beta: factor on the other layer's values.
        activation: Darknet's name of the activation, such as ``leaky``.

    Raises:
        ShapeError: if width and height differ by different factors.
    """

    def __init__(
        self,
        in_shape: Shape,
        other_shape: Shape,
        *,
        alpha: float = 1.0,
        beta: float = 1.0,
        activation: str = "linear",
    ) -> None:
        stride, sample = other_shape.width // in_shape.width, in_shape.width // other_shape.width
        if (stride, sample) != (
            other_shape.height // in_shape.height,
            in_shape.height // other_shape.height,
        ):
            raise ShapeError(
                f"cannot add {other_shape} to {in_shape}: width and height must differ by the same"
                " factor"
            )
        super().__init__(in_shape, in_shape)
        self.other_shape = other_shape
        self.stride, self.sample = max(stride, 1), max(sample, 1)
        self.alpha, self.beta = alpha, beta
        self.activation_name = activation
        self.activation = make_activation(activation)

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> StridedShortcut:
        """Build from a cfg section (pjreddie's parser.c:508)."""
        other = graph.reference(block, "from")
        layer = cls(
            graph.image_shape(block),
            graph.shape_of(other),
            alpha=block.get_float("alpha", 1.0),
            beta=block.get_float("beta", 1.0),
            activation=read_activation(block, "linear"),
        )
        layer.sources = (graph.index - 1, other)
        return layer

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        """(B, C, H, W), (B, C', H', W') -> (B, C, H, W)."""
        other = as_image(other)
        height = min(x.shape[2], other.shape[2])
        width = min(x.shape[3], other.shape[3])
        # stride=2 on a row: y0 y1 y2 y3 -> y0 y2
        added = other[:, :, :: self.stride, :: self.stride][:, : x.shape[1], :height, :width]
        if self.sample == 1 and self.alpha == 1 and added.shape[2:] == x.shape[2:]:
            return self.activation(x + _fit_channels(added * self.beta, x.shape[1]))
        total = x.clone()
        # A view of ``total``. sample=2 on a row: x0 x1 x2 x3 -> a x0 + b y0, x1, a x2 + b y1, x3
        targets = total[:, : added.shape[1], :: self.sample, :: self.sample][:, :, :height, :width]
        targets.mul_(self.alpha).add_(added, alpha=self.beta)
        return self.activation(total)

    def flops(self) -> int:
        """Return one addition per value."""
        return self.out_shape.size

    def summary_cells(self) -> tuple[str, str]:
        """Return the index of the added layer."""
        return "", str(self.sources[1])

    def extra_repr(self) -> str:
        """Return the options that ``print(network)`` shows."""
        return format_options(
            {
                "from": unless(self.sources[1:], ()),
                "alpha": unless(self.alpha, 1.0),
                "beta": unless(self.beta, 1.0),
                "activation": unless(self.activation_name, "linear"),
            }
        )


def _fit_channels(x: Tensor, channels: int) -> Tensor:
    """Drop channels or append zero channels, so that ``x`` has ``channels`` of them."""
    missing = channels - x.shape[1]
    if missing == 0:
        return x
    return x[:, :channels] if missing < 0 else F.pad(x, (0, 0, 0, 0, 0, missing))
