"""Shapes of the tensors between layers, and the output sizes of convolution and pooling."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Shape:
    """The shape of a layer's output for one image.

    A flat shape describes a tensor (B, channels), every other shape a tensor (B, C, H, W). A
    section that needs an image takes a vector as an image of 1 x 1 pixels with as many channels, as
    Darknet does (connected_layer.c:67), unless the vector is ``formless``.

    Attributes:
        channels: number of channels, or number of values if ``flat``.
        height: in cells; 1 if ``flat``.
        width: in cells; 1 if ``flat``.
        flat: whether the output is a vector.
        formless: whether Darknet gives the output a length but no width and height. Its parser then
            refuses sections that need an image.

    Example:
        >>> shape = Shape(3, height=240, width=416)
        >>> shape.size, shape.batched(2), str(shape)
        (299520, (2, 3, 240, 416), '416 x 240 x 3')
    """

    channels: int
    height: int = 1
    width: int = 1
    flat: bool = False
    formless: bool = field(default=False, compare=False)

    @property
    def size(self) -> int:
        """Return the number of values for one image."""
        return self.channels * self.height * self.width

    def batched(self, batch: int) -> tuple[int, ...]:
        """Return the shape of a tensor that holds ``batch`` images."""
        if self.flat:
            return batch, self.channels
        return batch, self.channels, self.height, self.width

    def __str__(self) -> str:
        """Return the shape in Darknet's order, width first: ``416 x 416 x 3``."""
        if self.flat:
            return str(self.channels)
        return f"{self.width} x {self.height} x {self.channels}"


def flat(size: int, *, formless: bool = False) -> Shape:
    """Return the shape of a vector of ``size`` values."""
    return Shape(size, flat=True, formless=formless)


def convolution_output(size: int, kernel: int, stride: int, padding: int) -> int:
    """Return the length of one axis after a convolution (convolutional_layer.c:78).

    Args:
        size: length of the axis before.
        kernel: length of the kernel.
        stride: step of the kernel.
        padding: cells added on each of the two sides.

    Returns:
        The new length; zero or negative if the kernel does not fit.

    Example:
        >>> convolution_output(416, kernel=3, stride=2, padding=1)
        208
    """
    return (size + 2 * padding - kernel) // stride + 1


def pooling_output(size: int, kernel: int, stride: int, padding: int) -> int:
    """Return the length of one axis after pooling (maxpool_layer.c:99).

    Args:
        size: length of the axis before.
        kernel: length of the window.
        stride: step of the window.
        padding: cells added in total, on both sides together.

    Returns:
        The new length; zero or negative if the window does not fit.

    Example:
        >>> pooling_output(416, kernel=2, stride=2, padding=1)
        208
    """
    return (size + padding - kernel) // stride + 1
