"""Draw boxes and labels on an image: readable at any size, one colour per class."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from darknet_builder.boxes.detections import Detections
from darknet_builder.boxes.tracks import LineCounter, Trails
from darknet_builder.images.files import check_image
from darknet_builder.images.opencv import load_opencv

Color = tuple[int, int, int]
_Rect = tuple[int, int, int, int]
_PALETTE = (
    "e6194b",
    "3cb44b",
    "ffe119",
    "4363d8",
    "f58231",
    "911eb4",
    "42d4f4",
    "f032e6",
    "bfef45",
    "fabed4",
    "469990",
    "dcbeff",
    "9a6324",
    "aaffc3",
    "ff9f80",
)
"""Red, green, blue in hexadecimal: colours that are easy to tell apart on any photograph."""
_LINE_SHARE, _TEXT_SHARE = 0.004, 0.026
"""Line width and height of the letters, as a share of the image's mean side."""
_SHIFT = 4
"""Number of fractional bits in the coordinates of trails."""
_SMALLEST_TEXT = 8
"""Height of a capital letter in pixels below which OpenCV's strokes merge."""


@dataclass(frozen=True)
class _Style:
    """Sizes for drawing on one image, in pixels."""

    line: int
    font_scale: float
    stroke: int
    padding: int


@dataclass(frozen=True)
class _Label:
    """A text, its size and its style.

    Attributes:
        text: the words to draw.
        width: width of its background in pixels.
        height: height of its background in pixels.
        below: depth of the letters below the baseline in pixels.
        style: sizes for drawing it.
    """

    text: str
    width: int
    height: int
    below: int
    style: _Style


def class_color(class_id: int) -> Color:
    """Return (blue, green, red) of a class: always the same, and unlike those of nearby classes.

    The palette is used as it is, then lighter, then darker; then colours repeat.

    Example:
        >>> class_color(0)
        (75, 25, 230)
    """
    turn, index = divmod(class_id, len(_PALETTE))
    # Unchanged, then half-way to white, then 40 % of the way to black.
    target, share = ((0, 0), (255, 0.5), (0, 0.4))[turn % 3]
    red, green, blue = (
        round(value + (target - value) * share) for value in bytes.fromhex(_PALETTE[index])
    )
    return blue, green, red


def draw_detections(image: np.ndarray, detections: Detections) -> np.ndarray:
    """Return a copy of the image with a box and a label ``name 87%`` for each object.

    The label of a tracked object begins with its identity: ``#3 name 87%``. Line width and letters
    grow with the image. Labels avoid those of better objects if possible.

    Args:
        image: (H, W, 3) uint8, blue, green, red.
        detections: objects in that image. ``dont_show`` classes are left out.

    Raises:
        InputError: if ``image`` has another shape or type.

    Example:
        >>> image = np.zeros((100, 100, 3), np.uint8)
        >>> detections = Detections([[10, 20, 50, 80]], [0.5], [0], ("cat",), (100, 100))
        >>> bool(draw_detections(image, detections).any())
        True
    """
    cv2 = load_opencv()
    canvas = np.array(check_image(image), order="C")
    style = _style(canvas.shape[1], canvas.shape[0])
    inside = detections.shown().clipped()
    rows = [
        (class_id, title, score, _to_pixels(box, canvas))
        for title, (class_id, _, score, box) in zip(inside.titles, inside.rows(), strict=True)
    ]
    # Rows are best first, so drawing in reverse puts the best on top.
    for class_id, _, _, (left, top, right, bottom) in reversed(rows):
        cv2.rectangle(
            canvas, (left, top), (right, bottom), class_color(class_id), style.line, cv2.LINE_AA
        )
    labels = [
        _fit_label(cv2, f"{title} {score:.0%}", style, canvas.shape[1])
        for _, title, score, _ in rows
    ]
    # The best objects choose their labels' positions first.
    positions: list[_Rect] = []
    for label, row in zip(labels, rows, strict=True):
        positions.append(_place(label, row[-1], positions, canvas))
    for label, row, position in reversed(list(zip(labels, rows, positions, strict=True))):
        _write(cv2, canvas, label, position, class_color(row[0]))
    return canvas


def draw_trails(image: np.ndarray, trails: Trails) -> np.ndarray:
    """Return a copy of the image with the path of each tracked object, in the colour of its class.

    Args:
        image: (H, W, 3) uint8, blue, green, red.
        trails: the paths.

    Raises:
        InputError: if ``image`` has another shape or type.

    Example:
        >>> trails = Trails()
        >>> for left in (0, 10, 20):
        ...     box, names = [[left, 40, left + 20, 60]], ("cat",)
        ...     trails.update(Detections(box, [0.9], [0], names, (100, 100), track_ids=[1]))
        >>> bool(draw_trails(np.zeros((100, 100, 3), np.uint8), trails)[50, 15].any())
        True
    """
    cv2 = load_opencv()
    canvas = np.array(check_image(image), order="C")
    style = _style(canvas.shape[1], canvas.shape[0])
    for class_id, path in trails.paths():
        points = np.round(path * 2**_SHIFT).astype(np.int32)
        # OpenCV wants (1, P, 1, 2)
        cv2.polylines(
            canvas,
            points[None, :, None],
            False,
            class_color(class_id),
            style.line,
            cv2.LINE_AA,
            _SHIFT,
        )
    return canvas


