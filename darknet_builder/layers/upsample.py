"""[upsample]: repeat every value in a square."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from darknet_builder.cfg.block import Block
from darknet_builder.layers.base import Graph, Layer, register
from darknet_builder.layers.parts import check_positive
from darknet_builder.layers.representation import format_options, unless
from darknet_builder.shapes import Shape


@register("upsample")
class Upsample(Layer):
    """Repeat values by nearest neighbour; a negative stride sums squares instead (blas.c:484).

    Args:
        in_shape: input shape (C, H, W).
        stride: factor on height and width; negative to make the map smaller.
        scale: factor on the values.
    """

    def __init__(self, in_shape: Shape, *, stride: int, scale: float = 1.0) -> None:
        factor = abs(stride)
        if stride > 0:
            height, width = in_shape.height * factor, in_shape.width * factor
        else:
            height, width = in_shape.height // factor, in_shape.width // factor
        shape = Shape(in_shape.channels, height, width)
        super().__init__(in_shape, check_positive(shape, f"stride={stride} on {in_shape}"))
        self.factor, self.reverse, self.scale = factor, stride < 0, scale

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Upsample:
        """Build from a cfg section (parser.c:1086)."""
        stride = block.get_int("stride", 2)
        if stride == 0:
            raise block.error("expected a stride other than 0", "stride")
        return cls(graph.image_shape(block), stride=stride, scale=block.get_float("scale", 1.0))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H * stride, W * stride), or divided by it."""
        # stride=2:  a b      a a b b      stride=-2:  a b
        #            c d  ->  a a b b                  c d  ->  a + b + c + d
        #                     c c d d
        #                     c c d d
        if self.reverse:
            # A mean times its count, because ONNX has no divisor_override. The stride equals its
            # default, but oneDNN Graph requires it to be given.
            x = F.avg_pool2d(x, self.factor, self.factor) * self.factor**2
        else:
            x = F.interpolate(x, scale_factor=self.factor, mode="nearest")
        return x if self.scale == 1 else x * self.scale

    def summary_cells(self) -> tuple[str, str]:
        """Return, for example, ``2x``, or ``/2`` in reverse."""
        return "", f"/{self.factor}" if self.reverse else f"{self.factor}x"

    def extra_repr(self) -> str:
        """Return the options that ``print(network)`` shows."""
        stride = -self.factor if self.reverse else self.factor
        return format_options({"stride": stride, "scale": unless(self.scale, 1.0)})
