"""A training image with its boxes or classes, and augmentation that all networks share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from darknet_builder.images.opencv import load_opencv

MOSAIC_IMAGES = 4


_HUE_RANGE = 179
"""Maximum hue of OpenCV's 8-bit HSV images, which stands for the full circle."""


def draw_images_in(random: np.random.Generator, limit: int) -> int:
    """Draw the number of images in each sample of a batch: ``limit`` for half of the batches."""
    return limit if limit > 1 and random.random() < 0.5 else 1


@dataclass(frozen=True)
class Sample:
    """An image with its ground truth.

    Attributes:
        image: (H, W, 3) uint8, blue, green, red.
        boxes: (T, 5) float32, rows x, y, w, h (centre and size, relative to the image), class.
        shares: (C,) float32 class probabilities; None for detectors.

    Example:
        >>> sample = Sample(np.zeros((4, 6, 3), np.uint8), np.zeros((0, 5), np.float32))
        >>> sample.image.shape, sample.shares
        ((4, 6, 3), None)
    """

    image: np.ndarray
    boxes: np.ndarray
    shares: np.ndarray | None = None


# ---- colours -------------------------------------------------------------------------------------


def distort(
    random: np.random.Generator, image: np.ndarray, hue: float, saturation: float, exposure: float
) -> np.ndarray:
    """Shift the hue and multiply saturation and brightness by random amounts.

    Args:
        random: generator of the three amounts; equal states give equal images.
        image: (H, W, 3) uint8, blue, green, red.
        hue: maximum shift, relative to the full circle.
        saturation: maximum factor, 1 or more; its inverse is the minimum.
        exposure: the same for the brightness.

    Returns:
        The same size and type; the image itself if nothing changes.
    """
    cv2 = load_opencv()
    shift = rand_uniform(random, -hue, hue)
    factors = rand_scale(random, saturation), rand_scale(random, exposure)
    if (shift, *factors) == (0, 1, 1):
        return image
    # (H, W, 3): hue 0 to 179, saturation and value 0 to 255, as OpenCV has them on 8 bits.
    planes = cv2.cvtColor(image, cv2.COLOR_BGR2HSV).astype(np.float32)
    planes = planes * np.array([1, *factors], np.float32) + np.array(
        [_HUE_RANGE * shift, 0, 0], np.float32
    )
    return np.asarray(cv2.cvtColor(planes.round().clip(0, 255).astype(np.uint8), cv2.COLOR_HSV2BGR))


def rand_scale(random: np.random.Generator, limit: float) -> float:
    """Draw a factor from 1 to ``limit``, or the inverse of one (utils.c:892)."""
    scale = rand_uniform(random, 1, limit) if limit != 1 else 1.0
    return float(scale if random.random() < 0.5 else 1 / scale)


def rand_uniform(random: np.random.Generator, low: float, high: float) -> float:
    """Draw a number between two bounds, given in either order (utils.c:875, 977)."""
    return float(random.uniform(min(low, high), max(low, high)))
