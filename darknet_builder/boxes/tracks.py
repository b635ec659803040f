"""Follow the identities of tracked objects: count crossings of a line, and remember trails."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterator, Sequence

import numpy as np

from darknet_builder.boxes.detections import NO_TRACK, Detections
from darknet_builder.errors import InputError

DIRECTIONS = ("in", "out")
_CLEAR = 0.1
"""An object is on a side of a line when its centre is this part of its shorter side away from the
line. Boxes tremble from frame to frame: without it, an object that rests on the line would be
counted again and again."""
_MOST_REMEMBERED = 10_000
"""Number of identities whose last place is remembered: a stream may run for weeks."""


class LineCounter:
    """Count the tracked objects whose centre crosses a line.

    Seen from the first point towards the second one, ``in`` is from right to left and ``out`` from
    left to right. Across a line that is drawn from left to right, ``in`` is upwards::

             in
             ^
        1 ---+--- 2
             v
             out

    An object that is hidden while it crosses is counted when it is found again. An object that
    passes beside the ends of the line is not counted.

    Args:
        line: x1, y1, x2, y2 of two points in pixels of the image.

    Raises:
        InputError: if the points are equal, or a number is not finite.

    Example:
        >>> counter = LineCounter((0, 50, 100, 50))
        >>> for top in (60, 45, 30, 10):
        ...     box, names = [[40, top, 60, top + 20]], ("cat",)
        ...     counter.update(Detections(box, [0.9], [0], names, (100, 100), track_ids=[1]))
        >>> counter.counts("in"), counter.counts("out")
        ({'cat': 1}, {})
    """

    # supervision's LineZone forgets an object that is missed in two frames, counts one that goes
    # round the end of the line, and has no margin against trembling boxes.

    def __init__(self, line: Sequence[float]) -> None:
        self.line = _check_line(line)
        self._start, self._end = np.array(self.line[:2]), np.array(self.line[2:])
        self._places: OrderedDict[int, np.ndarray] = OrderedDict()
        self._crossed = {direction: Counter[tuple[int, str]]() for direction in DIRECTIONS}
        self._fits: tuple[int, int] | None = None

    def __str__(self) -> str:
        return _text(self.line)

    def update(self, detections: Detections) -> None:
        """Count the crossings since the previous frame.

        Args:
            detections: the tracked objects of the next frame. Those without an identity are left
                out.

        Raises:
            InputError: if the line lies outside the image.
        """
        if self._fits != detections.image_size:
            self._check_fits(detections.image_size)
        rows = zip(
            _track_ids(detections).tolist(),
            _centres(detections),
            (detections.boxes_xyxy[:, 2:] - detections.boxes_xyxy[:, :2]).min(1, initial=np.inf),
            zip(detections.class_ids.tolist(), detections.labels, strict=True),
            strict=True,
        )
        for track, centre, side, kind in rows:
            if track != NO_TRACK and abs(self._distance(centre)) >= max(1.0, _CLEAR * side):
                self._move(track, centre, kind)

    def counts(self, direction: str) -> dict[str, int]:
        """Return the number of crossings of each class, the most frequent first.

        Args:
            direction: ``in`` or ``out``.
        """
        found = Counter[str]()
        for (_, name), count in self._crossed[direction].items():
            found[name] += count
        return dict(found.most_common())

    def rows(self) -> Iterator[tuple[int, str, int, int]]:
        """Yield (class_id, name, in, out) of each class that has crossed the line."""
        for kind in sorted({*self._crossed["in"], *self._crossed["out"]}):
            yield *kind, self._crossed["in"][kind], self._crossed["out"][kind]

    def _distance(self, point: np.ndarray) -> float:
        """Return the distance to the endless line in pixels: below 0 on its left side."""
        (dx, dy), (px, py) = self._end - self._start, point - self._start
        # y points downwards in an image, so this cross product is positive on the right.
        return float((dx * py - dy * px) / np.hypot(dx, dy))

    def _move(self, track: int, place: np.ndarray, kind: tuple[int, str]) -> None:
        before = self._places.pop(track, None)
        self._places[track] = place
        if len(self._places) > _MOST_REMEMBERED:
            self._places.popitem(last=False)
        if before is None:
            return
        old, new = self._distance(before), self._distance(place)
        if (old < 0) == (new < 0):
            return
        point = before + (place - before) * old / (old - new)
        # Where the way meets the endless line, as a part of the way from its start to its end.
        way = self._end - self._start
        if 0 <= (point - self._start) @ way <= way @ way:
            self._crossed["in" if new < 0 else "out"][kind] += 1

    def _check_fits(self, image_size: tuple[int, int]) -> None:
        low, high = 0.0, 1.0  # the part of the line that lies within the image
        for start, end, limit in zip(self._start, self._end, image_size, strict=True):
            if start == end:
                low = low if 0 <= start <= limit else 2.0
                continue
            near, far = sorted((-start / (end - start), (limit - start) / (end - start)))
            low, high = max(low, near), min(high, far)
        if low > high:
            width, height = image_size
            raise InputError(
                f"lies outside the image of {width}x{height} pixels", argument="line", value=self
            )
        self._fits = image_size


class Trails:
    """The places of tracked objects in the last frames, for ``draw_trails``.

    Args:
        length: number of frames to remember, 1 or more.

    Raises:
        InputError: if ``length`` is out of range.

    Example:
        >>> trails = Trails(length=2)
        >>> for left in (0, 10, 20):
        ...     box, names = [[left, 40, left + 20, 60]], ("cat",)
        ...     trails.update(Detections(box, [0.9], [0], names, (100, 100), track_ids=[1]))
        >>> [(class_id, path.tolist()) for class_id, path in trails.paths()]
        [(0, [[20.0, 50.0], [30.0, 50.0]])]
    """

    def __init__(self, length: int = 30) -> None:
        if length < 1:
            raise InputError("expected 1 or more frames", argument="length", value=length)
        self._frames: deque[dict[int, tuple[int, np.ndarray]]] = deque(maxlen=length)

    def update(self, detections: Detections) -> None:
        """Add the places of the tracked objects of the next frame."""
        kinds = zip(detections.class_ids.tolist(), _centres(detections), strict=True)
        places = dict(zip(_track_ids(detections).tolist(), kinds, strict=True))
        places.pop(NO_TRACK, None)
        self._frames.append(places)

    def paths(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the last class and the path of each object: (P, 2) float32, x, y, oldest first."""
        found: dict[int, list[tuple[int, np.ndarray]]] = {}
        for places in self._frames:
            for track, place in places.items():
                found.setdefault(track, []).append(place)
        for path in found.values():
            yield path[-1][0], np.stack([place for _, place in path])


def _track_ids(detections: Detections) -> np.ndarray:
    if detections.track_ids is None:
        raise InputError("the objects have no identities; a Tracker gives them")
    return detections.track_ids


def _centres(detections: Detections) -> np.ndarray:
    """Return (N, 2) float32, x, y of the centre of each box in pixels."""
    centres: np.ndarray = (detections.boxes_xyxy[:, :2] + detections.boxes_xyxy[:, 2:]) / 2
    return centres


def _text(line: Sequence[float]) -> str:
    return ",".join(f"{value:g}" for value in line)


def _check_line(line: Sequence[float]) -> tuple[float, float, float, float]:
    text = _text(line)
    if len(line) != 4 or not np.isfinite(line).all():
        raise InputError("expected four numbers x1,y1,x2,y2", argument="line", value=text)
    x1, y1, x2, y2 = map(float, line)
    if (x1, y1) == (x2, y2):
        raise InputError("expected two different points", argument="line", value=text)
    return x1, y1, x2, y2
