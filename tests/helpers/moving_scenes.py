"""Drawn videos of shapes that cross the picture, cover one another and leave, with their
identities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from darknet_builder.data.outlines import draw_outline
from darknet_builder.data.scene_names import SCENE_NAMES, SCENE_SIZE
from darknet_builder.data.scenes import _SHIFT, _background, _paint
from darknet_builder.images.opencv import load_opencv
from darknet_builder.images.video import write_video

FPS = 25.0
SPEEDS = (2.0, 4.5)
"""Pixels a frame, at ``SCENE_SIZE``."""
RADII = (22.0, 36.0)
"""Pixels, at ``SCENE_SIZE``."""
MARGIN = 12.0
"""Pixels: three frames of a quick object, which has no identity in the first."""
MIN_VISIBLE = 0.4
"""Least part of an object's area that is visible in a frame that counts."""


@dataclass(frozen=True)
class _Object:
    """A shape and its straight way.

    Attributes:
        pixels: (S, S, 3) float32, the shape on grey.
        share: (S, S, 1) float32 in [0, 1], how much of each pixel it covers.
        class_id: index into ``SCENE_NAMES``.
        start: (x, y) of its centre in frame 0, in pixels; usually outside.
        step: (x, y), pixels a frame.
    """

    pixels: np.ndarray
    share: np.ndarray
    class_id: int
    start: np.ndarray
    step: np.ndarray

    def centre(self, frame: int) -> np.ndarray:
        """(x, y) in pixels, whether it is in the picture or not."""
        centre: np.ndarray = self.start + frame * self.step
        return centre


@dataclass(frozen=True)
class MovingFrame:
    """A frame and what is visible in it.

    Attributes:
        image: (H, W, 3) uint8, blue, green, red.
        boxes_xyxy: (T, 4) float32, around the visible part of each object, in pixels.
        class_ids: (T,) int64, indices into ``SCENE_NAMES``.
        identities: (T,) int64, equal for one object in all frames.
    """

    image: np.ndarray
    boxes_xyxy: np.ndarray
    class_ids: np.ndarray
    identities: np.ndarray


class MovingScene:
    """A video; equal arguments give equal frames.

    Args:
        seed: number of the video.
        num_frames: length of the video.
        num_objects: number of shapes that cross it.
        size: width and height in pixels.
    """

    def __init__(
        self, seed: int, num_frames: int, num_objects: int, size: int = SCENE_SIZE
    ) -> None:
        self._random = np.random.default_rng((7, seed))
        self.num_frames, self.size, self._unit = num_frames, size, size / SCENE_SIZE
        self._back = _background(self._random, size)
        self.objects = [self._object() for _ in range(num_objects)]

    def _object(self) -> _Object:
        random, cv2 = self._random, load_opencv()
        radius = self._unit * random.uniform(*RADII)
        class_id = int(random.integers(len(SCENE_NAMES)))
        side = 2 * int(np.ceil(radius)) + 4
        curves = draw_outline(SCENE_NAMES[class_id], random)
        points = [
            np.round((curve * radius + side / 2) * 2**_SHIFT).astype(np.int32) for curve in curves
        ]
        mask = np.zeros((side, side), np.uint8)
        cv2.fillPoly(mask, points, 255, cv2.LINE_AA, _SHIFT)
        pixels = np.empty((side, side, 3), np.float32)
        pixels[:] = self._back.mean((0, 1))
        _paint(random, pixels, mask, points, radius)
        share = (mask / np.float32(255))[..., None]
        # In the middle of its time, an object is near the middle of the picture.
        middle = random.uniform(0.1, 0.9) * self.num_frames
        angle = random.uniform(0, 2 * np.pi)
        step = self._unit * random.uniform(*SPEEDS) * np.array([np.cos(angle), np.sin(angle)])
        place = random.uniform(0.25, 0.75, 2) * self.size
        return _Object(pixels, share, class_id, place - middle * step, step)

    def frames(self) -> Iterator[MovingFrame]:
        """Draw the frames in order."""
        grain = np.random.default_rng(0)
        for number in range(self.num_frames):
            yield self._frame(number, grain)

    def _frame(self, number: int, grain: np.random.Generator) -> MovingFrame:
        edge = 2 * int(self._unit * RADII[1]) + 8  # room for shapes that are partly outside
        canvas = np.pad(self._back, ((edge, edge), (edge, edge), (0, 0)))
        owners = np.full(canvas.shape[:2], -1)
        for index, one in enumerate(self.objects):
            side = len(one.share)
            left, top = np.round(one.centre(number) - side / 2).astype(int) + edge
            if not (0 <= left <= canvas.shape[1] - side and 0 <= top <= canvas.shape[0] - side):
                continue
            window = (slice(top, top + side), slice(left, left + side))
            canvas[window] = canvas[window] * (1 - one.share) + one.pixels * one.share
            owners[window][one.share[..., 0] > 0.5] = index
        inside = (slice(edge, edge + self.size), slice(edge, edge + self.size))
        noise = grain.standard_normal((self.size, self.size, 3), np.float32) * 4
        image = np.clip(canvas[inside] + noise, 0, 255).round().astype(np.uint8)
        return MovingFrame(image, *self._truth(owners[inside]))

    def _truth(self, owners: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the boxes, classes and identities of what is visible enough."""
        boxes, identities = [], []
        for index, one in enumerate(self.objects):
            y, x = np.nonzero(owners == index)
            if len(x) < MIN_VISIBLE * (one.share > 0.5).sum():
                continue
            boxes.append((x.min(), y.min(), x.max() + 1, y.max() + 1))
            identities.append(index)
        ids = np.array(identities, np.int64)
        classes = np.array([one.class_id for one in self.objects])[ids]
        return np.array(boxes, np.float32).reshape(-1, 4), classes, ids

    def write(self, path: str | Path) -> None:
        """Write the video as MPEG-4."""
        with write_video(path, FPS) as append:
            for frame in self.frames():
                append(frame.image)


def line_counts(
    scene: MovingScene, frames: Sequence[MovingFrame], x: float, margin: float = MARGIN
) -> dict[str, int]:
    """The number of objects that cross the upright line at x, from top to bottom: to the right is
    ``in``. They are visible on both sides, at least ``margin`` away from it."""
    counts = {"in": 0, "out": 0}
    for index, one in enumerate(scene.objects):
        seen = [number for number, frame in enumerate(frames) if index in frame.identities]
        if seen:
            first, last = (one.centre(number)[0] - x for number in (seen[0], seen[-1]))
            counts["in"] += bool(first < -margin and last > margin)
            counts["out"] += bool(first > margin and last < -margin)
    return counts
