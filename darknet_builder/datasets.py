"""Darknet's data sets: a ``.data`` file, lists of images, and a label file for each image.

A ``.data`` file says ``classes=3``, ``valid=test.txt``, ``names=my.names``. A list has one image a line. The labels of
``images/a.jpg`` are in ``labels/a.txt`` or ``images/a.txt``, one box a line: ``class x y width height``, centre and
size relative to the image. Darknet ends a label file in silence at the first line that it cannot read, and trains on
boxes of classes that do not exist; here each is a ``DataError`` with file and line.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np

from darknet_builder.boxes import LABEL_VALUES
from darknet_builder.detections import read_names
from darknet_builder.errors import DataError, DataWarning, did_you_mean, nearest

_KEYS = ("backup", "classes", "difficult", "eval", "labels", "leaves", "map", "names", "results", "test", "top",
         "train", "tree", "valid")
"""What Darknet and this project read of a ``.data`` file; any other key may name a list of images."""
_IMAGE_FOLDERS = ("images", "JPEGImages")
_LABEL_FOLDER = "labels"
_COORDINATES = ("x", "y", "width", "height")


# ---- the .data file -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class DataFile:
    """What a ``.data`` file says (read_data_cfg in option_list.c).

    Files that it names are looked for beside it, beside its folder and in the working directory.

    Attributes:
        path: its own.
        options: key -> text.
        lines: key -> line, counted from 1.
    """

    path: Path
    options: Mapping[str, str]
    lines: Mapping[str, int] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, path: str | Path) -> DataFile:
        """Read it.

        Raises:
            DataError: located, for what cannot be read or is no ``key=value``.
        """
        options: dict[str, str] = {}
        lines: dict[str, int] = {}
        for number, line in _lines(path, "a .data file"):
            if line[0] in "#;":
                continue
            key, equals, value = (part.strip() for part in line.partition("="))
            if not (key and equals and value):
                raise DataError(f"{line!r} is no option", path=path, line=number, hint="expected key = value")
            if key in options:
                raise DataError(f"{key} is given a second time; line {lines[key]} already says "
                                f"{key}={options[key]}", path=path, line=number)
            options[key], lines[key] = value, number
        if not options:
            raise DataError("is empty", path=path, hint="expected lines such as classes=3 and valid=test.txt")
        return cls(Path(path), options, lines)

    def having(self, key: str, value: str) -> DataFile:
        """The same, as if it said ``key=value``."""
        lines = {other: line for other, line in self.lines.items() if other != key}
        return DataFile(self.path, {**self.options, key: value}, lines)

    def error(self, message: str, key: str, *, hint: str | None = None) -> DataError:
        """A located error, to be raised by the caller."""
        return DataError(message, **self._place(key), hint=hint)

    def _place(self, key: str) -> dict[str, Any]:
        return {"path": self.path, "line": self.lines.get(key), "key": key, "value": self.options.get(key)}

    def has(self, key: str) -> bool:
        """Whether an option is there; where it seems to be misspelt, a ``DataWarning`` says so."""
        for wrong in () if key in self.options else self._misspelt(key):
            warnings.warn(DataWarning("no such key, it changes nothing", **self._place(wrong),
                                      hint=f"did you mean {key!r}?"), stacklevel=2)
        return key in self.options

    def _misspelt(self, key: str) -> list[str]:
        """Keys that no one knows, and that are most like a certain one."""
        return [other for other in self.options if other not in _KEYS and nearest(other, _KEYS) == key]

    @property
    def classes(self) -> int:
        """``classes=``, or else the number of names.

        Raises:
            DataError: located, when neither is there, it is no number, or the two disagree.
        """
        names = self.names
        if not self.has("classes"):
            if names is None:
                raise self.error("needs classes= or names=, which are missing", "classes")
            return len(names)
        text = self.options["classes"]
        if not text.isdecimal() or int(text) < 1:
            raise self.error("expected a whole number of 1 or more", "classes")
        if names is not None and len(names) != int(text):
            raise self.error(f"but {self.file('names')} has {len(names)} names", "classes",
                             hint="the two must agree")
        return int(text)

    @property
    def names(self) -> tuple[str, ...] | None:
        """Of the classes; None without ``names=``."""
        return tuple(read_names(self.file("names"))) if self.has("names") else None

    @property
    def top(self) -> int:
        """``top=``: among how many of a classifier's answers the right one is to be; 5 without it (classifier.c).

        Raises:
            DataError: located, when it is no number.
        """
        text = self.options["top"] if self.has("top") else "5"
        if not text.isdecimal() or int(text) < 1:
            raise self.error("expected a whole number of 1 or more", "top")
        return int(text)

    @property
    def class_map(self) -> list[int] | None:
        """Which of the network's classes each class of the labels is; None without ``map=`` (validate_detector).

        Raises:
            DataError: located, for a line that is no number.
        """
        if not self.has("map"):
            return None
        path = self.file("map")
        numbers = []
        for number, line in _lines(path, "a class map"):
            if not line.isdecimal():
                raise DataError(f"{line!r} is no class number", path=path, line=number)
            numbers.append(int(line))
        return numbers

    def file(self, key: str) -> Path:
        """The file that an option names.

        Raises:
            DataError: located, when the option or the file is missing.
        """
        for wrong in () if key in self.options else self._misspelt(key):
            raise self.error("no such key", wrong, hint=f"did you mean {key!r}?")
        if key not in self.options:
            hint = did_you_mean(key, self.options)
            raise self.error(f"needs {key}=, which is missing{hint} (it has {', '.join(self.options)})", key)
        name = self.options[key]
        places = [self.path.parent / name, self.path.parent.parent / name, Path(name)]
        for place in places:
            if place.is_file():
                return place
        raise self.error(f"no such file; looked for {_either(places)}", key)

    def load(self, split: str, *, classes: int | None = None, skip_bad_labels: bool = False,
             limit: int | None = None) -> ImageSet:
        """The images that ``train=``, ``valid=`` or another key lists, with their labels.

        Args:
            split: the key.
            classes: how many the labels may name, where ``map=`` makes that differ from ``classes=``.
            skip_bad_labels: leave bad lines out and count them.
            limit: only the first so many images.

        Raises:
            DataError: located, for whatever is missing or wrong.
        """
        return load_images(self.file(split), classes or self.classes, skip_bad_labels=skip_bad_labels, limit=limit)


# ---- images and their labels --------------------------------------------------------------------------


@dataclass(frozen=True)
class LabelledImage:
    """An image file and what is in it.

    Attributes:
        path: of the image, which is there.
        boxes: (T, 5) float32, rows x, y, w, h, class; centre and size relative to the image.
        label_path: of its label file; None where there is none, so that T is 0.
    """

    path: Path
    boxes: np.ndarray
    label_path: Path | None


@dataclass(frozen=True)
class ImageSet(Sequence[LabelledImage]):
    """A list of images with their labels, all read and checked.

    Attributes:
        path: of the list.
        images: in its order.
        classes: how many there are.
        skipped_labels: how many bad lines of label files were left out.
    """

    path: Path
    images: tuple[LabelledImage, ...]
    classes: int
    skipped_labels: int = 0

    def __len__(self) -> int:
        return len(self.images)

    @overload
    def __getitem__(self, index: int) -> LabelledImage: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[LabelledImage, ...]: ...

    def __getitem__(self, index: int | slice) -> LabelledImage | tuple[LabelledImage, ...]:
        """One image, or several."""
        return self.images[index]

    @property
    def num_boxes(self) -> int:
        """In all images."""
        return sum(len(image.boxes) for image in self.images)

    @property
    def num_unlabelled(self) -> int:
        """How many images have no label file."""
        return sum(image.label_path is None for image in self.images)


def load_images(path: str | Path, classes: int, *, skip_bad_labels: bool = False,
                limit: int | None = None) -> ImageSet:
    """A list of images and their label files.

    An image without a label file has no objects, as in Darknet; a list in which none has one is a mistake.

    Args:
        path: of the list.
        classes: how many there are.
        skip_bad_labels: leave bad lines of label files out and count them.
        limit: only the first so many images.

    Raises:
        DataError: located, for a list, an image or a label that is missing or wrong.
    """
    images: list[LabelledImage] = []
    skipped = 0
    paths = read_image_list(path)[:limit]
    for image in paths:
        label_path = find_labels(image)
        boxes, bad = (no_boxes(), 0) if label_path is None else read_labels(
            label_path, classes, skip_bad=skip_bad_labels)
        images.append(LabelledImage(image, boxes, label_path))
        skipped += bad
    if all(image.label_path is None for image in images):
        raise DataError(f"none of its {len(images)} images has a label file; for the first one, looked for "
                        f"{_either(label_places(paths[0]))}", path=path)
    return ImageSet(Path(path), tuple(images), classes, skipped)


def read_image_list(path: str | Path) -> list[Path]:
    """The images that a list names, one a line, looked for beside the list and in the working directory.

    Raises:
        DataError: for a list that cannot be read or is empty; located, with a count, when images are missing.
    """
    return [image for _, _, image in list_images(path)]


def list_images(path: str | Path) -> list[tuple[int, str, Path]]:
    """The images that a list names, with number and text of their lines.

    Raises:
        DataError: as for ``read_image_list``.
    """
    folder = Path(path).parent
    images: list[tuple[int, str, Path]] = []
    missing: list[tuple[int, str]] = []
    for number, line in _lines(path, "a list of images"):
        found = next((place for place in (folder / line, Path(line)) if place.is_file()), None)
        if found is None:
            missing.append((number, line))
        else:
            images.append((number, line, found))
    if missing:
        number, line = missing[0]
        others = f"; {len(missing)} of its {len(missing) + len(images)} images are missing" if missing[1:] else ""
        raise DataError(f"{line}: no such image; looked for {_either([folder / line, Path(line)])}"
                        f"{others}", path=path, line=number)
    if not images:
        raise DataError("names no images", path=path, hint="expected one path a line")
    return images


def label_places(image: Path) -> list[Path]:
    """Where an image's labels may be: in ``labels`` instead of ``images`` or ``JPEGImages``, or beside it.

    Darknet knows some folders by name (replace_image_to_label in utils.c), and looks beside the image for all others.
    """
    parts = image.parts[:-1]
    folders = [Path(*parts[:index], _LABEL_FOLDER, *parts[index + 1:])
               for index in reversed(range(len(parts))) if parts[index] in _IMAGE_FOLDERS]
    return [folder / f"{image.stem}.txt" for folder in (*folders, image.parent)]


def find_labels(image: Path) -> Path | None:
    """The label file of an image, or None."""
    return next((place for place in label_places(image) if place.is_file()), None)


def read_labels(path: str | Path, classes: int, *, skip_bad: bool = False) -> tuple[np.ndarray, int]:
    """A label file -> (T, 5) float32, rows x, y, w, h, class, and how many bad lines were left out.

    Args:
        path: an empty file has no boxes.
        classes: how many there are.
        skip_bad: leave bad lines out instead of raising.

    Raises:
        DataError: with file and line, for anything but ``class x y width height`` with a class that exists, a centre
            within the image and a size above 0 and up to 1.
    """
    rows: list[list[float]] = []
    skipped = 0
    for number, line in _lines(path, "a label file"):
        try:
            rows.append(_parse_label(line, classes))
        except DataError as error:
            if not skip_bad:
                raise DataError(f"{line!r}: {error}", path=path, line=number) from None
            skipped += 1
    return (np.array(rows, np.float32) if rows else no_boxes()), skipped


def _parse_label(line: str, classes: int) -> list[float]:
    words = line.split()
    if len(words) != LABEL_VALUES:
        raise DataError(f"expected 5 numbers, class x y width height, got {len(words)}")
    if not words[0].isdecimal():
        raise DataError(f"class {words[0]}: expected a whole number, 0 or more")
    if int(words[0]) >= classes:
        raise DataError(f"class {words[0]}: there are {classes} classes, 0 to {classes - 1}")
    try:
        values = [float(word) for word in words[1:]]
    except ValueError:
        raise DataError("expected 5 numbers, class x y width height") from None
    for name, value in zip(_COORDINATES, values, strict=True):
        least_is_in = name in _COORDINATES[:2]
        if not 0 <= value <= 1 or value == 0 and not least_is_in:  # NaN is in no range
            expected = "0 to 1" if least_is_in else "more than 0 and at most 1"
            raise DataError(f"{name} {value:g}: expected {expected}, relative to the image")
    return [*values, int(words[0])]


def no_boxes() -> np.ndarray:
    """(0, 5) float32: nothing is in the image."""
    return np.zeros((0, LABEL_VALUES), np.float32)


# ---- text ---------------------------------------------------------------------------------------------


def _lines(path: str | Path, kind: str) -> Iterator[tuple[int, str]]:
    """Number and text of each line that is not blank, without the blanks around it."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{error.strerror or error}", path=path) from None
    except UnicodeDecodeError:
        raise DataError("is not UTF-8 text", path=path, hint=f"expected {kind}") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line.strip()


def _either(places: Sequence[Path]) -> str:
    return " and ".join(dict.fromkeys(map(str, places)))
