"""Fit an image into a classifier's input: its middle, or all of it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from darknet_builder.errors import ImageError
from darknet_builder.images.files import check_image
from darknet_builder.images.fits import FITS, check_resize
from darknet_builder.images.resize import to_input

_THINNEST = 100
"""Times that an image may be longer than wide, or wider than long, to have its middle taken."""


def fit_image(
    image: np.ndarray, net_size: tuple[int, int], fit: str = "crop", channels: int = 3
) -> Tensor:
    """An image -> (``channels``, H, W) float32 in [0, 1], red, green, blue or grey.

    ``crop`` makes the shorter side as long as the network's input is wide, and takes the middle
    (resize_min, crop_image in image.c); what lies beyond the edges repeats them.

    Args:
        image: (H, W, 3) uint8, blue, green, red.
        net_size: (width, height) of the network's input in pixels.
        fit: one of ``images.FITS``.
        channels: 3 or 1.

    Raises:
        ImageError: for one that is too thin to be cropped.
        InputError: for what is no image.
    """
    if check_resize(fit, FITS, "fit") != "crop":
        return to_input(image, net_size, fit, channels)[0]
    image = check_image(image)
    height, width = image.shape[:2]
    if max(height, width) > _THINNEST * min(height, width):
        raise ImageError(
            f"{width}x{height} pixels are too thin to take the middle of; fit it another way"
        )
    side = net_size[0]
    size = (side, height * side // width) if width < height else (width * side // height, side)
    resized = to_input(image, size, "stretch", channels)[0]
    columns, rows = (_middle(length, wanted) for length, wanted in zip(size, net_size, strict=True))
    return resized[:, rows][:, :, columns]


def _middle(length: int, wanted: int) -> Tensor:
    """The places along an axis that the middle takes; C's division rounds towards zero."""
    return (torch.arange(wanted) + int((length - wanted) / 2)).clamp(0, length - 1)