def draw_line(image: np.ndarray, counter: LineCounter) -> np.ndarray:
    """Return a copy of the image with a line, an arrow towards ``in``, and its counts.

    Args:
        image: (H, W, 3) uint8, blue, green, red.
        counter: the line and its counts.

    Raises:
        InputError: if ``image`` has another shape or type.

    Example:
        >>> counter = LineCounter((0, 50, 100, 50))
        >>> bool(draw_line(np.zeros((100, 100, 3), np.uint8), counter)[50, 90].any())
        True
    """
    cv2 = load_opencv()
    canvas = np.array(check_image(image), order="C")
    height, width = canvas.shape[:2]
    style = _style(width, height)
    start, end = np.array(counter.line[:2]), np.array(counter.line[2:])
    left_side = np.array([1, -1]) * (end - start)[::-1] / np.hypot(*(end - start))
    # The part within the image, so that its middle can be seen.
    _, first, last = cv2.clipLine((0, 0, width, height), _point(start), _point(end))
    middle = (np.array(first) + last) / 2
    tip = _point(middle + left_side * style.font_scale * 40)
    for color, thicker in (((0, 0, 0), 2), ((255, 255, 255), 0)):  # seen on any background
        stroke = style.line + thicker
        cv2.line(canvas, first, last, color, stroke, cv2.LINE_AA)
        cv2.arrowedLine(canvas, _point(middle), tip, color, stroke, cv2.LINE_AA, tipLength=0.4)
    totals = [sum(counter.counts(direction).values()) for direction in ("in", "out")]
    label = _fit_label(cv2, "in {}, out {}".format(*totals), style, width)
    # On the other side of the line than the arrow.
    half = np.array([label.width, label.height]) / 2
    x, y = middle - left_side * (np.abs(left_side) @ half + style.padding + style.line) - half
    left, top = round(min(max(x, 0), width - label.width)), round(y)
    top = min(max(top, 0), height - label.height)
    _write(cv2, canvas, label, (left, top, left + label.width, top + label.height), (255,) * 3)
    return canvas


def _point(values: np.ndarray) -> tuple[int, int]:
    x, y = np.round(values).astype(int).tolist()
    return x, y


def _style(width: int, height: int) -> _Style:
    side = (width + height) / 2
    letters = max(_SMALLEST_TEXT, side * _TEXT_SHARE)
    return _Style(
        line=max(1, round(side * _LINE_SHARE)),
        font_scale=letters / 21,  # the font's capitals are 21 pixels high at scale 1
        stroke=max(1, round(letters / 9)),
        padding=max(1, round(letters / 4)),
    )


def _to_pixels(box: list[float], canvas: np.ndarray) -> _Rect:
    """Return a box's edges as pixel indices, all within the image."""
    height, width = canvas.shape[:2]
    left, top, right, bottom = (round(value) for value in box)
    return (
        min(left, width - 1),
        min(top, height - 1),
        min(right, width - 1),
        min(bottom, height - 1),
    )


def _fit_label(cv2: ModuleType, text: str, style: _Style, room: int) -> _Label:
    """Measure a label; if it is wider than the image, use smaller letters."""
    (width, height), below = cv2.getTextSize(
        text, cv2.FONT_HERSHEY_SIMPLEX, style.font_scale, style.stroke
    )
    full = width + 2 * style.padding
    if full > room:
        scale = style.font_scale * max(1, room - 2 * style.padding) / width
        style = _Style(style.line, scale, 1, style.padding)
        (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        full = room
    return _Label(text, full, height + below + 2 * style.padding, below, style)


def _place(label: _Label, box: _Rect, taken: list[_Rect], canvas: np.ndarray) -> _Rect:
    """Return a position near the box at which the label covers no other label.

    Tried in order: above the box, inside it at the top, below it, inside it at the bottom; each at
    the box's left edge, then at its right edge. If all are taken, the first: better labels will
    cover it.
    """
    height, width = canvas.shape[:2]
    left, top, right, bottom = box
    edge = label.style.line // 2
    # Top edges of the label:    +------+ 0: above
    #                            +======+ 1: inside, at the top
    #                            |      |
    #                            +======+ 3: inside, at the bottom
    #                            +------+ 2: below
    tops = (top - label.height - edge, top + edge, bottom + edge, bottom - label.height - edge)
    shifted = [max(0, min(y, height - label.height)) for y in tops]
    within = [y for y in tops if 0 <= y <= height - label.height]
    lefts = [max(0, min(x, width - label.width)) for x in (left - edge, right + edge - label.width)]
    corners = itertools.product((*within, *shifted), lefts)
    positions = [(x, y, x + label.width, y + label.height) for y, x in corners]
    for position in positions:
        if not any(_overlap(position, other) for other in taken):
            return position
    return positions[0]


def _overlap(first: _Rect, second: _Rect) -> bool:
    return (
        first[0] < second[2]
        and second[0] < first[2]
        and first[1] < second[3]
        and second[1] < first[3]
    )


def _write(
    cv2: ModuleType, canvas: np.ndarray, label: _Label, position: _Rect, color: Color
) -> None:
    left, top, right, bottom = position
    cv2.rectangle(canvas, (left, top), (right - 1, bottom - 1), color, cv2.FILLED)
    blue, green, red = color
    # Luma (BT.601) of the background: black letters on bright colours, white ones on dark.
    bright = 0.114 * blue + 0.587 * green + 0.299 * red > 140
    origin = (left + label.style.padding, bottom - label.style.padding - label.below)
    cv2.putText(
        canvas,
        label.text,
        origin,
        cv2.FONT_HERSHEY_SIMPLEX,
        label.style.font_scale,
        (0, 0, 0) if bright else (255, 255, 255),
        label.style.stroke,
        cv2.LINE_AA,
    )
