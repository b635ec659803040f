"""What classifiers learn from: lists of images whose paths name the class, and what happens to each
image.

Darknet has no label files for classifiers: an image is of the class whose label stands somewhere in
its line of the list (``fill_truth`` in data.c). The augmentation is AlexeyAB's load_data_augment
(data.c), on 8 bits as for detectors.
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
"""Least and most side of the part that CutMix replaces, as shares of the image's."""


_MOSAIC_MARGIN = 0.2


_BLUR_EVERY = 4


_DEFAULT_BLUR = 15


# ---- what happens to an image --------------------------------------------------------------------


@dataclass(frozen=True)
class ClassifierRule:
    """All that a cfg says of a classifier's training images: [net] (classifier.c:63).

    Attributes:
        angle: the most that an image is turned, in degrees.
        aspect: the most that its sides' ratio changes.
        min_crop, max_crop: the shorter side's length in pixels before a part of the network's size
            is cut out.
        flip: whether half of the images are mirrored.
        hue, saturation, exposure: the most that colours change.
        blur: size of the blur that a quarter of the images gets; 1 means 15, 0 none.
        mixup, cutmix, mosaic: half of the batches blend two images, put a part of one into another,
            or show four. Of mixup and another the other counts; with cutmix and mosaic each sample
            draws one of the two (parser.c).
        smoothing: how much of an image's class goes to all others together.
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
        """The cfg's own.

        Raises:
            InputError: for a hierarchy of classes, which cannot be trained.
        """
        if find_tree(network) is not None:
            raise InputError(
                "classifiers with a tree of classes cannot be trained", **network.blocks[0].place()
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
        """How many images each sample of a batch shows: drawn once a batch."""
        return draw_images_in(
            random, MOSAIC_IMAGES if self.mosaic else 2 if self.cutmix or self.mixup else 1
        )

    def make(
        self, random: np.random.Generator, sources: Sequence[Sample], net_size: tuple[int, int]
    ) -> Sample:
        """One training sample.

        Args:
            random: decides everything.
            sources: 1 image of any size, 2 for mixup and cutmix, 4 for a mosaic.
            net_size: (width, height) in pixels.
        """
        parts = [self._augment(random, source, net_size) for source in sources]
        sample = parts[0] if len(parts) == 1 else self._mix(random)(random, parts)
        if not self.blur or random.integers(_BLUR_EVERY):
            return sample
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
        """Turned, stretched, cut out, mirrored, in other colours (load_image_augment_paths)."""
        cv2 = load_opencv()
        image = self._cut(random, source.image, max(net_size))
        if self.flip and random.random() < 0.5:
            image = cv2.flip(image, 1)
        image = distort(random, image, self.hue, self.saturation, self.exposure)
        assert source.shares is not None
        others = max(len(source.shares) - 1, 1)
        shares = np.where(source.shares > 0, 1 - self.smoothing, self.smoothing / others).astype(
            np.float32
        )
        return Sample(np.asarray(cv2.resize(image, net_size)), source.boxes, shares)

    def _cut(self, random: np.random.Generator, image: np.ndarray, size: int) -> np.ndarray:
        """A square of ``size`` pixels out of the image; beyond its edges they are repeated
        (random_augment_image).
        """
        cv2 = load_opencv()
        height, width = image.shape[:2]
        aspect = rand_scale(random, self.aspect)
        low, high = sorted((self.min_crop, self.max_crop))
        scale = int(random.integers(low, high + 1)) / max(min(height, int(width * aspect)), 1)
        turn = math.radians(rand_uniform(random, -self.angle, self.angle))
        reach = max((width * scale / aspect - size) / 2, 0), max((height * scale - size) / 2, 0)
        x, y = (random.uniform(-most, most) - size / 2 for most in reach)
        # The ways in the image for one pixel to the right, and for one down.
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
    """The image, with the parts' classes in these shares."""
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
    """A rectangle of the first image shows the second, and counts as its share of the area."""
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
    image = parts[0].image.copy()
    image[window] = parts[1].image[window]
    share = sides[0] * sides[1] / (width * height)
    return _blend(parts[:2], (1 - share, share), image)


def _mosaic(random: np.random.Generator, parts: Sequence[Sample]) -> Sample:
    """Four images around a point, each in its own place; their classes count by area."""
    height, width = parts[0].image.shape[:2]
    x, y = (
        int(random.integers(int(length * _MOSAIC_MARGIN), int(length * (1 - _MOSAIC_MARGIN)) + 1))
        for length in (width, height)
    )
    image = parts[0].image.copy()
    image[:y, x:], image[y:, :x], image[y:, x:] = (
        part.image[window]
        for part, window in zip(
            parts[1:],
            (
                (slice(y), slice(x, None)),
                (slice(y, None), slice(x)),
                (slice(y, None), slice(x, None)),
            ),
            strict=True,
        )
    )
    areas = x * y, (width - x) * y, x * (height - y), (width - x) * (height - y)
    return _blend(parts, [area / (width * height) for area in areas], image)
