"""Arrays -> what the network takes, and the ``Placement`` that maps boxes back.

Images are arrays (H, W, 3) of uint8 in the order blue, green, red. Networks see red, green, blue in
[0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from darknet_builder.errors import InputError
from darknet_builder.images.files import check_image
from darknet_builder.images.fits import check_resize
from darknet_builder.images.opencv import load_opencv

_STRIP = 16
"""How many new rows are computed at once: their values stay in a core's cache, and in memory that
is there already."""
CANVAS = 0.5
"""What surrounds a letterboxed image (image.c:1006)."""


@dataclass(frozen=True)
class Placement:
    """Where an image lies within the network's input; all sizes are (width, height) in pixels.

    Attributes:
        image_size: of the image itself.
        net_size: of the network's input.
        inner_size: of the image after resizing: the whole input, or less where it is letterboxed.
    """

    image_size: tuple[int, int]
    net_size: tuple[int, int]
    inner_size: tuple[int, int]

    @classmethod
    def plan(cls, image_size: tuple[int, int], net_size: tuple[int, int], resize: str) -> Placement:
        """Stretch over the whole input, or letterbox: as large as fits with its own aspect ratio
        (image.c:1006).

        Raises:
            InputError: for an unknown way of resizing.
        """
        if check_resize(resize) == "stretch":
            return cls(image_size, net_size, net_size)
        (width, height), (net_width, net_height) = image_size, net_size
        # float32 and truncation decide as in Darknet. An extreme shape keeps one pixel, where
        # Darknet's has none.
        if np.float32(net_width) / np.float32(width) < np.float32(net_height) / np.float32(height):
            return cls(image_size, net_size, (net_width, max(1, height * net_width // width)))
        return cls(image_size, net_size, (max(1, width * net_height // height), net_height))

    @property
    def offset(self) -> tuple[int, int]:
        """(x, y) in pixels of the input at which the image begins."""
        return (self.net_size[0] - self.inner_size[0]) // 2, (
            self.net_size[1] - self.inner_size[1]
        ) // 2

    def undo(self, boxes_cxcywh: Tensor) -> Tensor:
        """(..., 4) relative to the network's input -> relative to the image (yolo_layer.c:939).

        Darknet takes half the margin as it is, although the image was pasted at a whole pixel.
        """
        if self.inner_size == self.net_size:
            return boxes_cxcywh
        net, inner = (
            boxes_cxcywh.new_tensor(self.net_size),
            boxes_cxcywh.new_tensor(self.inner_size),
        )
        centre = (boxes_cxcywh[..., :2] - (net - inner) / 2 / net) / (inner / net)
        return torch.cat((centre, boxes_cxcywh[..., 2:] / (inner / net)), -1)


def to_input(
    image: np.ndarray, net_size: tuple[int, int], resize: str = "stretch", channels: int = 3
) -> tuple[Tensor, Placement]:
    """An image -> (``channels``, H, W) float32 in [0, 1], red, green, blue or grey, and where it
    lies there.

    Args:
        image: (H, W, 3) uint8, blue, green, red.
        net_size: (width, height) of the network's input in pixels.
        resize: ``stretch`` or ``letterbox``.
        channels: 3, or 1 for a network that sees grey.

    Raises:
        InputError: for what is no image, another number of channels or an unknown way of resizing.
    """
    image = check_image(image)
    if channels not in (1, 3):
        raise InputError(f"the network takes {channels} channels; images have 3, or 1 as grey")
    if channels == 1:
        cv2 = load_opencv()
        image = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_BGR2GRAY)[..., None]
    placement = Placement.plan((image.shape[1], image.shape[0]), net_size, resize)
    resized = resize_bilinear(image, placement.inner_size)
    if placement.inner_size == net_size:
        return resized, placement
    canvas = np.full((channels, net_size[1], net_size[0]), CANVAS, np.float32)
    left, top = placement.offset
    canvas[:, top : top + resized.shape[1], left : left + resized.shape[2]] = resized.numpy()
    return torch.from_numpy(canvas), placement


def resize_bilinear(image: np.ndarray, size: tuple[int, int]) -> Tensor:
    """(H, W, C) uint8 -> (C, height, width) float32 in [0, 1] with the channels reversed
    (image.c:1399).

    Bilinear with aligned corners and no smoothing, like ``torch.nn.functional.interpolate(...,
    align_corners=True)``, but bit for bit Darknet's float32, and only the pixels that are read are
    ever converted: a photograph of 12 megapixels takes as long as a small one.

    Args:
        image: at least one pixel.
        size: (width, height) of the result in pixels.
    """
    # NumPy: PyTorch would start a team of threads for each thread that reads images.
    width, height = size
    channels = image.shape[2]
    left, right, x_weight = _taps(image.shape[1], width)
    # Along x the last new place is the last old one. Along y only the second of the two is left out
    # there, so that Darknet's last row is black for every height whose last place falls a hair
    # short in float32 (240 -> 416).
    left[-1], x_weight[-1] = image.shape[1] - 1, 0
    above, below, y_weight = _taps(image.shape[0], height)
    below_weight = np.append(y_weight[:-1], np.float32(0))
    needed, places = np.unique(np.concatenate((above, below)), return_inverse=True)
    uppers, lowers = places[:height], places[height:]
    channel = np.arange(channels)[::-1, None]
    lefts, rights = (
        (columns * channels + channel).ravel() for columns in (left, right)
    )  # (C * width,)
    shares = np.tile(x_weight, channels)
    resized = np.empty((channels, height, width), np.float32)
    for start in range(0, height, _STRIP):
        strip = slice(start, start + _STRIP)
        top, bottom = uppers[strip][0], lowers[strip][-1]
        rows = image[needed[top : bottom + 1]].reshape(bottom + 1 - top, -1)  # (rows, W * C)
        across = _weighted(rows.take(lefts, 1), 1 - shares)
        across += _weighted(rows.take(rights, 1), shares)
        upper, lower = across.take(uppers[strip] - top, 0), across.take(lowers[strip] - top, 0)
        upper *= (1 - y_weight[strip])[:, None]
        lower *= below_weight[strip][:, None]
        upper += lower
        resized[:, strip] = upper.reshape(-1, channels, width).swapaxes(0, 1)
    return torch.from_numpy(resized)


def _weighted(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """uint8 -> float32 in [0, 1], times a weight."""
    unit = np.divide(values, np.float32(255), dtype=np.float32)
    unit *= weight
    return unit


def _taps(length: int, new_length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each new place along an axis, the two old ones it lies between, and how near it is to the
    second.
    """
    step = np.float32(length - 1) / np.float32(max(new_length - 1, 1))
    place = np.arange(new_length, dtype=np.float32) * step
    first = np.minimum(place.astype(np.int64), length - 1)
    second = np.minimum(first + 1, length - 1)
    return first, second, place - first.astype(np.float32)
