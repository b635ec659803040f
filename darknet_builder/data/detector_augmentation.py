"""Augmentation of a detector's training images: crop, flip, colour, noise, blur and mixing.

As AlexeyAB's load_data_detection (data.c:1055) and image_data_augmentation
(image_opencv.cpp:1205), built with OpenCV: the part of a crop beyond the image is filled with the
image's mean, and resizing and colours work on 8-bit images. Every function takes a random
generator, so that equal seeds give equal samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from darknet_builder.data.labels import at_corner
from darknet_builder.data.sample import MOSAIC_IMAGES, Sample, distort, draw_images_in, rand_uniform
from darknet_builder.errors import InputError
from darknet_builder.images.opencv import load_opencv
from darknet_builder.layers.base import AugmentOptions
from darknet_builder.network.network import Network

_MOSAIC_MARGIN = 0.2
"""The four images of a mosaic meet at least this far from the edges, relative to the image."""

_BACKGROUND_KERNEL = 17
"""Kernel size in pixels of the blur around the objects (``blur=1``)."""


@dataclass(frozen=True)
class AugmentRule:
    """The augmentation settings of a detector, from [net] and the last head (detector.c:148).

    Attributes:
        jitter: maximum shift of each side of the crop, relative to the image.
        resize: maximum zoom factor of the crop, in or out; a value below 1 only zooms out.
        flip: True mirrors half of the images.
        hue: maximum shift of the hue, relative to the full circle.
        saturation: maximum factor of the saturation, 1 or more.
        exposure: maximum factor of the brightness, 1 or more.
        blur: 0 disables it; 1 blurs the background of a third of the images; above 1, it is also
            the kernel size in pixels for the whole of another third.
        gaussian_noise: standard deviation in grey levels, for half of the images; 0 disables it.
        mosaic: half of the batches show four images in each sample.
        mosaic_bound: cut boxes off where the images of a mosaic meet.
        mixup: half of the batches blend two images.
        letter_box: keep the aspect ratio of the images.

    Example:
        >>> random = np.random.default_rng(0)
        >>> rule = AugmentRule(jitter=0.2, flip=True, mosaic=True)
        >>> {rule.images_in(random) for _ in range(20)}
        {1, 4}
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
        """Read the settings of a network.

        Raises:
            InputError: for ``cutmix=1``, which Darknet has for classifiers alone (data.c:1061).
        """
        net = network.options.augmentation
        if net.cutmix:
            raise InputError(
                "is only for classifiers",
                **network.blocks[0].place("cutmix"),
                hint="use mosaic=1 for a detector",
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
        """Draw the number of images that each sample shows; called once a batch."""
        limit = 2 if self.mixup else 1
        if self.mosaic:
            limit = MOSAIC_IMAGES
        return draw_images_in(random, limit)

    def make(
        self, random: np.random.Generator, sources: Sequence[Sample], net_size: tuple[int, int]
    ) -> Sample:
        """Make one training sample; see ``make_sample``."""
        return make_sample(random, self, sources, net_size)


def make_sample(
    random: np.random.Generator,
    rule: AugmentRule,
    sources: Sequence[Sample],
    net_size: tuple[int, int],
) -> Sample:
    """Make one training sample of a detector.

    Args:
        random: random generator; equal states give equal samples.
        rule: limits of the random changes, from [net] and the heads.
        sources: 1 image of any size, 2 for mixup, 4 for a mosaic.
        net_size: (width, height) of the sample in pixels.

    Example:
        >>> from darknet_builder.data.scenes import draw_scene
        >>> scene = draw_scene(0)
        >>> source = Sample(scene.image, scene.boxes)
        >>> random = np.random.default_rng(0)
        >>> make_sample(random, AugmentRule(flip=True), [source], net_size=(96, 64)).image.shape
        (64, 96, 3)
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
    """Pixels that are cut off on each side of an image; negative ones are added."""

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
    # Both axes have the same zoom, so that it keeps the aspect ratio.
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
        # Negative margins add the bars: above and below a wide image, else left and right.
        if width / height > net_size[0] / net_size[1]:
            missing = width * net_size[1] / net_size[0] - height
            top, bottom = int(top - missing / 2), int(bottom - missing / 2)
        else:
            missing = height * net_size[0] / net_size[1] - width
            left, right = int(left - missing / 2), int(right - missing / 2)
    return _Crop(left, top, right, bottom, rule.flip and bool(random.random() < 0.5))


def _zoom_range(length: int, resize: float) -> tuple[int, int]:
    """Return the minimum and maximum number of pixels that ``resize=`` cuts off each side."""
    # Zooming out by f makes the crop f times as long: each side grows by (f - 1) / 2.
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
    """Crop one image and its boxes, and change its colours."""
    boxes = _move_boxes(source.boxes, source.image, crop, net_size)
    # The losses take the first max_boxes: with more, each step learns others (data.c:383).
    random.shuffle(boxes)
    image = distort(
        random, _cut(source.image, crop, net_size), rule.hue, rule.saturation, rule.exposure
    )
    return Sample(_disturb(random, rule, image, boxes), boxes)


def _cut(image: np.ndarray, crop: _Crop, net_size: tuple[int, int]) -> np.ndarray:
    """Crop and resize an image; the part beyond the image gets the image's mean colour."""
    cv2 = load_opencv()
    height, width = image.shape[:2]
    if (crop.left, crop.top, crop.right, crop.bottom) != (0, 0, 0, 0):
        new_height, new_width = height - crop.top - crop.bottom, width - crop.left - crop.right
        canvas = np.empty((max(new_height, 1), max(new_width, 1), 3), np.uint8)
        canvas[:] = np.round(cv2.mean(image)[:3])
        # Positive margins cut the image, negative ones shift it into the canvas.
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
    """Move boxes into the crop, cut them off at its edges, drop small ones (data.c:392)."""
    boxes = boxes[~at_corner(boxes)]
    height, width = image.shape[:2]
    new_size = np.array(
        [max(width - crop.left - crop.right, 1), max(height - crop.top - crop.bottom, 1)]
    )
    # x * width - left pixels from the crop's edge, divided by its width; the same for y.
    scale = np.array([width, height]) / new_size
    shift = np.array([crop.left, crop.top]) / new_size
    low = (boxes[:, :2] - boxes[:, 2:4] / 2) * scale - shift
    high = (boxes[:, :2] + boxes[:, 2:4] / 2) * scale - shift
    if crop.flip:
        # Mirroring swaps the left and the right side.
        low[:, 0], high[:, 0] = 1 - high[:, 0], 1 - low[:, 0]
    return _within(low, high, boxes[:, 4:], np.zeros(2), np.ones(2), net_size)


def _within(
    low: np.ndarray,
    high: np.ndarray,
    classes: np.ndarray,
    minimum: np.ndarray,
    maximum: np.ndarray,
    net_size: tuple[int, int],
) -> np.ndarray:
    """Clip boxes to a window, and drop those with less than a pixel left.

    Args:
        low: (T, 2) upper left corners, relative to the sample.
        high: (T, 2) lower right corners.
        classes: (T, 1) class of each box.
        minimum: (2,) upper left corner of the window.
        maximum: (2,) lower right corner.
        net_size: (width, height) of the sample in pixels.

    Returns:
        (T', 5) float32, rows x, y, w, h, class.
    """
    low, high = low.clip(minimum, maximum), high.clip(minimum, maximum)
    large = ((high - low) * net_size >= 1).all(1)
    rows = np.concatenate(((low + high) / 2, high - low, classes), 1)
    return rows[large].astype(np.float32)


def _disturb(
    random: np.random.Generator, rule: AugmentRule, image: np.ndarray, boxes: np.ndarray
) -> np.ndarray:
    """Add noise and blur."""
    cv2 = load_opencv()
    if rule.gaussian_noise and random.random() < 0.5:
        noise = random.normal(0, min(max(rule.gaussian_noise, 0), 127), image.shape)
        image = (image + noise).round().clip(0, 255).astype(np.uint8)
    # One third each: no blur (0), the background alone (1), the whole image for blur > 1 (2).
    kind = int(random.integers(3)) if rule.blur else 0
    if kind == 0:
        return image
    if kind == 2 and rule.blur > 1:
        # OpenCV's kernels must have an odd size.
        kernel = min(rule.blur, _smallest_side(boxes, image) // 8) // 2 * 2 + 1
        return np.asarray(cv2.GaussianBlur(image, (kernel, kernel), 0))
    blurred = np.asarray(cv2.GaussianBlur(image, (_BACKGROUND_KERNEL,) * 2, 0))
    # Blur everything, then put the sharp objects back.
    for left, top, right, bottom in _pixel_corners(boxes, image):
        blurred[top:bottom, left:right] = image[top:bottom, left:right]
    return blurred


def _smallest_side(boxes: np.ndarray, image: np.ndarray) -> int:
    """Return the shortest side of the boxes in pixels; that of the image without any."""
    # It limits the blur, which would wipe a small object out (data.c:1195).
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
    """Show a window of each of four images in the quarters around a point (data.c:1246)."""
    #     0   cut[0]  size[0]
    #   0 +-----+-------+
    #     |  0  |   1   |     quarter % 2: right of the cut
    # cut[1]----+-------+     quarter // 2: below the cut
    #     |  2  |   3   |
    #     +-----+-------+
    size = np.array(net_size)
    cut = np.array([_draw_cut(random, length) for length in net_size])
    canvas = np.empty((net_size[1], net_size[0], 3), np.uint8)
    boxes = []
    for quarter, source in enumerate(sources):
        crop = _draw_crop(random, rule, source.image, net_size)
        if random.random() < 0.5:
            crop = _to_corner(crop, quarter)
        part = _augment(random, rule, source, net_size, crop)
        second = np.array([quarter % 2, quarter // 2]) == 1  # for x and y: after the cut
        low, high = np.where(second, cut, 0), np.where(second, size, cut)
        start = _window_start(crop, source.image, size, cut, second)
        length = high - low
        canvas[low[1] : high[1], low[0] : high[0]] = part.image[
            start[1] : start[1] + length[1], start[0] : start[0] + length[0]
        ]
        # The window at `start` in the part is the quarter at `low` in the mosaic.
        moved = part.boxes[:, :2] + (low - start) / size
        minimum, maximum = np.zeros(2), np.ones(2)
        if rule.mosaic_bound:
            minimum, maximum = low / size, high / size
        half = part.boxes[:, 2:4] / 2
        rows = _within(moved - half, moved + half, part.boxes[:, 4:], minimum, maximum, net_size)
        boxes.append(rows)
    return Sample(canvas, np.concatenate(boxes))


def _draw_cut(random: np.random.Generator, length: int) -> int:
    """Draw the pixel at which the images of a mosaic meet along one axis."""
    low, high = int(length * _MOSAIC_MARGIN), int(length * (1 - _MOSAIC_MARGIN))
    return int(random.integers(low, high + 1))


def _window_start(
    crop: _Crop, image: np.ndarray, size: np.ndarray, cut: np.ndarray, second: np.ndarray
) -> np.ndarray:
    """Return (x, y) in pixels: where the window that a mosaic shows begins in its image."""
    # All are (x, y): `second` says for each axis whether the quarter lies after the cut.
    return np.where(
        second,
        _shift(crop, image, size, cut, before=True),
        size - cut - _shift(crop, image, size, cut, before=False),
    )


def _shift(
    crop: _Crop, image: np.ndarray, size: np.ndarray, cut: np.ndarray, *, before: bool
) -> np.ndarray:
    """Return (x, y) in pixels: the width of the added margin that a mosaic leaves out.

    ``before`` chooses the margin on the left and above, or the one on the right and below.
    """
    # The image is mirrored after the crop, which swaps its left and right margins.
    near = (crop.left, crop.top) if before != crop.flip else (crop.right, crop.top)
    vertical = crop.top if before else crop.bottom
    added = -np.array([near[0], vertical]) * size / np.array(image.shape[1::-1])
    return np.minimum(size - cut if not before else cut, np.maximum(0, added.astype(int)))


def _to_corner(crop: _Crop, quarter: int) -> _Crop:
    """Move the crop so that its quarter shows as much of the image as possible (data.c:1167)."""
    left, top, right, bottom = crop.left, crop.top, crop.right, crop.bottom
    if (quarter % 2 == 0) != crop.flip:
        left, right = 0, left + right
    else:
        left, right = left + right, 0
    top, bottom = (0, top + bottom) if quarter < 2 else (top + bottom, 0)
    return _Crop(left, top, right, bottom, crop.flip)
