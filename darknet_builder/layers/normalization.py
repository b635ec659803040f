"""[normalization]: local response normalisation, with Darknet's own window; pjreddie's [l2norm]."""

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
    """y = x * (kappa + alpha * S)^-beta (normalization_layer.c:80).

    S_k is the sum of squares over the channels around k, less the square of channel ``size // 2``:
    Darknet's sliding sum subtracts that channel without ever having added it. Models were trained
    with it, so it stays.

    Args:
        in_shape: (C, H, W).
        size: channels of the window.
        alpha, beta, kappa: as above; alpha is not divided by ``size``.

    Raises:
        ShapeError: for a window larger than the channels allow.
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
        """parser.c:810."""
        return cls(
            graph.image_shape(block),
            size=block.get_int("size", 5, minimum=1),
            alpha=block.get_float("alpha", 1e-4),
            beta=block.get_float("beta", 0.75),
            kappa=block.get_float("kappa", 1.0),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        squares = x.square()
        after = self.size // 2
        padded = F.pad(squares, (0, 0, 0, 0, self.size - 1 - after, after))
        window = padded.unfold(1, self.size, 1).sum(-1)  # (B, C, H, W, size) -> (B, C, H, W)
        return x * (self.kappa + self.alpha * (window - squares[:, after : after + 1])).pow(
            -self.beta
        )

    def extra_repr(self) -> str:
        """See ``Layer.extra_repr``."""
        return format_options(
            {"size": self.size, "alpha": self.alpha, "beta": self.beta, "kappa": self.kappa}
        )


@register("l2norm", dialects=("pjreddie",))
class L2Norm(Layer):
    """Every pixel's channels divided by their length (P l2norm_layer.c, blas.c:150): (B, C, H, W)
    -> the same shape.
    """

    def __init__(self, in_shape: Shape) -> None:
        super().__init__(in_shape, in_shape)

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> L2Norm:
        """P parser.c:290."""
        return cls(graph.image_shape(block))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        return x / x.square().sum(1, keepdim=True).sqrt()
