"""[reorg] and [reorg3d]: move pixels to channels, in Darknet's two orders."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from darknet_builder.cfg.block import Block
from darknet_builder.errors import ShapeError
from darknet_builder.layers.base import Graph, Layer, register
from darknet_builder.layers.representation import format_options
from darknet_builder.shapes import Shape, flat


def _out_shape(shape: Shape, stride: int, reverse: bool) -> Shape:
    square = stride * stride
    if reverse:
        return Shape(shape.channels // square, shape.height * stride, shape.width * stride)
    if shape.height % stride or shape.width % stride:
        raise ShapeError(f"stride={stride} does not divide the width and height of {shape}")
    return Shape(shape.channels * square, shape.height // stride, shape.width // stride)


class _Reorg(Layer):
    """Options and sizes of both orders.

    Args:
        in_shape: input shape (C, H, W).
        stride: height and width of the squares that become channels.
        reverse: move channels to pixels instead.

    Raises:
        ShapeError: if the stride does not divide the image, or its square does not divide the
            channels where it must.
    """

    def __init__(self, in_shape: Shape, *, stride: int, reverse: bool = False) -> None:
        super().__init__(in_shape, _out_shape(in_shape, stride, reverse))
        self.stride, self.reverse = stride, reverse
        if (reverse or self.divides_channels) and in_shape.channels % (stride * stride):
            raise ShapeError(
                f"stride={stride}: its square must divide the {in_shape.channels} channels of"
                f" {in_shape}"
            )

    divides_channels = False

    def summary_cells(self) -> tuple[str, str]:
        """Return, for example, ``/ 2``."""
        return "", f"/ {self.stride}"

    def extra_repr(self) -> str:
        """Return the options that ``print(network)`` shows."""
        return format_options({"stride": self.stride, "reverse": self.reverse})


@register("reorg")
class Reorg(_Reorg):
    """Darknet's original order, not a plain space-to-depth (reorg_old_layer.c:79, blas.c:13).

    ``reorg_cpu`` gets the input's sizes where it expects the output's, so the map is first read
    as if it were (C / s^2, H * s, W * s).
    """

    divides_channels = True

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Layer:
        """Build from a cfg section (parser.c:699; pjreddie's parser.c:398)."""
        shape = graph.image_shape(block)
        stride = block.get_int("stride", 1, minimum=1)
        reverse = block.get_flag("reverse")
        extra = block.get_int("extra", 0, minimum=0)
        block.ignore("flatten")
        if extra and graph.dialect.reorg_extra:
            return ReorgExtra(shape, extra=extra)
        return cls(shape, stride=stride, reverse=reverse)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C * s^2, H / s, W / s), or back."""
        # Stride 2, four channels of 2 x 2. Their memory is read as if it were one channel of 4 x 4;
        # each corner (dy, dx) of its squares becomes a group of the output's channels:
        #
        #    0  1   4  5   8  9   12 13      0  1 |  2  3      (0, 0):  0  2  8 10
        #    2  3   6  7  10 11   14 15  =   4  5 |  6  7  ->  (0, 1):  1  3  9 11
        #                                   ------+------      (1, 0):  4  6 12 14
        #                                    8  9 | 10 11      (1, 1):  5  7 13 15
        #                                   12 13 | 14 15
        #
        # A plain space-to-depth would take (0, 0) from each channel instead: 0 4 8 12.
        batch, channels, height, width = x.shape
        s = self.stride
        if self.reverse:
            # (B, dy, dx, C', H, W)
            squares = x.view(batch, s, s, channels // (s * s), height, width)
            # (B, C', H, dy, W, dx): the memory of (B, C', H * s, W * s)
            return squares.permute(0, 3, 4, 1, 5, 2).reshape(batch, *self._out(x))
        # (B, C', H, dy, W, dx)
        squares = x.reshape(batch, channels // (s * s), height, s, width, s)
        # (B, dy, dx, C', H, W): the memory of (B, C * s^2, H / s, W / s)
        return squares.permute(0, 3, 5, 1, 2, 4).reshape(batch, *self._out(x))

    def _out(self, x: Tensor) -> tuple[int, int, int]:
        _, channels, height, width = x.shape
        shape = _out_shape(Shape(channels, height, width), self.stride, self.reverse)
        return shape.channels, shape.height, shape.width


@register("reorg3d", dialects=("alexeyab",))
class Reorg3d(_Reorg):
    """Plain space-to-depth with channels ordered (dy, dx, c) (reorg_layer.c).

    ``reverse`` is not the inverse: Darknet passes the output's sizes to ``reorg_cpu`` both ways, so
    the map is read as if it already had the output's shape.
    """

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Reorg3d:
        """Build from a cfg section (parser.c:684)."""
        shape, stride = graph.image_shape(block), block.get_int("stride", 1, minimum=1)
        reverse = block.get_flag("reverse")
        if reverse and shape.channels % stride**4:
            raise block.error(
                f"reverse=1 needs {stride}^4 to divide the {shape.channels} channels before it",
                "stride",
            )
        return cls(shape, stride=stride, reverse=reverse)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C * s^2, H / s, W / s), or back."""
        # Stride 2, one channel of 4 x 4; each corner (dy, dx) of the squares becomes a channel:
        #
        #    0  1 |  2  3      (0, 0):  0  2    (0, 1):  1  3    (1, 0):  4  6    (1, 1):  5  7
        #    4  5 |  6  7  ->           8 10             9 11            12 14            13 15
        #   ------+------
        #    8  9 | 10 11
        #   12 13 | 14 15
        batch, channels, height, width = x.shape
        s = self.stride
        if self.reverse:
            # C' = C / s^4: the memory is read as (C / s^2, H * s, W * s) and spread once more.
            # (B, dy, dx, C', H * s, W * s)
            squares = x.reshape(batch, s, s, -1, height * s, width * s)
            # (B, C', H * s, dy, W * s, dx), read as (B, C' * s^2, H * s, W * s)
            return squares.permute(0, 3, 4, 1, 5, 2).reshape(batch, -1, height * s, width * s)
        # (B, C, H', dy, W', dx)
        squares = x.reshape(batch, channels, height // s, s, width // s, s)
        # (B, dy, dx, C, H', W')
        return squares.permute(0, 3, 5, 1, 2, 4).reshape(batch, -1, height // s, width // s)


class ReorgExtra(Layer):
    """pjreddie's ``extra=``: flatten the input and append zeros (pjreddie's reorg_layer.c:100).

    Args:
        in_shape: input shape (C, H, W).
        extra: number of zeros to append.
    """

    def __init__(self, in_shape: Shape, *, extra: int) -> None:
        super().__init__(in_shape, flat(in_shape.size + extra))
        self.extra = extra

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C * H * W + extra)."""
        # (B, C, H, W) -> (B, C * H * W) -> (B, C * H * W + extra), with zeros at the end.
        return F.pad(x.flatten(1), (0, self.extra))

    def extra_repr(self) -> str:
        """Return the options that ``print(network)`` shows."""
        return format_options({"extra": self.extra})
