"""Fit an image into a classifier's input by cropping, letterboxing or stretching it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from darknet_builder.errors import ImageError
from darknet_builder.images.files import check_image
from darknet_builder.images.fits import FITS, check_resize
from darknet_builder.images.resize import to_input

_THINNEST = 100
"""Largest ratio of the longer side to the shorter one at which an image is still cropped."""


def fit_image(
    image: np.ndarray, net_size: tuple[int, int], fit: str = "crop", channels: int = 3
) -> Tensor:
    """Convert an image to a classifier's input.

    ``crop`` resizes the image until its shorter side is as long as the input is wide, and takes the
    middle (resize_min and crop_image in image.c). Where the input extends beyond the image, the
    image's edge is repeated.

    Args:
        image: (H, W, 3) uint8, channels in BGR order.
        net_size: (width, height) of the network's input in pixels.
        fit: ``crop``, ``stretch`` or ``letterbox``.
        channels: 3 for RGB, 1 for grey.

    Returns:
        (``channels``, height, width) float32 in [0, 1]; RGB or grey.

    Raises:
        ImageError: if the image is too thin to be cropped.
        InputError: if ``image`` is not an image or ``fit`` is unknown.

    Example:
        >>> image = np.zeros((100, 200, 3), np.uint8)
        >>> fit_image(image, (32, 32)).shape
        torch.Size([3, 32, 32])
    """
    if check_resize(fit, FITS, "fit") != "crop":
        return to_input(image, net_size, fit, channels)[0]
    image = check_image(image)
    height, width = image.shape[:2]
    if max(height, width) > _THINNEST * min(height, width):
        # Its longer side would become hundreds of times the input's width, and fill the memory.
        raise ImageError(
            f"{width}x{height} pixels are too thin to crop; use the fit stretch or letterbox"
        )
    side = net_size[0]
    # The shorter side becomes `side`, also for an input that is not square: resize_min has one
    # size, and Darknet passes it the width.
    size = (side, height * side // width) if width < height else (width * side // height, side)
    resized = to_input(image, size, "stretch", channels)[0]
    columns, rows = (_middle(length, wanted) for length, wanted in zip(size, net_size, strict=True))
    return resized[:, rows][:, :, columns]


def _middle(length: int, wanted: int) -> Tensor:
    """Return the indices of the middle ``wanted`` cells along an axis, clamped to the axis.

    Args:
        length: cells along the axis.
        wanted: number of cells to take.
    """
    # C's division truncates towards zero, which for wanted > length is not what // does.
    return (torch.arange(wanted) + int((length - wanted) / 2)).clamp(0, length - 1)
