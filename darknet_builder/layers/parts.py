"""Parts of several sections: Darknet's convolution, linear map, batch norm and pooling sizes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darknet_builder.errors import ShapeError
from darknet_builder.layers.base import WeightLayout
from darknet_builder.layers.representation import format_options, stride_options, unless
from darknet_builder.shapes import Shape, convolution_output

BATCH_NORM_EPSILON = 1e-5
"""Added to the variance (blas.c:285); the same in cuDNN and in folding (network.c:1308)."""
BATCH_NORM_MOMENTUM = 0.01
"""Running average .99/.01 of the GPU path (batchnorm_layer.c, cuDNN), used in training."""


class Convolution(nn.Conv2d):
    """``nn.Conv2d`` with Darknet's initialisation: U(-1, 1) * sqrt(2 / fan_in), bias 0.

    Source: convolutional_layer.c:560.
    """

    def reset_parameters(self) -> None:
        """Draw new weights, set biases to 0."""
        _reset_uniform(self.weight, math.sqrt(2 / self.weight[0].numel()), self.bias)


class Linear(nn.Linear):
    """``nn.Linear`` initialised by U(-1, 1) * sqrt(2 / inputs), bias 0 (connected_layer.c:67)."""

    def reset_parameters(self) -> None:
        """Draw new weights, set biases to 0."""
        _reset_uniform(self.weight, math.sqrt(2 / self.in_features), self.bias)


def _reset_uniform(weight: Tensor, bound: float, bias: Tensor | None) -> None:
    if weight.is_meta:  # has no memory yet, and is initialised when it gets some
        return
    nn.init.uniform_(weight, -bound, bound)
    if bias is not None:
        nn.init.zeros_(bias)


def reset_normal(weight: Tensor, mean: float, std: float) -> None:
    """Draw normal values; a tensor without memory is left alone."""
    if not weight.is_meta:  # PyTorch would import its compiler for it, which takes over a second
        nn.init.normal_(weight, mean, std)


def batch_norm_2d(channels: int) -> nn.BatchNorm2d:
    """Return a batch norm of maps with Darknet's constants; ``weight`` is Darknet's scale."""
    return nn.BatchNorm2d(channels, eps=BATCH_NORM_EPSILON, momentum=BATCH_NORM_MOMENTUM)


def batch_norm_1d(features: int) -> nn.BatchNorm1d:
    """Return a batch norm of vectors with Darknet's constants."""
    return nn.BatchNorm1d(features, eps=BATCH_NORM_EPSILON, momentum=BATCH_NORM_MOMENTUM)


def norm_layout(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> WeightLayout:
    """Return scale, mean, var, the order in every Darknet layer. The bias comes elsewhere."""
    assert norm.running_mean is not None and norm.running_var is not None
    return [("scale", norm.weight), ("mean", norm.running_mean), ("var", norm.running_var)]


def check_positive(shape: Shape, what: str) -> Shape:
    """Return ``shape`` unchanged.

    Args:
        shape: the computed output shape.
        what: the operation and its input, for the error message.

    Raises:
        ShapeError: if the output would be empty.
    """
    if min(shape.channels, shape.height, shape.width) < 1:
        raise ShapeError(
            f"{what} gives {shape}: nothing would be left; the input is too small for it"
        )
    return shape


def convolved(
    in_shape: Shape, filters: int, size: int, stride: tuple[int, int], padding: int
) -> Shape:
    """Return the shape after a ``size`` x ``size`` convolution.

    Args:
        in_shape: input shape (C, H, W).
        filters: number of output channels.
        size: kernel height and width.
        stride: (vertical, horizontal) steps of the window, in cells.
        padding: rows and columns added on each side.

    Raises:
        ShapeError: if the output would be empty.
    """
    height = convolution_output(in_shape.height, size, stride[0], padding)
    width = convolution_output(in_shape.width, size, stride[1], padding)
    return check_positive(Shape(filters, height, width), f"a {size} x {size} kernel on {in_shape}")


def pad_for_pooling(x: Tensor, padding: int, value: float) -> Tensor:
    """Pad by ``padding`` in total: half of it, rounded down, before, the rest after.

    C starts its windows at ``-padding / 2`` (maxpool_layer.c:282).
    """
    if not padding:
        return x
    before = padding // 2
    after = padding - before
    return F.pad(x, (before, after, before, after), value=value)


class Blur(nn.Module):
    """The fixed depthwise kernel of ``antialiasing=`` (convolutional_layer.c:801).

    Args:
        channels: number of channels of the map.
        kind: 1 for 3x3 [1 2 1]^2 / 16 with padding 1, 2 for a 2x2 mean without padding.
        stride: (vertical, horizontal): the section's stride, which the layer itself no longer has.
    """

    kernel: Tensor

    def __init__(self, channels: int, kind: int, stride: tuple[int, int]) -> None:
        super().__init__()
        # kind 1:  1 2 1         kind 2:  1 1
        #          2 4 2  / 16            1 1  / 4
        #          1 2 1
        row = torch.tensor([1.0, 1.0] if kind == 2 else [1.0, 2.0, 1.0], device="cpu")
        square = torch.outer(row, row) / row.sum() ** 2
        # (k, k) -> (channels, 1, k, k): the same kernel for each group of a depthwise convolution
        self.register_buffer(
            "kernel", square.expand(channels, 1, *square.shape).clone(), persistent=False
        )
        self.kind = kind
        self.stride = stride
        self.size = len(row)
        self.padding = 0 if kind == 2 else 1

    def output(self, shape: Shape) -> Shape:
        """Return the shape after the blur."""
        return convolved(shape, shape.channels, self.size, self.stride, self.padding)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H', W')."""
        return F.conv2d(x, self.kernel, stride=self.stride, padding=self.padding, groups=x.shape[1])

    def extra_repr(self) -> str:
        """Return the kernel's size, stride and padding, for ``print(network)``."""
        padding = unless(self.padding, 0)
        stride = stride_options(self.stride)
        return format_options({"size": self.size, **stride, "padding": padding})
