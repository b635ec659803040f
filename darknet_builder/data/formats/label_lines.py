"""Read YOLO label files: boxes, and polygons or rotated boxes by their enclosing box.

``data.labels`` reads what Darknet reads and stops at anything else. Exports of annotation programs
also have outlines in the same files, and a conversion goes on after a bad line and counts it.
"""

from __future__ import annotations

import math
from pathlib import Path

from darknet_builder.data.formats.notes import BAD_LINE, ROTATED, UNKNOWN_CLASS, Notes
from darknet_builder.data.formats.records import AnnotatedImage, Annotation, Box, image_size
from darknet_builder.data.image_list import numbered_lines
from darknet_builder.data.labels import find_labels
from darknet_builder.errors import DataError

_MOST_BYTES = 2**26
"""Bytes of a label file; outlines are longer than boxes."""
_BOX_NUMBERS, _ROTATED_NUMBERS, _FEWEST_OUTLINE_NUMBERS = 4, 8, 6
_SQUARE_TOLERANCE = 0.02
"""Largest cosine at the corners of a rotated box, whose numbers are rounded."""


def labelled_image(
    path: Path, name: str, classes: dict[int, int], notes: Notes, label: Path | None = None
) -> AnnotatedImage | None:
    """Read an image's size and its labels.

    Args:
        path: the image.
        name: its name in the data set.
        classes: the index here of each class number of the labels.
        notes: counts what is changed or left out.
        label: the label file; None looks for it as Darknet does. An image without one is empty.

    Returns:
        The image; None, with a note, if it cannot be read.
    """
    size = image_size(path, notes)
    if size is None:
        return None
    label = label or find_labels(path)
    objects = [] if label is None else read_yolo_labels(label, size, classes, notes)
    return AnnotatedImage(path, name, size, tuple(objects))


def read_yolo_labels(
    path: Path, size: tuple[int, int], classes: dict[int, int], notes: Notes
) -> list[Annotation]:
    """Read the objects of a label file.

    Args:
        path: the file: ``class x y width height`` or ``class x1 y1 x2 y2 x3 y3 ...`` a line,
            relative to the image.
        size: width and height of the image in pixels.
        classes: the index here of each class number of the file.
        notes: counts outlines and bad lines.
    """
    objects: list[Annotation] = []
    try:
        lines = list(numbered_lines(path, "a label file", _MOST_BYTES))
    except DataError:  # not text
        notes.add(BAD_LINE, path)
        return objects
    for number, line in lines:
        place = f"{path}:{number}"
        values = _numbers(line.split())
        if values is None:
            notes.add(BAD_LINE, place)
        elif int(values[0]) not in classes:
            notes.add(UNKNOWN_CLASS, place)
        else:
            class_id = classes[int(values[0])]
            objects.append(_annotation(class_id, values[1:], size, notes, place))
    return objects


def _numbers(words: list[str]) -> list[float] | None:
    """Return the class and the coordinates of a line; None if it is not a label."""
    try:
        values = [float(word) for word in words]
    except ValueError:
        return None
    count = len(values) - 1
    is_outline = count >= _FEWEST_OUTLINE_NUMBERS and count % 2 == 0
    if not (count == _BOX_NUMBERS or is_outline) or not all(map(math.isfinite, values)):
        return None
    return values if values[0] == int(values[0]) and values[0] >= 0 else None


def _annotation(
    class_id: int, values: list[float], size: tuple[int, int], notes: Notes, place: str
) -> Annotation:
    width, height = size
    if len(values) == _BOX_NUMBERS:
        x, y, w, h = values
        box = (x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height
        return Annotation(class_id, box)
    corners = [(x * width, y * height) for x, y in zip(values[::2], values[1::2], strict=True)]
    if len(values) == _ROTATED_NUMBERS and _is_rectangle(corners):
        notes.add(ROTATED, place)
        return Annotation(class_id, enclosing_box(corners))
    outline = [[value for corner in corners for value in corner]]
    return Annotation(class_id, enclosing_box(corners), outline=outline, area=_area(corners))


def enclosing_box(corners: list[tuple[float, float]]) -> Box:
    """Return the box around corners.

    Example:
        >>> enclosing_box([(1.0, 2.0), (5.0, 3.0), (2.0, 7.0)])
        (1.0, 2.0, 5.0, 7.0)
    """
    x, y = zip(*corners, strict=True)
    return min(x), min(y), max(x), max(y)


def rotated_corners(box: Box, degrees: float) -> list[tuple[float, float]]:
    """Return the corners of a box that is rotated about its centre, clockwise on the screen.

    Example:
        >>> [(round(x), round(y)) for x, y in rotated_corners((0.0, 0.0, 4.0, 2.0), 90)]
        [(3, -1), (3, 3), (1, 3), (1, -1)]
    """
    left, top, right, bottom = box
    centre_x, centre_y = (left + right) / 2, (top + bottom) / 2
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    corners = []
    for x, y in ((left, top), (right, top), (right, bottom), (left, bottom)):
        across, down = x - centre_x, y - centre_y
        corners.append((centre_x + across * cos - down * sin, centre_y + across * sin + down * cos))
    return corners


def _is_rectangle(corners: list[tuple[float, float]]) -> bool:
    """Return whether four corners have right angles: the labels of rotated boxes."""
    for index in range(4):
        (ax, ay), (bx, by), (cx, cy) = (corners[(index + step) % 4] for step in range(3))
        first, second = (bx - ax, by - ay), (cx - bx, cy - by)
        lengths = math.hypot(*first) * math.hypot(*second)
        if abs(first[0] * second[0] + first[1] * second[1]) > _SQUARE_TOLERANCE * lengths:
            return False
    return True


def _area(corners: list[tuple[float, float]]) -> float:
    """Return the area of a polygon (the shoelace formula)."""
    following = corners[1:] + corners[:1]
    pairs = zip(corners, following, strict=True)
    return abs(sum(ax * by - bx * ay for (ax, ay), (bx, by) in pairs)) / 2
