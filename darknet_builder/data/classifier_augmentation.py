"""Augmentation of a classifier's training images: crop, turn, flip, colour, blur, and mixing.

As AlexeyAB's load_data_augment (data.c), on 8-bit images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from darknet_builder.data.labels import no_boxes
from darknet_builder.data.sample import (
    MOSAIC_IMAGES,
    Sample,
    distort,
    draw_images_in,
    rand_scale,
    rand_uniform,
)
from darknet_builder.errors import InputError
from darknet_builder.images.opencv import load_opencv
from darknet_builder.network.network import Network
from darknet_builder.network.task import find_tree

_CUT = (0.3, 0.8)
"""Minimum and maximum side of the part that CutMix replaces, relative to the image's."""

_MOSAIC_MARGIN = 0.2
"""The four images of a mosaic meet at least this far from the edges, relative to the image."""

_BLUR_EVERY = 4
"""One sample in this number is blurred."""

_DEFAULT_BLUR = 15
"""Kernel size in pixels for ``blur=1``."""


# ---- one image -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class ClassifierRule:
    """The augmentation settings of a classifier, from the [net] section (classifier.c:63).

    Attributes:
        angle: maximum rotation, in degrees either way.
        aspect: maximum factor by which the aspect ratio changes, 1 or more.
        min_crop: minimum length in pixels to which the shorter side is scaled before the crop.
        max_crop: maximum length in pixels of the same.
        flip: True mirrors half of the images.
        hue: maximum shift of the hue, relative to the full circle.
        saturation: maximum factor of the saturation, 1 or more.
        exposure: maximum factor of the brightness, 1 or more.
        blur: kernel size in pixels for a quarter of the images; 1 means 15, 0 disables it.
        mixup: half of the batches blend two images. Ignored if cutmix or mosaic is also set.
        cutmix: half of the batches put a part of one image into another.
        mosaic: half of the batches show four images. With cutmix too, each sample draws one of the
            two (parser.c).
        smoothing: label smoothing, the probability that is moved from the class to the others.

    Example:
        >>> random = np.random.default_rng(0)
        >>> source = Sample(np.zeros((8, 12, 3), np.uint8), no_boxes(), np.array([1, 0]))
        >>> rule = ClassifierRule(min_crop=8, max_crop=8, smoothing=0.1)
        >>> rule.make(random, [source], net_size=(4, 4)).shares
        array([0.9, 0.1], dtype=float32)
    """

    angle: float = 0.0
    aspect: float = 1.0
    min_crop: int = 0
    max_crop: int = 0
    flip: bool = False
    hue: float = 0.0
    saturation: float = 1.0
    exposure: float = 1.0
    blur: int = 0
    mixup: bool = False
    cutmix: bool = False
    mosaic: bool = False
    smoothing: float = 0.0

    @classmethod
    def of(cls, network: Network) -> ClassifierRule:
        """Read the settings of a network.

        Raises:
            InputError: for a network with a class tree, which is not supported.
        """
        if find_tree(network) is not None:
            raise InputError(
                "classifiers with a class tree cannot be trained", **network.blocks[0].place()
            )
        net = network.options.augmentation
        return cls(
            angle=net.angle,
            aspect=net.aspect or 1.0,
            min_crop=net.min_crop,
            max_crop=net.max_crop,
            flip=net.flip,
            hue=net.hue,
            saturation=net.saturation or 1.0,
            exposure=net.exposure or 1.0,
            blur=net.blur,
            mixup=net.mixup,
            cutmix=net.cutmix,
            mosaic=net.mosaic,
            smoothing=net.label_smooth_eps,
        )

    def images_in(self, random: np.random.Generator) -> int:
        """Draw the number of images that each sample shows; called once a batch."""
        limit = 2 if self.cutmix or self.mixup else 1
        if self.mosaic:
            limit = MOSAIC_IMAGES
        return draw_images_in(random, limit)

    def make(
        self, random: np.random.Generator, sources: Sequence[Sample], net_size: tuple[int, int]
    ) -> Sample:
        """Make one training sample.

        Args:
            random: random generator; equal states give equal samples.
            sources: 1 image of any size, 2 for mixup and cutmix, 4 for a mosaic.
            net_size: (width, height) of the sample in pixels.
        """
        parts = [self._augment(random, source, net_size) for source in sources]
        sample = parts[0] if len(parts) == 1 else self._mix(random)(random, parts)
        if not self.blur or random.integers(_BLUR_EVERY):
            return sample
        # OpenCV's kernels must have an odd size.
        kernel = (_DEFAULT_BLUR if self.blur == 1 else self.blur) // 2 * 2 + 1
        return Sample(
            np.asarray(load_opencv().GaussianBlur(sample.image, (kernel, kernel), 0)),
            sample.boxes,
            sample.shares,
        )

    def _mix(
        self, random: np.random.Generator
    ) -> Callable[[np.random.Generator, Sequence[Sample]], Sample]:
        if self.mosaic and not (self.cutmix and random.random() < 0.5):
            return _mosaic
        return _cutmix if self.cutmix else _mixup

    def _augment(
        self, random: np.random.Generator, source: Sample, net_size: tuple[int, int]
    ) -> Sample:
        """Turn, stretch, crop, mirror and recolour an image (load_image_augment_paths, data.c)."""
        cv2 = load_opencv()
        image = self._cut(random, source.image, max(net_size))
        if self.flip and random.random() < 0.5:
            image = cv2.flip(image, 1)
        image = distort(random, image, self.hue, self.saturation, self.exposure)
        assert source.shares is not None
        # What smoothing takes from the class is spread evenly over the others.
        others = max(len(source.shares) - 1, 1)
        shares = np.where(source.shares > 0, 1 - self.smoothing, self.smoothing / others).astype(
            np.float32
        )
        return Sample(np.asarray(cv2.resize(image, net_size)), source.boxes, shares)

    def _cut(self, random: np.random.Generator, image: np.ndarray, size: int) -> np.ndarray:
        """Cut out a square of ``size`` pixels, repeating the edges (random_augment_image)."""
        cv2 = load_opencv()
        height, width = image.shape[:2]
        aspect = rand_scale(random, self.aspect)
        low, high = sorted((self.min_crop, self.max_crop))
        scale = int(random.integers(low, high + 1)) / max(min(height, int(width * aspect)), 1)
        turn = math.radians(rand_uniform(random, -self.angle, self.angle))
        reach = max((width * scale / aspect - size) / 2, 0), max((height * scale - size) / 2, 0)
        x, y = (random.uniform(-limit, limit) - size / 2 for limit in reach)
        # (2, 3) matrix of warpAffine, output -> source:
        #   source = across * column + down * row + start
        # One pixel to the right in the output is `across` in the source, one down is `down`.
        across = aspect / scale * np.array([math.cos(turn), math.sin(turn)])
        down = 1 / scale * np.array([-math.sin(turn), math.cos(turn)])
        start = np.array([width / 2, height / 2]) + across * x + down * y
        return np.asarray(
            cv2.warpAffine(
                image,
                np.stack([across, down, start], 1),
                (size, size),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            )
        )


