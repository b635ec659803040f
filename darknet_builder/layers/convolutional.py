"""[convolutional]: convolution, batch norm and activation.

Also weights shared with another layer, antialiasing, and binary (XNOR) convolution.
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
    """Convolve, normalise and activate, as convolutional_layer.c does.

    Args:
        in_shape: input shape (C, H, W).
        filters: number of output channels.
        size: kernel height and width.
        stride: (vertical, horizontal) steps of the window, in cells.
        padding: rows and columns added on each side, before dilation.
        dilation: distance between the kernel's values.
        groups: number of channel groups, as in ``nn.Conv2d``.
        batch_normalize: add batch norm; the convolution then has no bias.
        activation: Darknet's name of the activation, such as ``leaky``.
        antialiasing: 0, or the kind of blur that applies the stride after the activation (see
            ``Blur``).
        flipped: the file holds the weights transposed (parser.c:2201).
        xnor: reduce both weights and input to their signs.
        binary: reduce only the weights to their signs.
        share: another layer whose weights, biases and batch norm this one uses. Stride, padding,
            dilation, antialiasing and activation stay this layer's own
            (convolutional_layer.c:545).

    Raises:
        ShapeError: if the groups do not divide the channels, or the output would be empty.
    """

    averaged = True
    is_convolution = True
    conv: Convolution
    norm: nn.BatchNorm2d | None
    share_index: int | None
    """Index of the layer whose weights are used (``share_index=``), or None."""

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
        # With antialiasing the convolution moves by 1, and the blur after it has the stride.
        conv_stride = (1, 1) if antialiasing else stride
        _check(in_shape, filters, size, padding, dilation, groups)
        conv_shape = convolved(in_shape, filters, size, conv_stride, padding)
        blur = Blur(filters, antialiasing, stride) if antialiasing else None
        out_shape = conv_shape if blur is None else blur.output(conv_shape)
        super().__init__(in_shape, out_shape)
        self.conv_shape, self.filters = conv_shape, filters
        self.size, self.stride, self.padding = size, stride, padding
        self.dilation, self.groups = dilation, groups
        self.flipped, self.xnor, self.binary, self.shared = flipped, xnor, binary, share is not None
        self.geometry = conv_stride, (padding * dilation,) * 2, (dilation,) * 2
        if share is not None:
            self.conv, self.norm = share.conv, share.norm
        else:
            self._make_weights(batch_normalize)
        self.activation_name, self.activation = activation, make_activation(activation)
        self.blur, self.share_index = blur, None

    def _make_weights(self, batch_normalize: bool) -> None:
        stride, padding, dilation = self.geometry
        # Batch norm has a bias already, so the convolution gets none (convolutional_layer.c:560).
        self.conv = Convolution(
            self.in_shape.channels,
            self.filters,
            self.size,
            stride,
            padding,
            dilation,
            self.groups,
            bias=not batch_normalize,
        )
        self.norm = batch_norm_2d(self.filters) if batch_normalize else None

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Convolutional:
        """Build from a cfg section (parser.c:166)."""
        size = block.get_int("size", 1, minimum=1)
        stride = block.get_int("stride", 1, minimum=1)
        padding = block.get_int("padding", 0, minimum=0)
        if block.get_flag("pad"):
            padding = size // 2
        xnor = block.get_flag("xnor")
        groups = block.get_int("groups", 1, minimum=1)
        if xnor:
            groups = 1  # Darknet's bit convolution has no groups
        _check_rare_options(block)
        layer = cls(
            graph.image_shape(block),
            filters=block.get_int("filters", 1, minimum=1),
            size=size,
            stride=(
                _axis_stride(block, "stride_y", stride),
                _axis_stride(block, "stride_x", stride),
            ),
            padding=padding,
            dilation=_dilation(block, size),
            groups=groups,
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
        elif self.binary:
            # As Darknet's GPU path does (convolutional_kernels.cu:179); its CPU path ignores it.
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
        """Convolve with this layer's geometry; a shared ``conv`` may have another."""
        return F.conv2d(x, weight, self.conv.bias, *self.geometry, self.groups)

    def _binary_convolution(self, x: Tensor) -> Tensor:
        """Convolve the signs of the input with the signs of the weights, scaled by filter.

        Each filter is scaled by the mean magnitude of its weights. Padding counts as -1, because
        Darknet's packed bits are 0 there (convolutional_layer.c:1212).
        """
        signs = torch.where(x > 0, 1.0, -1.0).to(x.dtype)
        stride, (vertical, horizontal), dilation = self.geometry
        padded = F.pad(signs, (horizontal, horizontal, vertical, vertical), value=-1.0)
        return F.conv2d(padded, self._binary_weight(), self.conv.bias, stride, 0, dilation)

    def _binary_weight(self) -> Tensor:
        """Return the weights' signs times each filter's mean magnitude."""
        weight = self.conv.weight
        scale = weight.abs().mean((1, 2, 3), keepdim=True)
        return torch.where(weight > 0, scale, -scale)

    def weight_layout(self, header: WeightsHeader) -> WeightLayout:
        """Return bias, [scale, mean, var], weight (parser.c:2162); nothing for shared weights."""
        if self.shared:
            return []
        weight = self.conv.weight
        # (filters, C / groups, k, k) -> (filters, C / groups * k * k) -> transposed. A view, so
        # that loading writes to the parameter.
        stored = weight.view(weight.shape[0], -1).t() if self.flipped else weight
        if self.norm is None:
            assert self.conv.bias is not None
            return [("bias", self.conv.bias), ("weight", stored)]
        return [("bias", self.norm.bias), *norm_layout(self.norm), ("weight", stored)]

    def flops(self) -> int:
        """Return 2 * weights * output positions (convolutional_layer.c:779).

        XNOR counts a 32nd of that, because 32 signs are multiplied at once. Blur is not counted.
        """
        count = 2 * self.conv.weight.numel() * self.conv_shape.height * self.conv_shape.width
        return count // 32 if self.xnor else count

    @property
    def is_depthwise(self) -> bool:
        """Whether there is one group per input channel."""
        return self.groups == self.in_shape.channels > 1

    @property
    def output_bias(self) -> Tensor | None:
        """The convolution's bias; None with batch norm, which has a bias instead."""
        return None if self.norm is not None else self.conv.bias

    def summary_cells(self) -> tuple[str, str]:
        """Return the filters (with groups) and, for example, ``3 x 3 / 2``."""
        filters = f"{self.filters}/{self.groups}" if self.groups > 1 else f"{self.filters}"
        vertical, horizontal = self.stride
        stride = f"{horizontal}" if vertical == horizontal else f"{horizontal}x{vertical}"
        dilation = f" ({self.dilation})" if self.dilation > 1 else ""
        return filters, f"{self.size} x {self.size} / {stride}{dilation}"

    def extra_repr(self) -> str:
        """Return the options that ``print(network)`` shows."""
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
        """Return padding and dilation if they differ from what the module ``conv`` shows.

        They can if ``conv`` belongs to the layer whose weights are shared.
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


def _dilation(block: Block, size: int) -> int:
    # A kernel of one value has no gaps to widen, so Darknet ignores the option (parser.c:188).
    if size == 1:
        block.ignore("dilation")
        return 1
    return block.get_int("dilation", 1, minimum=1)


def _axis_stride(block: Block, key: str, stride: int) -> int:
    # Darknet takes stride= unless the axis has a stride of at least 1 (parser.c:178).
    axis_stride = block.get_int(key, -1)
    return axis_stride if axis_stride >= 1 else stride


def _activation(block: Block, xnor: bool) -> str:
    name = read_activation(block, "logistic")
    # The next XNOR layer reads only the sign, so Darknet skips the activation (network.c:1410).
    return "linear" if xnor and block.get_flag("bin_output") else name


def _shared_layer(block: Block, graph: Graph) -> Convolutional | None:
    """Return the layer that ``share_index=`` names, or None (convolutional_layer.c:545).

    Raises:
        CfgError: located, if its weights do not fit this layer.
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
    # network.c:1304 decides by the shared layer alone whether there is batch norm.
    normalized = block.get_flag("batch_normalize") or block.get_flag("cbn")
    if normalized != (layer.norm is not None):
        has = "has none" if normalized else "has batch norm"
        block.warn(
            f"layer {index}, whose weights are shared, {has}; this layer follows it"
            " (network.c:1304)",
            "batch_normalize",
        )
    return layer


def _check_rare_options(block: Block) -> None:
    block.ignore("bin_output", "stream", "wait_stream", "angle", "reverse")
    block.warn_of_training("dot", "assisted_excitation", "grad_centr")
    block.refuse("coordconv", "sway", "rotate", "stretch", "stretch_sway")
