"""A training image with its boxes or classes, and the steps that detectors and classifiers
share.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from darknet_builder.images.opencv import load_opencv

MOSAIC_IMAGES = 4


_HUE_RANGE = 179


def draw_images_in(random: np.random.Generator, most: int) -> int:
    """Half of the batches show ``most`` images in each sample, the others one."""
    return most if most > 1 and random.random() < 0.5 else 1


@dataclass(frozen=True)
class Sample:
    """An image and what is in it.

    Attributes:
        image: (H, W, 3) uint8, blue, green, red.
        boxes: (T, 5) float32, rows x, y, w, h (centre and size, relative to the image), class.
        shares: (C,) float32, how much of each class it is; None for detectors.
    """

    image: np.ndarray
    boxes: np.ndarray
    shares: np.ndarray | None = None


# ---- colours, noise, blur ------------------------------------------------------------------------


def distort(
    random: np.random.Generator, image: np.ndarray, hue: float, saturation: float, exposure: float
) -> np.ndarray:
    """Hue is moved, saturation and value are multiplied, all on 8 bits; by up to what is given."""
    cv2 = load_opencv()
    shift = rand_uniform(random, -hue, hue)
    factors = rand_scale(random, saturation), rand_scale(random, exposure)
    if (shift, *factors) == (0, 1, 1):
        return image
    planes = cv2.cvtColor(image, cv2.COLOR_BGR2HSV).astype(np.float32)
    planes = planes * np.array([1, *factors], np.float32) + np.array(
        [_HUE_RANGE * shift, 0, 0], np.float32
    )
    return np.asarray(cv2.cvtColor(planes.round().clip(0, 255).astype(np.uint8), cv2.COLOR_HSV2BGR))


def rand_scale(random: np.random.Generator, most: float) -> float:
    """Between 1 and ``most``, or one over that (utils.c:892)."""
    scale = rand_uniform(random, 1, most) if most != 1 else 1.0
    return float(scale if random.random() < 0.5 else 1 / scale)


def rand_uniform(random: np.random.Generator, low: float, high: float) -> float:
    """Draw a number between two bounds, given in either order (utils.c:875, 977)."""
    return float(random.uniform(min(low, high), max(low, high)))
