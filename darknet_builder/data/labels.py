"""Darknet's label files: one box a line, ``class x y width height``, relative to the image.

The labels of ``images/a.jpg`` are in ``labels/a.txt`` or ``images/a.txt``. Darknet silently stops
reading a label file at the first line that it cannot parse, and leaves out boxes of classes that do
not exist; here both raise a ``DataError`` with file and line. A label that Darknet's training
changes, such as a box that reaches over the edge, is read unchanged, and ``load_images`` warns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np

from darknet_builder.boxes.formats import LABEL_VALUES
from darknet_builder.data.image_list import is_file, numbered_lines
from darknet_builder.errors import DataError
from darknet_builder.support.web.remote import FilePath, RemoteFile

_IMAGE_FOLDERS = ("images", "JPEGImages")
_LABEL_FOLDER = "labels"
_MOST_BYTES = 2**24
"""Bytes of a label file; this is 400,000 boxes."""
_COORDINATES = ("x", "y", "width", "height")
_CLASS = re.compile(r"\+?[0-9]+")
"""A class that C's ``%d`` reads (data.c:217); Python's digits include those of other scripts."""
_OVER_EDGE = "the box reaches over the edge of the image, where training would clip it"
_AT_CORNER = "the centre is 0, 0, so training would leave the box out"


@dataclass(frozen=True)
class LabelFile:
    """The labels of one image, and their lines.

    Attributes:
        boxes: (T, 5) float32, rows x, y, w, h, class.
        lines: line of each box in the file, counted from 1.
        num_skipped: number of bad lines that were left out.
    """

    boxes: np.ndarray
    lines: tuple[int, ...]
    num_skipped: int

    def lines_where(self, rows: np.ndarray) -> list[int]:
        """Return the lines of some boxes.

        Args:
            rows: (T,) bool, whether to return the line of each box.
        """
        return [self.lines[row] for row in np.flatnonzero(rows)]


@overload
def label_places(image: Path) -> list[Path]: ...


@overload
def label_places(image: FilePath) -> list[FilePath]: ...


def label_places(image: FilePath) -> Sequence[FilePath]:
    """Return the paths at which an image's label file may be, in the order of search.

    ``labels`` replaces ``images`` or ``JPEGImages`` in the path; the last one is beside the image.
    Darknet replaces some folder names too (replace_image_to_label in utils.c), and looks beside the
    image otherwise.
    """
    parts = image.parts[:-1]
    at = image.with_parts if isinstance(image, RemoteFile) else _local
    # From the innermost folder outwards: images/a/images/b.jpg prefers images/a/labels.
    folders: list[FilePath] = [
        at((*parts[:index], _LABEL_FOLDER, *parts[index + 1 :]))
        for index in reversed(range(len(parts)))
        if parts[index] in _IMAGE_FOLDERS
    ]
    return [folder / f"{image.stem}.txt" for folder in (*folders, image.parent)]


def _local(parts: tuple[str, ...]) -> Path:
    return Path(*parts)


@overload
def find_labels(image: Path) -> Path | None: ...


@overload
def find_labels(image: FilePath) -> FilePath | None: ...


def find_labels(image: FilePath) -> FilePath | None:
    """Return the label file of an image; None if it has none."""
    return next((path for path in label_places(image) if is_file(path)), None)


def read_labels(
    path: str | FilePath, classes: int, *, skip_bad: bool = False, strict: bool = False
) -> tuple[np.ndarray, int]:
    """Read a label file.

    Args:
        path: the file; an empty one has no boxes.
        classes: number of classes; a label must be below it.
        skip_bad: leave bad lines out and count them; False raises.
        strict: labels that Darknet's training changes or leaves out are bad lines too.

    Returns:
        (T, 5) float32, rows x, y, w, h, class, and the number of lines that were left out.

    Raises:
        DataError: with file and line, unless each line is ``class x y width height`` with a class
            below ``classes``, a size above 0, and a box that is at least partly in the image.
    """
    labels = read_label_file(path, classes, skip_bad=skip_bad, strict=strict)
    return labels.boxes, labels.num_skipped


def read_label_file(
    path: str | FilePath, classes: int, *, skip_bad: bool = False, strict: bool = False
) -> LabelFile:
    """Read a label file, with the line of each box; the arguments are those of ``read_labels``.

    Raises:
        DataError: as ``read_labels``.
    """
    rows: list[list[float]] = []
    lines: list[int] = []
    skipped = 0
    for number, line in numbered_lines(path, "a label file", _MOST_BYTES):
        try:
            rows.append(_parse_label(line, classes, strict))
            lines.append(number)
        except DataError as error:
            if not skip_bad:
                raise DataError(f"{line!r}: {error}", path=path, line=number) from None
            skipped += 1
    return LabelFile(np.array(rows, np.float32) if rows else no_boxes(), tuple(lines), skipped)


def _parse_label(line: str, classes: int, strict: bool) -> list[float]:
    words = line.split()
    if len(words) != LABEL_VALUES:
        raise DataError(f"expected 5 numbers, class x y width height, got {len(words)}")
    if not _CLASS.fullmatch(words[0]):
        raise DataError(f"class {words[0]}: expected a whole number, 0 or more")
    if int(words[0]) >= classes:
        raise DataError(f"class {words[0]}: there are {classes} classes, 0 to {classes - 1}")
    try:
        values = [float(word) for word in words[1:]]
    except ValueError:
        raise DataError("expected 5 numbers, class x y width height") from None
    _check_box(words[1:], values)
    if strict:
        _check_unchanged(values)
    return [*values, int(words[0])]


def _check_unchanged(values: list[float]) -> None:
    """Raise for a box that Darknet's training changes or leaves out."""
    box = np.array([values], np.float32)
    for problem, rows in ((_AT_CORNER, at_corner(box)), (_OVER_EDGE, over_edge(box))):
        if rows.any():
            raise DataError(problem)