# ---- several images in one -----------------------------------------------------------------------


def _blend(parts: Sequence[Sample], weights: Sequence[float], image: np.ndarray) -> Sample:
    """Return the image with the weighted sum of the parts' class probabilities."""
    shares = sum(
        weight * part.shares
        for weight, part in zip(weights, parts, strict=True)
        if part.shares is not None
    )
    return Sample(image, no_boxes(), np.asarray(shares, np.float32))


def _mixup(random: np.random.Generator, parts: Sequence[Sample]) -> Sample:
    mean = parts[0].image.astype(np.float32) / 2 + parts[1].image.astype(np.float32) / 2
    return _blend(parts, (0.5, 0.5), mean.round().astype(np.uint8))


def _cutmix(random: np.random.Generator, parts: Sequence[Sample]) -> Sample:
    """Replace a rectangle of the first image by the second; classes are weighted by area."""
    height, width = parts[0].image.shape[:2]
    sides = [
        int(random.integers(int(length * _CUT[0]), int(length * _CUT[1]) + 1))
        for length in (width, height)
    ]
    left, top = (
        int(random.integers(0, max(length - side, 1)))
        for length, side in zip((width, height), sides, strict=True)
    )
    window = (slice(top, top + sides[1]), slice(left, left + sides[0]))
    # Both images have the network's size, so the window shows the same region of each.
    image = parts[0].image.copy()
    image[window] = parts[1].image[window]
    share = sides[0] * sides[1] / (width * height)
    return _blend(parts[:2], (1 - share, share), image)


def _mosaic(random: np.random.Generator, parts: Sequence[Sample]) -> Sample:
    """Show a quadrant of each of four images; their classes are weighted by area."""
    # The images meet at (x, y), and each keeps the pixels that it has there:
    #   0 | 1
    #   --+--
    #   2 | 3
    height, width = parts[0].image.shape[:2]
    x, y = (
        int(random.integers(int(length * _MOSAIC_MARGIN), int(length * (1 - _MOSAIC_MARGIN)) + 1))
        for length in (width, height)
    )
    image = parts[0].image.copy()
    image[:y, x:] = parts[1].image[:y, x:]
    image[y:, :x] = parts[2].image[y:, :x]
    image[y:, x:] = parts[3].image[y:, x:]
    areas = x * y, (width - x) * y, x * (height - y), (width - x) * (height - y)
    return _blend(parts, [area / (width * height) for area in areas], image)
