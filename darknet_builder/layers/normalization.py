"""[normalization]: local response normalisation with Darknet's window; pjreddie's [l2norm]."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from darknet_builder.cfg.block import Block
from darknet_builder.errors import ShapeError
from darknet_builder.layers.base import Graph, Layer, register
from darknet_builder.layers.representation import format_options
from darknet_builder.shapes import Shape


@register("normalization", "lrn")
class Normalization(Layer):
    """Compute y = x * (kappa + alpha * S)^-beta (normalization_layer.c:80).

    S_k is the sum of squares over the channels around k, minus the square of channel ``size // 2``:
    Darknet's sliding sum subtracts that channel without ever having added it. Models were trained
    with it, so it stays.

    Args:
        in_shape: input shape (C, H, W).
        size: number of channels in the window.
        alpha: factor on the sum; not divided by ``size``.
        beta: exponent of the denominator.
        kappa: constant added to the sum.

    Raises:
        ShapeError: if the window is too large for the number of channels.
    """

    def __init__(
        self,
        in_shape: Shape,
        *,
        size: int = 5,
        alpha: float = 1e-4,
        beta: float = 0.75,
        kappa: float = 1.0,
    ) -> None:
        if size // 2 >= in_shape.channels:
            raise ShapeError(
                f"size={size} needs more than the {in_shape.channels} channels of {in_shape}"
            )
        super().__init__(in_shape, in_shape)
        self.size, self.alpha, self.beta, self.kappa = size, alpha, beta, kappa

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Normalization:
        """Build from a cfg section (parser.c:810)."""
        return cls(
            graph.image_shape(block),
            size=block.get_int("size", 5, minimum=1),
            alpha=block.get_float("alpha", 1e-4),
            beta=block.get_float("beta", 0.75),
            kappa=block.get_float("kappa", 1.0),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        # size=5, after=2: S_k = q[k-2] + ... + q[k+2] - q[2], with q the squares and zeros outside
        # the channels. For an even size the window has one channel less on the right.
        squares = x.square()
        after = self.size // 2
        padded = F.pad(squares, (0, 0, 0, 0, self.size - 1 - after, after))
        window = padded.unfold(1, self.size, 1).sum(-1)  # (B, C, H, W, size) -> (B, C, H, W)
        total = window - squares[:, after : after + 1]
        return x * (self.kappa + self.alpha * total).pow(-self.beta)

    def extra_repr(self) -> str:
        """Return the options that ``print(network)`` shows."""
        return format_options(
            {"size": self.size, "alpha": self.alpha, "beta": self.beta, "kappa": self.kappa}
        )


@register("l2norm", dialects=("pjreddie",))
class L2Norm(Layer):
    """Divide each pixel's channels by their length (pjreddie's l2norm_layer.c, blas.c:150)."""

    def __init__(self, in_shape: Shape) -> None:
        super().__init__(in_shape, in_shape)

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> L2Norm:
        """Build from a cfg section (pjreddie's parser.c:290)."""
        return cls(graph.image_shape(block))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        return x / x.square().sum(1, keepdim=True).sqrt()