def _check_box(words: list[str], values: list[float]) -> None:
    """Raise if a box has an invalid size or is completely outside its image (data.c:259).

    A box that reaches over the edge is valid: training cuts it off at the edge of the crop
    (data.c:281), mAP and anchors use it unchanged.

    Args:
        words: x, y, width and height as in the file, for the message.
        values: the same as numbers.

    Raises:
        DataError: for such a box.
    """
    with np.errstate(over="ignore"):  # too large for float32: infinite, and refused
        box = np.array(values).astype(np.float32)
    for name, word, value in zip(_COORDINATES, words, box, strict=True):
        is_size = name in _COORDINATES[2:]
        if not np.isfinite(value) or is_size and value <= 0:
            expected = "more than 0 and at most 1" if is_size else "0 to 1"
            raise DataError(f"{name} {word}: expected {expected}, relative to the image")
    for axis in (0, 1):
        centre, half = box[axis], box[axis + 2] / 2
        if centre + half < 0 or centre - half > 1:
            raise DataError(
                f"{_COORDINATES[axis]} {words[axis]}, {_COORDINATES[axis + 2]} {words[axis + 2]}:"
                " the box lies outside the image; expected 0 to 1, relative to the image"
            )


def over_edge(boxes: np.ndarray) -> np.ndarray:
    """Return which boxes have a centre or a size that exceeds the image (detector.c:1478).

    As in Darknet, an edge outside the image does not count if centre and size are 0 to 1: rounding
    to six decimals causes that.

    Args:
        boxes: (T, 5), rows x, y, w, h, class.

    Returns:
        (T,) bool.
    """
    return np.asarray((boxes[:, :2] < 0).any(1) | (boxes[:, :4] > 1).any(1))


def at_corner(boxes: np.ndarray) -> np.ndarray:
    """Return which boxes have their centre at 0, 0; training leaves them out (data.c:252).

    Args:
        boxes: (T, 5), rows x, y, w, h, class.

    Returns:
        (T,) bool.
    """
    return np.asarray((boxes[:, :2] == 0).all(1))


def no_boxes() -> np.ndarray:
    """Return (0, 5) float32, the boxes of an image without objects."""
    return np.zeros((0, LABEL_VALUES), np.float32)
