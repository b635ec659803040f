"""[maxpool], [local_avgpool] and [avgpool]."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from darknet_builder.cfg.block import Block
from darknet_builder.errors import ShapeError
from darknet_builder.layers.base import Graph, Layer, register
from darknet_builder.layers.parts import Blur, check_positive, pad_for_pooling
from darknet_builder.layers.representation import format_options, stride_options, unless
from darknet_builder.shapes import Shape, pooling_output


class _Pool(Layer):
    """Sizes that are common to both local pools (maxpool_layer.c:99).

    Args:
        in_shape: input shape (C, H, W).
        size: window height and width.
        stride: (vertical, horizontal) steps of the window, in cells.
        padding: in total; half of it, rounded down, comes before. Darknet's default is
            ``size - 1``.
    """

    def __init__(
        self, in_shape: Shape, *, size: int, stride: tuple[int, int], padding: int
    ) -> None:
        height = pooling_output(in_shape.height, size, stride[0], padding)
        width = pooling_output(in_shape.width, size, stride[1], padding)
        shape = Shape(in_shape.channels, height, width)
        super().__init__(in_shape, check_positive(shape, f"a {size} x {size} window on {in_shape}"))
        self.size, self.stride, self.padding = size, stride, padding

    def flops(self) -> int:
        """Return size^2 * channels * output positions (maxpool_layer.c:150)."""
        shape = self.out_shape
        return self.size * self.size * self.in_shape.channels * shape.height * shape.width

    def summary_cells(self) -> tuple[str, str]:
        """Return, for example, ``2 x 2 / 2``."""
        vertical, horizontal = self.stride
        stride = f"{horizontal}" if vertical == horizontal else f"{horizontal}x{vertical}"
        return "", f"{self.size} x {self.size} / {stride}"

    def extra_repr(self) -> str:
        """Return the options that ``print(network)`` shows."""
        return format_options(
            {
                "size": self.size,
                **stride_options(self.stride),
                "padding": unless(self.padding, self.size - 1),
            }
        )


@register("maxpool", "max")
class Maxpool(_Pool):
    """Take the maximum of each window; padding never wins.

    Args:
        in_shape: input shape (C, H, W).
        size: window height and width.
        stride: (vertical, horizontal) steps of the window, in cells.
        padding: in total; half of it, rounded down, comes before.
        antialiasing: 0, or the kind of blur that applies the stride afterwards (see ``Blur``).
    """

    def __init__(
        self,
        in_shape: Shape,
        *,
        size: int,
        stride: tuple[int, int],
        padding: int,
        antialiasing: int = 0,
    ) -> None:
        super().__init__(
            in_shape, size=size, stride=(1, 1) if antialiasing else stride, padding=padding
        )
        self.pool_shape = self.out_shape
        self.blur: Blur | None = None
        if antialiasing:
            self.blur = Blur(in_shape.channels, antialiasing, stride)
            self.out_shape = self.blur.output(self.pool_shape)

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Layer:
        """Build from a cfg section (parser.c:745)."""
        block.refuse("maxpool_zero_nonmax")
        out_channels = block.get_int("out_channels", 1, minimum=1)
        if block.get_flag("maxpool_depth"):
            block.ignore("size", "stride", "stride_x", "stride_y", "padding", "antialiasing")
            return DepthMaxpool(graph.image_shape(block), out_channels=out_channels)
        return cls(
            graph.image_shape(block),
            antialiasing=block.get_int("antialiasing", 0, minimum=0),
            **_read_geometry(block),  # type: ignore[arg-type]
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H', W')."""
        # torch pads equally on both sides and by at most half the window, but needs no copy.
        if self.padding % 2 == 0 and self.padding <= self.size:
            x = F.max_pool2d(x, self.size, self.stride, self.padding // 2)
        else:
            x = F.max_pool2d(
                pad_for_pooling(x, self.padding, float("-inf")), self.size, self.stride
            )
        return x if self.blur is None else self.blur(x)

    def flops(self) -> int:
        """Return the operations of the windows; the blur is not counted."""
        shape = self.pool_shape
        return self.size * self.size * shape.channels * shape.height * shape.width

    def extra_repr(self) -> str:
        """Return the options that ``print(network)`` shows."""
        if self.blur is None:
            return super().extra_repr()
        # With antialiasing the window moves by 1, and the blur has the section's stride.
        return format_options(
            {
                "size": self.size,
                **stride_options(self.blur.stride),
                "padding": unless(self.padding, self.size - 1),
                "antialiasing": self.blur.kind,
            }
        )


class DepthMaxpool(Layer):
    """``maxpool_depth=1``: maximum over the channels with equal index modulo ``out_channels``."""

    def __init__(self, in_shape: Shape, *, out_channels: int) -> None:
        if in_shape.channels % out_channels:
            raise ShapeError(
                f"out_channels={out_channels} must divide the {in_shape.channels} input channels"
            )
        super().__init__(in_shape, Shape(out_channels, in_shape.height, in_shape.width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H, W)."""
        # out_channels=2 of 6: (0 1 | 2 3 | 4 5) -> max(0, 2, 4), max(1, 3, 5)
        groups = x.unflatten(1, (-1, self.out_shape.channels))  # (B, C / out, out, H, W)
        return groups.amax(1)

    def flops(self) -> int:
        """Return one comparison per value (maxpool_layer.c:150 with size 1)."""
        return self.in_shape.size

    def extra_repr(self) -> str:
        """Return the options that ``print(network)`` shows."""
        return format_options({"maxpool_depth": True, "out_channels": self.out_shape.channels})


@register("local_avgpool", "local_avg", dialects=("alexeyab",))
class LocalAvgpool(_Pool):
    """Average each window over the values inside the image (maxpool_layer.c:390)."""

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> LocalAvgpool:
        """Build from a cfg section (parser.c:722)."""
        return cls(graph.image_shape(block), **_read_geometry(block))  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H', W')."""
        # Count the values inside the image by pooling ones: (1, 1, H', W').
        total = self._window_sum(x)
        return total / self._window_sum(torch.ones_like(x[:1, :1]))

    def _window_sum(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(
            pad_for_pooling(x, self.padding, 0.0), self.size, self.stride, divisor_override=1
        )


@register("avgpool", "avg")
class Avgpool(Layer):
    """Average each channel: (B, C, H, W) -> (B, C, 1, 1)."""

    def __init__(self, in_shape: Shape) -> None:
        super().__init__(in_shape, Shape(in_shape.channels))

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Avgpool:
        """Build from a cfg section (parser.c:771)."""
        return cls(graph.image_shape(block))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 1, 1)."""
        return x.mean((2, 3), keepdim=True)


def _read_geometry(block: Block) -> dict[str, int | tuple[int, int]]:
    stride = block.get_int("stride", 1, minimum=1)
    size = block.get_int("size", stride, minimum=1)
    return {
        "size": size,
        "stride": (
            block.get_int("stride_y", stride, minimum=1),
            block.get_int("stride_x", stride, minimum=1),
        ),
        "padding": block.get_int("padding", size - 1, minimum=0),
    }
