"""What happens to a training image: crop, zoom, flip, colour, noise, blur, mosaic and mixup as
AlexeyAB's detectors.

Every function takes its generator, so that one seed gives one sample. The source is the OpenCV
build's load_data_detection (data.c:1055) and image_data_augmentation (image_opencv.cpp:1205): what
a crop leaves empty is filled with the image's mean, and resizing and colours work on 8 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from darknet_builder.data.sample import MOSAIC_IMAGES, Sample, distort, draw_images_in, rand_uniform
from darknet_builder.errors import InputError
from darknet_builder.images.opencv import load_opencv
from darknet_builder.layers.base import AugmentOptions
from darknet_builder.network.network import Network

_MOSAIC_MARGIN = 0.2
"""The four images of a mosaic meet at least this far from the edges."""


_BACKGROUND_KERNEL = 17


@dataclass(frozen=True)
class AugmentRule:
    """All that a cfg says of its training images: [net] and its last head (detector.c:148).

    Attributes:
        jitter: each side of the crop moves by up to this share of the image.
        resize: the crop is zoomed by up to this factor, in or out; below 1 only out.
        flip: whether half of the images are mirrored.
        hue, saturation, exposure: the most that colours change.
        blur: 0; 1 blurs the background of a third of the images, more also the whole of another
            third.
        gaussian_noise: standard deviation in grey levels, for half of the images.
        mosaic: half of the batches show four images at once; ``mosaic_bound`` cuts boxes off where
            images meet.
        mixup: half of the batches blend two images.
        letter_box: images keep their aspect ratio.
    """

    jitter: float = 0.0
    resize: float = 1.0
    flip: bool = False
    hue: float = 0.0
    saturation: float = 1.0
    exposure: float = 1.0
    blur: int = 0
    gaussian_noise: int = 0
    mosaic: bool = False
    mosaic_bound: bool = False
    mixup: bool = False
    letter_box: bool = False

    @classmethod
    def of(cls, network: Network) -> AugmentRule:
        """The cfg's own.

        Raises:
            InputError: for ``cutmix``, which Darknet knows for classifiers alone (data.c:1061).
        """
        net = network.options.augmentation
        if net.cutmix:
            raise InputError(
                "is for classifiers; use mosaic=1 for a detector",
                **network.blocks[0].place("cutmix"),
            )
        head = network.heads[-1].augment if network.heads else AugmentOptions()
        return cls(
            jitter=head.jitter,
            resize=head.resize,
            flip=net.flip,
            hue=net.hue,
            saturation=net.saturation or 1.0,
            exposure=net.exposure or 1.0,
            blur=net.blur,
            gaussian_noise=net.gaussian_noise,
            mosaic=net.mosaic,
            mosaic_bound=net.mosaic_bound,
            mixup=net.mixup,
            letter_box=network.options.letter_box,
        )

    def images_in(self, random: np.random.Generator) -> int:
        """How many images each sample of a batch shows: drawn once a batch."""
        return draw_images_in(random, MOSAIC_IMAGES if self.mosaic else 2 if self.mixup else 1)

    def make(
        self, random: np.random.Generator, sources: Sequence[Sample], net_size: tuple[int, int]
    ) -> Sample:
        """One training sample: ``make_sample``."""
        return make_sample(random, self, sources, net_size)


def make_sample(
    random: np.random.Generator,
    rule: AugmentRule,
    sources: Sequence[Sample],
    net_size: tuple[int, int],
) -> Sample:
    """One training sample.

    Args:
        random: decides everything.
        rule: what may happen.
        sources: 1 image of any size, 2 for mixup, 4 for a mosaic.
        net_size: (width, height) in pixels.
    """
    if len(sources) == MOSAIC_IMAGES:
        return _mosaic(random, rule, sources, net_size)
    parts = [
        _augment(random, rule, source, net_size, _draw_crop(random, rule, source.image, net_size))
        for source in sources
    ]
    if len(parts) == 1:
        return parts[0]
    blended = parts[0].image.astype(np.float32) / 2 + parts[1].image.astype(np.float32) / 2
    return Sample(blended.round().astype(np.uint8), np.concatenate([part.boxes for part in parts]))


# ---- the crop ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Crop:
    """How many pixels of the image are cut off on each side; negative ones are added."""

    left: int
    top: int
    right: int
    bottom: int
    flip: bool


def _draw_crop(
    random: np.random.Generator, rule: AugmentRule, image: np.ndarray, net_size: tuple[int, int]
) -> _Crop:
    height, width = image.shape[:2]
    margins = []  # left, right, top, bottom
    zoom = random.random(2)
    for length in (width, height):
        reach = int(length * rule.jitter)
        shrink, grow = _zoom_range(length, rule.resize)
        margins += [
            int(rand_uniform(random, -reach, reach)) + int(shrink + (grow - shrink) * share)
            for share in zoom
        ]
    left, right, top, bottom = margins
    if rule.letter_box:
        wider = width / height > net_size[0] / net_size[1]
        missing = (
            width * net_size[1] / net_size[0] - height
            if wider
            else height * net_size[0] / net_size[1] - width
        )
        if wider:
            top, bottom = int(top - missing / 2), int(bottom - missing / 2)
        else:
            left, right = int(left - missing / 2), int(right - missing / 2)
    return _Crop(left, top, right, bottom, rule.flip and bool(random.random() < 0.5))


def _zoom_range(length: int, resize: float) -> tuple[int, int]:
    """The least and the most that ``resize=`` cuts off each side."""
    factor = max(resize, 1 / resize)
    out = int(length * (1 - factor) / 2)
    return out, int(length * (1 - 1 / factor) / 2) if resize >= 1 else 0


def _augment(
    random: np.random.Generator,
    rule: AugmentRule,
    source: Sample,
    net_size: tuple[int, int],
    crop: _Crop,
) -> Sample:
    """One image through one crop, with its colours."""
    boxes = _move_boxes(source.boxes, source.image, crop, net_size)
    random.shuffle(boxes)
    image = distort(
        random, _cut(source.image, crop, net_size), rule.hue, rule.saturation, rule.exposure
    )
    return Sample(_disturb(random, rule, image, boxes), boxes)


def _cut(image: np.ndarray, crop: _Crop, net_size: tuple[int, int]) -> np.ndarray:
    """The crop, resized; what lies beyond the image shows its mean."""
    cv2 = load_opencv()
    height, width = image.shape[:2]
    if (crop.left, crop.top, crop.right, crop.bottom) != (0, 0, 0, 0):
        new_height, new_width = height - crop.top - crop.bottom, width - crop.left - crop.right
        canvas = np.empty((max(new_height, 1), max(new_width, 1), 3), np.uint8)
        canvas[:] = np.round(cv2.mean(image)[:3])
        inside = image[
            max(crop.top, 0) : height - max(crop.bottom, 0),
            max(crop.left, 0) : width - max(crop.right, 0),
        ]
        top, left = max(-crop.top, 0), max(-crop.left, 0)
        canvas[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
        image = canvas
    resized = cv2.resize(image, net_size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.flip(resized, 1) if crop.flip else resized)


def _move_boxes(
    boxes: np.ndarray, image: np.ndarray, crop: _Crop, net_size: tuple[int, int]
) -> np.ndarray:
    """Where the boxes are after the crop: cut off at its edges, without those smaller than a pixel
    (data.c:392).
    """
    boxes = boxes[(boxes[:, :2] != 0).any(1)]  # Darknet drops a centre of 0, 0 (data.c:252)
    height, width = image.shape[:2]
    new_size = np.array(
        [max(width - crop.left - crop.right, 1), max(height - crop.top - crop.bottom, 1)]
    )
    scale = np.array([width, height]) / new_size
    shift = np.array([crop.left, crop.top]) / new_size
    low = (boxes[:, :2] - boxes[:, 2:4] / 2) * scale - shift
    high = (boxes[:, :2] + boxes[:, 2:4] / 2) * scale - shift
    if crop.flip:
        low[:, 0], high[:, 0] = 1 - high[:, 0], 1 - low[:, 0]
    return _within(low, high, boxes[:, 4:], np.zeros(2), np.ones(2), net_size)


def _within(
    low: np.ndarray,
    high: np.ndarray,
    classes: np.ndarray,
    least: np.ndarray,
    most: np.ndarray,
    net_size: tuple[int, int],
) -> np.ndarray:
    """Corners (T, 2), (T, 2) cut off at two bounds -> (T', 5) without the boxes of which less than
    a pixel is left.
    """
    low, high = low.clip(least, most), high.clip(least, most)
    large = ((high - low) * net_size >= 1).all(1)
    rows = np.concatenate(((low + high) / 2, high - low, classes), 1)
    return rows[large].astype(np.float32)


def _disturb(
    random: np.random.Generator, rule: AugmentRule, image: np.ndarray, boxes: np.ndarray
) -> np.ndarray:
    """Noise and blur."""
    cv2 = load_opencv()
    if rule.gaussian_noise and random.random() < 0.5:
        noise = random.normal(0, min(max(rule.gaussian_noise, 0), 127), image.shape)
        image = (image + noise).round().clip(0, 255).astype(np.uint8)
    kind = int(random.integers(3)) if rule.blur else 0
    if kind == 0:
        return image
    if kind == 2 and rule.blur > 1:
        kernel = min(rule.blur, _smallest_side(boxes, image) // 8) // 2 * 2 + 1
        return np.asarray(cv2.GaussianBlur(image, (kernel, kernel), 0))
    blurred = np.asarray(cv2.GaussianBlur(image, (_BACKGROUND_KERNEL,) * 2, 0))
    for left, top, right, bottom in _pixel_corners(boxes, image):
        blurred[top:bottom, left:right] = image[top:bottom, left:right]
    return blurred


def _smallest_side(boxes: np.ndarray, image: np.ndarray) -> int:
    """In pixels: where an object is small, blur would wipe it out (data.c:1195)."""
    return int((boxes[:, 2:4] * image.shape[1::-1]).min()) if len(boxes) else min(image.shape[:2])


def _pixel_corners(boxes: np.ndarray, image: np.ndarray) -> list[list[int]]:
    size = np.array(image.shape[1::-1])
    corners = np.concatenate(
        ((boxes[:, :2] - boxes[:, 2:4] / 2) * size, (boxes[:, :2] + boxes[:, 2:4] / 2) * size), 1
    )
    return corners.round().astype(int).clip(0).tolist()


# ---- mosaic --------------------------------------------------------------------------------------


def _mosaic(
    random: np.random.Generator,
    rule: AugmentRule,
    sources: Sequence[Sample],
    net_size: tuple[int, int],
) -> Sample:
    """Four images around a point (data.c:1246): upper left, upper right, lower left, lower
    right.
    """
    size = np.array(net_size)
    cut = np.array(
        [
            int(
                random.integers(
                    int(length * _MOSAIC_MARGIN), int(length * (1 - _MOSAIC_MARGIN)) + 1
                )
            )
            for length in net_size
        ]
    )
    canvas = np.empty((net_size[1], net_size[0], 3), np.uint8)
    boxes = []
    for place, source in enumerate(sources):
        crop = _draw_crop(random, rule, source.image, net_size)
        if random.random() < 0.5:
            crop = _to_corner(crop, place)
        part = _augment(random, rule, source, net_size, crop)
        second = np.array([place % 2, place // 2]) == 1  # per axis: whether it lies after the cut
        least, most = np.where(second, cut, 0), np.where(second, size, cut)
        start = np.where(
            second,
            _shift(crop, source.image, size, cut, before=True),
            size - cut - _shift(crop, source.image, size, cut, before=False),
        )
        length = most - least
        canvas[least[1] : most[1], least[0] : most[0]] = part.image[
            start[1] : start[1] + length[1], start[0] : start[0] + length[0]
        ]
        moved = part.boxes[:, :2] + (least - start) / size
        low, high = (least / size, most / size) if rule.mosaic_bound else (np.zeros(2), np.ones(2))
        half = part.boxes[:, 2:4] / 2
        boxes.append(_within(moved - half, moved + half, part.boxes[:, 4:], low, high, net_size))
    return Sample(canvas, np.concatenate(boxes))


def _shift(
    crop: _Crop, image: np.ndarray, size: np.ndarray, cut: np.ndarray, *, before: bool
) -> np.ndarray:
    """(x, y) in pixels: how much of the added margin next to the outer edge is left out of the
    mosaic.
    """
    near = (crop.left, crop.top) if before != crop.flip else (crop.right, crop.top)
    vertical = crop.top if before else crop.bottom
    added = -np.array([near[0], vertical]) * size / np.array(image.shape[1::-1])
    return np.minimum(size - cut if not before else cut, np.maximum(0, added.astype(int)))


def _to_corner(crop: _Crop, place: int) -> _Crop:
    """Move the crop so that most of the image is to be seen in its quarter (data.c:1167)."""
    left, top, right, bottom = crop.left, crop.top, crop.right, crop.bottom
    if (place % 2 == 0) != crop.flip:
        left, right = 0, left + right
    else:
        left, right = left + right, 0
    top, bottom = (0, top + bottom) if place < 2 else (top + bottom, 0)
    return _Crop(left, top, right, bottom, crop.flip)
