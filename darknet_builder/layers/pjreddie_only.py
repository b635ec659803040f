"""Sections that only pjreddie's Darknet has: [deconvolutional], [logistic] and [iseg]."""

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
    read_activation,
    register,
)
from darknet_builder.layers.parts import batch_norm_2d, check_positive, norm_layout, reset_normal
from darknet_builder.layers.representation import format_options
from darknet_builder.shapes import Shape, flat


class TransposedConvolution(nn.ConvTranspose2d):
    """``nn.ConvTranspose2d``, initialised as in pjreddie's deconvolutional_layer.c:60."""

    def reset_parameters(self) -> None:
        """Draw normal weights with standard deviation 0.02, set biases to 0."""
        reset_normal(self.weight, 0, 0.02)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


@register("deconvolutional", "deconv", dialects=("pjreddie",))
class Deconvolutional(Layer):
    """Transposed convolution, batch norm, activation (pjreddie's deconvolutional_layer.c).

    Args:
        in_shape: input shape (C, H, W).
        filters: number of output channels.
        size: kernel height and width.
        stride: the same in both directions.
        padding: rows and columns cut off on each side.
        batch_normalize: add batch norm; the convolution then has no bias.
        activation: Darknet's name of the activation, such as ``leaky``.
    """

    def __init__(
        self,
        in_shape: Shape,
        *,
        filters: int,
        size: int = 1,
        stride: int = 1,
        padding: int = 0,
        batch_normalize: bool = False,
        activation: str = "logistic",
    ) -> None:
        # The input size for which a convolution of the same options has this layer's input size.
        height = (in_shape.height - 1) * stride + size - 2 * padding
        width = (in_shape.width - 1) * stride + size - 2 * padding
        shape = check_positive(
            Shape(filters, height, width), f"a {size} x {size} transposed kernel on {in_shape}"
        )
        super().__init__(in_shape, shape)
        self.conv = TransposedConvolution(
            in_shape.channels, filters, size, stride, padding, bias=not batch_normalize
        )
        self.norm = batch_norm_2d(filters) if batch_normalize else None
        self.activation_name = activation
        self.activation = make_activation(activation)
        self.size, self.stride = size, stride

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Deconvolutional:
        """Build from a cfg section (pjreddie's parser.c:150)."""
        size = block.get_int("size", 1, minimum=1)
        padding = block.get_int("padding", 0, minimum=0)
        return cls(
            graph.image_shape(block),
            filters=block.get_int("filters", 1, minimum=1),
            size=size,
            stride=block.get_int("stride", 1, minimum=1),
            padding=size // 2 if block.get_flag("pad") else padding,
            batch_normalize=block.get_flag("batch_normalize"),
            activation=read_activation(block, "logistic"),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, filters, H', W')."""
        x = self.conv(x)
        return self.activation(x if self.norm is None else self.norm(x))

    def weight_layout(self, header: WeightsHeader) -> WeightLayout:
        """Return bias, [scale, mean, var], weight (C, filters, k, k) (pjreddie's parser.c:1260)."""
        if self.norm is None:
            assert self.conv.bias is not None
            return [("bias", self.conv.bias), ("weight", self.conv.weight)]
        return [("bias", self.norm.bias), *norm_layout(self.norm), ("weight", self.conv.weight)]

    def summary_cells(self) -> tuple[str, str]:
        """Return the filters and, for example, ``3 x 3 / 2``."""
        return f"{self.out_shape.channels}", f"{self.size} x {self.size} / {self.stride}"

    def extra_repr(self) -> str:
        """Return the options that ``print(network)`` shows."""
        return format_options(
            {
                "filters": self.out_shape.channels,
                "size": self.size,
                "stride": self.stride,
                "activation": self.activation_name,
            }
        )


@register("logistic", "logxent", dialects=("pjreddie",))
class Logistic(Layer):
    """Apply the logistic at the end, for a cross entropy of independent classes.

    Source: pjreddie's logistic_layer.c.
    """

    formless_in = ("pjreddie",)  # P logistic_layer.c

    def __init__(self, in_shape: Shape) -> None:
        super().__init__(in_shape, flat(in_shape.size))

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Logistic:
        """Build from a cfg section (pjreddie's parser.c:297)."""
        return cls(graph.shape)

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, N)."""
        # (B, C, H, W) -> (B, C * H * W): Darknet's [logistic] gives a vector, also after an image.
        return torch.sigmoid(x.flatten(1))


@register("iseg", dialects=("pjreddie",))
class Iseg(Layer):
    """Instance segmentation: class maps through a logistic, embeddings unchanged.

    Source: pjreddie's iseg_layer.c.

    Args:
        in_shape: (classes + ids, H, W).
        classes: number of class maps.
        ids: number of embedding maps.

    Raises:
        ShapeError: if the number of channels does not match.
    """

    def __init__(self, in_shape: Shape, *, classes: int = 20, ids: int = 32) -> None:
        if in_shape.channels != classes + ids:
            raise ShapeError(
                f"needs filters={classes + ids} in the layer before it, which gives"
                f" {in_shape.channels}: classes + ids = {classes} + {ids}"
            )
        super().__init__(in_shape, in_shape)
        self.classes = classes

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Iseg:
        """Build from a cfg section (pjreddie's parser.c:307)."""
        return cls(
            graph.image_shape(block),
            classes=block.get_int("classes", 20, minimum=1),
            ids=block.get_int("ids", 32, minimum=0),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, classes + ids, H, W) -> the same shape."""
        # (B, classes, H, W) and (B, ids, H, W): only the class maps are probabilities.
        return torch.cat((x[:, : self.classes].sigmoid(), x[:, self.classes :]), 1)

    def extra_repr(self) -> str:
        """Return the options that ``print(network)`` shows."""
        ids = self.out_shape.channels - self.classes
        return format_options({"classes": self.classes, "ids": ids})
