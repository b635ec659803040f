"""[convolutional]: convolution, batch norm, activation; shared weights, antialiasing and XNOR
binarisation.
"""

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
    read_activation,
    register,
)
from darknet_builder.layers.parts import Blur, Convolution, batch_norm_2d, convolved, norm_layout
from darknet_builder.layers.representation import format_options, stride_options
from darknet_builder.shapes import Shape


@register("convolutional", "conv")
class Convolutional(Layer):
    """Convolution as Darknet's convolutional_layer.c.

    Args:
        in_shape: (C, H, W).
        filters: output channels.
        size: kernel side.
        stride: (vertical, horizontal).
        padding: on each side, before dilation.
        dilation: spacing of the kernel's taps.
        groups: as torch's.
        batch_normalize: with batch norm and no bias of the convolution's own.
        activation: Darknet's name.
        antialiasing: 0, or the kind of blur that takes the stride over (see ``Blur``).
        flipped: the file holds the weights transposed (parser.c:2201).
        xnor: weights and input are reduced to signs.
        binary: the weights alone are reduced to signs.
        share: another layer whose weights, biases and batch norm this one uses. Nothing else is
            taken from it: stride, padding, dilation, antialiasing and activation are this layer's
            own (convolutional_layer.c:545).

    Raises:
        ShapeError: when channels and groups do not divide, or nothing is left of the image.
    """

    averaged = True
    is_convolution = True
    conv: Convolution
    norm: nn.BatchNorm2d | None

    def __init__(
        self,
        in_shape: Shape,
        *,
        filters: int,
        size: int = 1,
        stride: tuple[int, int] = (1, 1),
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        batch_normalize: bool = False,
        activation: str = "logistic",
        antialiasing: int = 0,
        flipped: bool = False,
        xnor: bool = False,
        binary: bool = False,
        share: Convolutional | None = None,
    ) -> None:
        conv_stride = (1, 1) if antialiasing else stride
        _check(in_shape, filters, size, padding, dilation, groups)
        conv_shape = convolved(in_shape, filters, size, conv_stride, padding)
        blur = Blur(filters, antialiasing, stride) if antialiasing else None
        out_shape = conv_shape if blur is None else blur.output(conv_shape)
        super().__init__(in_shape, out_shape)
        self.conv_shape = conv_shape
        self.filters, self.size, self.stride, self.dilation, self.groups = (
            filters,
            size,
            stride,
            dilation,
            groups,
        )
        self.padding = padding
        self.flipped, self.xnor, self.binary, self.shared = flipped, xnor, binary, share is not None
        self.geometry = conv_stride, (padding * dilation,) * 2, (dilation,) * 2
        self.conv = (
            share.conv
            if share
            else Convolution(
                in_shape.channels,
                filters,
                size,
                conv_stride,
                padding * dilation,
                dilation,
                groups,
                bias=not batch_normalize,
            )
        )
        self.norm = share.norm if share else batch_norm_2d(filters) if batch_normalize else None
        self.activation_name = activation
        self.activation = make_activation(activation)
        self.blur = blur
        self.share_index: int | None = None

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Convolutional:
        """parser.c:166."""
        size = block.get_int("size", 1, minimum=1)
        stride = block.get_int("stride", 1, minimum=1)
        padding = block.get_int("padding", 0, minimum=0)
        xnor = block.get_flag("xnor")
        groups = block.get_int("groups", 1, minimum=1)
        _mind_rare_options(block)
        layer = cls(
            graph.image_shape(block),
            filters=block.get_int("filters", 1, minimum=1),
            size=size,
            stride=(
                _axis_stride(block, "stride_y", stride),
                _axis_stride(block, "stride_x", stride),
            ),
            padding=size // 2 if block.get_flag("pad") else padding,
            dilation=block.get_int("dilation", 1, minimum=1) if size > 1 else 1,
            groups=1 if xnor else groups,
            batch_normalize=block.get_flag("batch_normalize") or block.get_flag("cbn"),
            activation=_activation(block, xnor),
            antialiasing=block.get_int("antialiasing", 0, minimum=0),
            flipped=block.get_flag("flipped"),
            xnor=xnor,
            binary=block.get_flag("binary"),
            share=_shared_layer(block, graph),
        )
        layer.share_index = graph.layer_index(block, "share_index") if layer.shared else None
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, filters, H', W')."""
        if self.xnor:
            x = self._binary_convolution(x)
        elif (
            self.binary
        ):  # Darknet's GPU path (convolutional_kernels.cu:179); its CPU path forgets to
            x = self._convolve(x, self._binary_weight())
        elif self.shared:
            x = self._convolve(x, self.conv.weight)
        else:
            x = self.conv(x)
        if self.norm is not None:
            x = self.norm(x)
        x = self.activation(x)
        return x if self.blur is None else self.blur(x)

    def _convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        """Convolve with this layer's geometry, which is not that of ``conv`` where the weights are
        another layer's.
        """
        return F.conv2d(x, weight, self.conv.bias, *self.geometry, self.groups)

    def _binary_convolution(self, x: Tensor) -> Tensor:
        """Signs of the input times signs of the weights, scaled by each filter's mean magnitude.

        Padding counts as -1, because Darknet's packed bits say 0 there
        (convolutional_layer.c:1212).
        """
        signs = torch.where(x > 0, 1.0, -1.0).to(x.dtype)
        stride, (vertical, horizontal), dilation = self.geometry
        padded = F.pad(signs, (horizontal, horizontal, vertical, vertical), value=-1.0)
        return F.conv2d(padded, self._binary_weight(), self.conv.bias, stride, 0, dilation)

    def _binary_weight(self) -> Tensor:
        """The weights' signs times each filter's mean magnitude."""
        weight = self.conv.weight
        scale = weight.abs().mean((1, 2, 3), keepdim=True)
        return torch.where(weight > 0, scale, -scale)

    def weight_layout(self, header: WeightsHeader) -> WeightLayout:
        """bias, [scale, mean, var], weight (parser.c:2162); nothing for shared weights."""
        if self.shared:
            return []
        weight = self.conv.weight
        # Flipped, the file has (C / groups * k * k, filters): a view, so that loading writes to it.
        stored = weight.view(weight.shape[0], -1).t() if self.flipped else weight
        if self.norm is None:
            assert self.conv.bias is not None
            return [("bias", self.conv.bias), ("weight", stored)]
        return [("bias", self.norm.bias), *norm_layout(self.norm), ("weight", stored)]

    def flops(self) -> int:
        """2 * weights * positions, over 32 where bits do the work; blurring is free
        (convolutional_layer.c:779).
        """
        count = 2 * self.conv.weight.numel() * self.conv_shape.height * self.conv_shape.width
        return count // 32 if self.xnor else count

    @property
    def is_depthwise(self) -> bool:
        """Whether each input channel is a group of its own."""
        return self.groups == self.in_shape.channels > 1

    @property
    def output_bias(self) -> Tensor | None:
        """The convolution's own bias; None where batch norm has taken its place."""
        return None if self.norm is not None else self.conv.bias

    def summary_cells(self) -> tuple[str, str]:
        """Filters (with groups) and ``3 x 3 / 2``."""
        filters = f"{self.filters}/{self.groups}" if self.groups > 1 else f"{self.filters}"
        vertical, horizontal = self.stride
        stride = f"{horizontal}" if vertical == horizontal else f"{horizontal}x{vertical}"
        dilation = f" ({self.dilation})" if self.dilation > 1 else ""
        return filters, f"{self.size} x {self.size} / {stride}{dilation}"

    def extra_repr(self) -> str:
        """See ``Layer.extra_repr``."""
        return format_options(
            {
                "filters": self.filters,
                "size": self.size,
                **stride_options(self.stride),
                "activation": self.activation_name,
                "antialiasing": self.blur and self.blur.kind,
                "flipped": self.flipped,
                "xnor": self.xnor,
                "binary": self.binary,
                "share_index": self.share_index,
                **self._own_geometry(),
            }
        )

    def _own_geometry(self) -> dict[str, int]:
        """Padding and dilation where the module ``conv`` shows those of the layer whose weights are
        used.
        """
        if self.geometry == (self.conv.stride, self.conv.padding, self.conv.dilation):
            return {}
        return {"padding": self.padding, "dilation": self.dilation}


