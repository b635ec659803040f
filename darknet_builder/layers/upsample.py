"""[upsample]: every value stands for a square of them."""

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
    """Nearest neighbour times ``scale``; a negative stride sums squares instead (blas.c:484).

    Args:
        in_shape: (C, H, W).
        stride: the factor; negative to make the image smaller.
        scale: a factor on the values.
    """

    def __init__(self, in_shape: Shape, *, stride: int, scale: float = 1.0) -> None:
        factor = abs(stride)
        height, width = (
            (in_shape.height * factor, in_shape.width * factor)
            if stride > 0
            else (in_shape.height // factor, in_shape.width // factor)
        )
        shape = Shape(in_shape.channels, height, width)
        super().__init__(in_shape, check_positive(shape, f"stride={stride} on {in_shape}"))
        self.factor, self.reverse, self.scale = factor, stride < 0, scale

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Upsample:
        """parser.c:1086."""
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
            # Not divisor_override=1, which an ONNX file loses; the stride is said because oneDNN
            # Graph asks for it.
            x = F.avg_pool2d(x, self.factor, self.factor) * self.factor**2
        else:
            x = F.interpolate(x, scale_factor=self.factor, mode="nearest")
        return x if self.scale == 1 else x * self.scale

    def summary_cells(self) -> tuple[str, str]:
        """``2x``, or ``/2`` in reverse."""
        return "", f"/{self.factor}" if self.reverse else f"{self.factor}x"

    def extra_repr(self) -> str:
        """See ``Layer.extra_repr``."""
        stride = -self.factor if self.reverse else self.factor
        return format_options({"stride": stride, "scale": unless(self.scale, 1.0)})
