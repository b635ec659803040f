"""The size of what a layer reads and writes, and the arithmetic from one to the other."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Shape:
    """The output of one layer for one image: (channels, height, width), or a flat vector of
    ``channels`` values.

    A flat shape belongs to a tensor (B, N), any other to a tensor (B, C, H, W). Sections that need
    an image take a vector as one of 1 x 1 with as many channels, as Darknet does
    (connected_layer.c:67), unless it is ``formless``: Darknet gives what [softmax] and some others
    make a length alone, and so its parser refuses such sections there.
    """

    channels: int
    height: int = 1
    width: int = 1
    flat: bool = False
    formless: bool = field(default=False, compare=False)

    @property
    def size(self) -> int:
        """How many values one image has here."""
        return self.channels * self.height * self.width

    def batched(self, batch: int) -> tuple[int, ...]:
        """The shape of a tensor that holds ``batch`` of these."""
        return (
            (batch, self.channels) if self.flat else (batch, self.channels, self.height, self.width)
        )

    def __str__(self) -> str:
        """Darknet's own order: ``416 x 416 x 3``."""
        return (
            f"{self.channels}" if self.flat else f"{self.width} x {self.height} x {self.channels}"
        )


def flat(size: int, *, formless: bool = False) -> Shape:
    """The shape of a vector of ``size`` values."""
    return Shape(size, flat=True, formless=formless)


def convolution_output(size: int, kernel: int, stride: int, padding: int) -> int:
    """Length after a convolution with ``padding`` on both sides (convolutional_layer.c:78). May be
    <= 0.
    """
    return (size + 2 * padding - kernel) // stride + 1


def pooling_output(size: int, kernel: int, stride: int, padding: int) -> int:
    """Length after pooling with ``padding`` in all (maxpool_layer.c:99). May be <= 0."""
    return (size + padding - kernel) // stride + 1