def _check(
    in_shape: Shape, filters: int, size: int, padding: int, dilation: int, groups: int
) -> None:
    if in_shape.channels % groups or filters % groups:
        raise ShapeError(
            f"groups={groups} must divide both the {in_shape.channels} input channels "
            f"and the {filters} filters"
        )
    if dilation > 1 and 2 * padding != size - 1:
        raise ShapeError(
            f"dilation={dilation} needs an odd size and pad=1: Darknet's size formula leaves"
            " dilation out"
        )


def _axis_stride(block: Block, key: str, stride: int) -> int:
    own = block.get_int(key, -1)
    return own if own >= 1 else stride


def _activation(block: Block, xnor: bool) -> str:
    name = read_activation(block, "logistic")
    # The next XNOR layer only asks for the sign, so Darknet leaves the activation out
    # (network.c:1410).
    return "linear" if xnor and block.get_flag("bin_output") else name


def _shared_layer(block: Block, graph: Graph) -> Convolutional | None:
    """The layer that ``share_index=`` names, whose weights must fit this one
    (convolutional_layer.c:545).
    """
    if not block.get_str("share_index", ""):
        return None
    index = graph.layer_index(block, "share_index")
    layer = graph.layers[index]
    if not isinstance(layer, Convolutional):
        raise block.error(
            f"layer {index} is a [{layer.section}]; only a [convolutional] can share its weights",
            "share_index",
        )
    channels = graph.shape.channels
    groups = 1 if block.get_flag("xnor") else block.get_int("groups", 1)
    expected = (block.get_int("filters", 1), channels // groups, *(block.get_int("size", 1),) * 2)
    if tuple(layer.conv.weight.shape) != expected:
        raise block.error(
            f"this layer needs weights {expected}, layer {index} has"
            f" {tuple(layer.conv.weight.shape)}",
            "share_index",
        )
    if layer.in_shape.channels != channels:
        raise block.error(
            f"layer {index} reads {layer.in_shape.channels} channels, this one {channels}: layers"
            " that share weights need the same number",
            "share_index",
        )
    normalized = block.get_flag("batch_normalize") or block.get_flag("cbn")
    if normalized != (layer.norm is not None):
        has = "has none" if normalized else "has batch norm"
        block.warn(
            f"layer {index}, whose weights are shared, {has}: this layer does the same"
            " (network.c:1304)",
            "batch_normalize",
        )
    return layer


def _mind_rare_options(block: Block) -> None:
    block.ignore("bin_output", "stream", "wait_stream", "angle", "reverse")
    block.warn_of_training("dot", "assisted_excitation", "grad_centr")
    block.refuse("coordconv", "sway", "rotate", "stretch", "stretch_sway")
