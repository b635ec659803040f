"""Images with boxes in pixels and named classes: what every format is read to and written from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from darknet_builder.data.formats.notes import NO_IMAGE, UNREADABLE, Notes
from darknet_builder.errors import DarknetError
from darknet_builder.images.files import read_image
from darknet_builder.images.header import stated_size

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels; the top left corner of the image is 0, 0."""
_HEAD = 2**18
"""Bytes of a file in which its size is looked for; what EXIF data puts before it is shorter."""
SPLITS = ("train", "valid", "test")
"""The lists of a data set; a source may have others."""
_OTHER_NAMES = {"val": "valid", "validation": "valid", "dev": "valid", "testing": "test"}
_FIRST_SPLIT = "train"


@dataclass(frozen=True)
class Annotation:
    """One object.

    Attributes:
        class_id: index of its class in ``AnnotatedSet.names``.
        box: left, top, right, bottom in pixels.
        is_crowd: True for COCO's crowds: a region of several objects.
        is_difficult: True for VOC's difficult objects.
        outline: COCO's ``segmentation``, polygons in pixels or run lengths; None without one.
        area: area of the outline in pixels, as COCO gives it; None for that of the box.

    Example:
        >>> Annotation(0, (2.0, 2.0, 6.0, 5.0)).box_area
        12.0
    """

    class_id: int
    box: Box
    is_crowd: bool = False
    is_difficult: bool = False
    outline: Any = None
    area: float | None = None

    @property
    def box_area(self) -> float:
        """The area of the box in pixels."""
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])


@dataclass(frozen=True)
class AnnotatedImage:
    """An image file and its objects.

    Attributes:
        path: the file.
        name: its path within a written data set, with ``/``; several images of one split differ.
        size: width and height in pixels.
        objects: the objects, in the order of the source.

    Example:
        >>> AnnotatedImage(Path("in/a.jpg"), "a.jpg", (64, 48), ()).size
        (64, 48)
    """

    path: Path
    name: str
    size: tuple[int, int]
    objects: tuple[Annotation, ...]


@dataclass(frozen=True)
class AnnotatedSet:
    """A data set.

    Attributes:
        names: the classes.
        splits: the images of ``train``, ``valid``, ``test`` or other splits, by name.
        notes: what was changed or left out when it was read.

    Example:
        >>> image = AnnotatedImage(Path("a.jpg"), "a.jpg", (64, 48), ())
        >>> len(AnnotatedSet(("cat",), {"train": [image]}))
        1
    """

    names: tuple[str, ...]
    splits: dict[str, list[AnnotatedImage]]
    notes: Notes = field(default_factory=Notes)

    def __len__(self) -> int:
        return sum(map(len, self.splits.values()))

    @property
    def num_objects(self) -> int:
        """The number of objects in all images."""
        return sum(len(image.objects) for images in self.splits.values() for image in images)


def split_name(word: str) -> str:
    """Return the name of a split here: ``val`` and ``validation`` are ``valid``.

    Example:
        >>> split_name("Validation"), split_name("val2017"), split_name("train")
        ('valid', 'valid', 'train')
    """
    word = word.lower()
    plain = word.rstrip("0123456789") or word
    return _OTHER_NAMES.get(plain, plain if plain in SPLITS else word)


def with_train(splits: dict[str, list[AnnotatedImage]]) -> dict[str, list[AnnotatedImage]]:
    """Return the splits without empty ones; a single one of an unknown name becomes ``train``."""
    filled = {name: images for name, images in splits.items() if images}
    if len(filled) == 1 and not filled.keys() & set(SPLITS):
        return {_FIRST_SPLIT: next(iter(filled.values()))}
    return filled


def image_size(path: Path, notes: Notes) -> tuple[int, int] | None:
    """Return width and height of an image file; None, with a note, if it cannot be read.

    Args:
        path: the file.
        notes: counts files that are missing or cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except (OSError, ValueError):  # ValueError: a name with a zero byte
        notes.add(NO_IMAGE, path)
        return None
    # EXIF data may turn the image by 90 degrees, which only decoding shows.
    size = None if b"Exif" in head[:_HEAD] else stated_size(head)
    if size is not None and min(size) > 0:
        return size
    try:
        height, width = read_image(path).shape[:2]
    except DarknetError:
        notes.add(UNREADABLE, path)
        return None
    return width, height


def names_within(paths: Sequence[Path]) -> list[str]:
    """Return names for images: their paths below the folder that contains all of them.

    Example:
        >>> names_within([Path("a/images/x.jpg"), Path("a/images/b/x.jpg")])
        ['x.jpg', 'b/x.jpg']
    """
    if not paths:
        return []
    common = os.path.commonpath([os.path.abspath(path.parent) for path in paths])
    return [Path(os.path.relpath(os.path.abspath(path), common)).as_posix() for path in paths]


def class_ids(names: Iterable[str], known: dict[str, int]) -> list[int]:
    """Return the index of each name in ``known``, to which new names are added.

    Example:
        >>> known = {"cat": 0}
        >>> class_ids(["dog", "cat"], known), known
        ([1, 0], {'cat': 0, 'dog': 1})
    """
    return [known.setdefault(name, len(known)) for name in names]
