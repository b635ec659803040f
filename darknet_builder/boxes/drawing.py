"""Boxes and labels on a photograph: readable at any size, one colour a class."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np

from darknet_builder.boxes.detections import Detections
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
"""Red, green, blue in hexadecimal: as many colours as the eye tells apart and finds on any
photograph."""
_LINE_SHARE, _TEXT_SHARE = 0.004, 0.026
"""Line width and height of the letters, as a share of the image's mean side."""
_SMALLEST_TEXT = 8
"""Pixels of a capital letter below which OpenCV's strokes run together."""


@dataclass(frozen=True)
class _Style:
    """Sizes in pixels that suit one image."""

    line: int
    font_scale: float
    stroke: int
    padding: int


@dataclass(frozen=True)
class _Label:
    """A text, its size in pixels and how it is written; ``below`` is how far letters reach under
    their line.
    """

    text: str
    width: int
    height: int
    below: int
    style: _Style


def class_color(class_id: int) -> Color:
    """(blue, green, red) of a class: always the same, and unlike those of the next classes.

    The palette comes first as it is, then lighter, then darker; with more classes than that,
    colours return.
    """
    turn, index = divmod(class_id, len(_PALETTE))
    target, share = ((0, 0), (255, 0.5), (0, 0.4))[turn % 3]
    red, green, blue = (
        round(value + (target - value) * share) for value in bytes.fromhex(_PALETTE[index])
    )
    return blue, green, red


def draw_detections(image: np.ndarray, detections: Detections) -> np.ndarray:
    """A copy of the image with a box and a label ``name 87%`` for each object.

    Line width and letters grow with the image. A label stands above its box, or wherever near it
    there is room within the picture, and keeps clear of better objects' labels where it can.

    Args:
        image: (H, W, 3) uint8, blue, green, red.
        detections: of that image; the best ones are drawn last, on top. ``dont_show`` classes are
            left out.

    Raises:
        InputError: for what is no image.
    """
    cv2 = load_opencv()
    canvas = np.array(check_image(image), order="C")
    style = _style(canvas.shape[1], canvas.shape[0])
    rows = [
        (class_id, name, score, _to_pixels(box, canvas))
        for class_id, name, score, box in detections.shown().clipped().rows()
    ]
    for class_id, _, _, (left, top, right, bottom) in reversed(rows):
        cv2.rectangle(
            canvas, (left, top), (right, bottom), class_color(class_id), style.line, cv2.LINE_AA
        )
    labels = [
        _fit_label(cv2, f"{name} {score:.0%}", style, canvas.shape[1]) for _, name, score, _ in rows
    ]
    places: list[_Rect] = []
    for label, row in zip(labels, rows, strict=True):
        places.append(_place(label, row[-1], places, canvas))
    for label, row, place in reversed(list(zip(labels, rows, places, strict=True))):
        _write(cv2, canvas, label, place, class_color(row[0]))
    return canvas


def _style(width: int, height: int) -> _Style:
    side = (width + height) / 2
    letters = max(_SMALLEST_TEXT, side * _TEXT_SHARE)
    return _Style(
        line=max(1, round(side * _LINE_SHARE)),
        font_scale=letters / 21,  # its capitals are 21 pixels high
        stroke=max(1, round(letters / 9)),
        padding=max(1, round(letters / 4)),
    )


def _to_pixels(box: list[float], canvas: np.ndarray) -> _Rect:
    """The whole pixels of a box's edges, all within the picture."""
    height, width = canvas.shape[:2]
    left, top, right, bottom = (round(value) for value in box)
    return (
        min(left, width - 1),
        min(top, height - 1),
        min(right, width - 1),
        min(bottom, height - 1),
    )


def _fit_label(cv2: ModuleType, text: str, style: _Style, room: int) -> _Label:
    """Measure a label; one that is wider than the picture gets smaller letters."""
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
    """Where a label covers no other: above its box, within it at the top, below it, within it at
    the bottom.

    At the left edge of the box or else at the right one; where all is taken, above, and better
    labels will cover it.
    """
    height, width = canvas.shape[:2]
    left, top, right, bottom = box
    edge = label.style.line // 2
    rows = (top - label.height - edge, top + edge, bottom + edge, bottom - label.height - edge)
    inside = [max(0, min(y, height - label.height)) for y in rows]
    whole = [y for y in rows if 0 <= y <= height - label.height]
    columns = [
        max(0, min(x, width - label.width)) for x in (left - edge, right + edge - label.width)
    ]
    places = [(x, y, x + label.width, y + label.height) for y in (*whole, *inside) for x in columns]
    return next(
        (place for place in places if not any(_overlap(place, other) for other in taken)), places[0]
    )


def _overlap(first: _Rect, second: _Rect) -> bool:
    return (
        first[0] < second[2]
        and second[0] < first[2]
        and first[1] < second[3]
        and second[1] < first[3]
    )


def _write(cv2: ModuleType, canvas: np.ndarray, label: _Label, place: _Rect, color: Color) -> None:
    left, top, right, bottom = place
    cv2.rectangle(canvas, (left, top), (right - 1, bottom - 1), color, cv2.FILLED)
    blue, green, red = color
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
