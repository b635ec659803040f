"""Recognise the format of a data set by its files, and read it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from darknet_builder.data.formats.coco import is_coco, read_coco, split_of_document
from darknet_builder.data.formats.cvat import is_cvat, read_cvat
from darknet_builder.data.formats.darknet import read_darknet
from darknet_builder.data.formats.notes import Notes
from darknet_builder.data.formats.records import AnnotatedSet
from darknet_builder.data.formats.ultralytics import (
    CLASSES,
    YAML,
    is_ultralytics,
    read_label_studio,
    read_ultralytics,
)
from darknet_builder.data.formats.voc import ANNOTATIONS, read_voc
from darknet_builder.errors import DataError

_EXPECTED = (
    "a .data file, a COCO .json, a data.yaml, CVAT's XML, or a folder of one of them, of Pascal"
    " VOC's XML files, or of Label Studio's classes.txt"
)
_DEEPEST = 3
"""Number of folders in folders in which a data set is looked for, as in an unpacked archive."""


def open_dataset(
    source: str | Path, *, images: str | Path | None = None, first_pixel: int = 0
) -> AnnotatedSet:
    """Read a data set in any format that is known here.

    Args:
        source: a ``.data`` file, a COCO ``.json``, an Ultralytics ``data.yaml``, CVAT's XML, or a
            folder that has one of them, Pascal VOC's XML files, or Label Studio's ``classes.txt``.
        images: the folder of the images of a COCO, CVAT or VOC set; None looks for it.
        first_pixel: number of the first pixel in VOC's boxes: 1 for those of the devkit, else 0.

    Returns:
        The data set, with notes on what was left out or changed.

    Raises:
        DataError: for a source that cannot be read, is of no known format, or has no images.
        MissingExtraError: if it is a YAML file and PyYAML is not installed.

    Example:
        >>> import tempfile
        >>> from darknet_builder.data import write_scenes
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_scenes(folder, {"train": 2, "valid": 1})
        ...     dataset = open_dataset(path)
        >>> {split: len(found) for split, found in dataset.splits.items()}, dataset.names[:2]
        ({'train': 2, 'valid': 1}, ('circle', 'square'))
    """
    path, notes = Path(source), Notes()
    folder = None if images is None else Path(images)
    if not path.exists():
        raise DataError("no such file or folder", path=path)
    read = _reader(path, folder, first_pixel)
    if read is None:
        raise DataError("is not a data set that is known here", path=path, hint=_hint(path))
    dataset = read(notes)
    if not len(dataset):
        left_out = f" ({notes.text()})" if notes.counts else ""
        losses = (place for note, place in notes.first.items() if note.is_loss)
        first = next(losses, None)
        raise DataError(
            f"has no images that can be read{left_out}",
            path=path,
            hint=None if first is None else f"the first is {first}",
        )
    return dataset


def _hint(path: Path) -> str:
    return f"expected {_EXPECTED}" if path.is_dir() else f"expected {_EXPECTED.split(', of')[0]}"


def _reader(
    path: Path, images: Path | None, first_pixel: int
) -> Callable[[Notes], AnnotatedSet] | None:
    """Return the function that reads a source; None for an unknown format."""
    if path.is_file():
        return _file_reader(path, images)
    other_yaml: list[Path] = []
    for folder in _folders(path):
        if (folder / ANNOTATIONS).is_dir() and any((folder / ANNOTATIONS).rglob("*.xml")):
            return lambda notes: read_voc(folder, images, first_pixel, notes)
        files = list(filter(Path.is_file, sorted(folder.iterdir())))
        for one in files:
            if one.suffix.lower() == ".data" or is_ultralytics(one):
                return _file_reader(one, images)
        other_yaml += [one for one in files if one.suffix.lower() in YAML]
        if (folder / CLASSES).is_file():
            return lambda notes: read_label_studio(folder, notes)
    documents = _documents(path)
    if documents:
        return lambda notes: read_coco(documents, images, notes)
    xml = sorted(path.rglob("*.xml"))
    cvat = list(filter(is_cvat, xml))
    if cvat:
        return lambda notes: read_cvat(cvat, images, notes)
    if xml:
        return lambda notes: read_voc(path, images, first_pixel, notes)
    # It may be a spoilt data.yaml: its error says what is missing.
    return _file_reader(other_yaml[0], images) if other_yaml else None


def _file_reader(path: Path, images: Path | None) -> Callable[[Notes], AnnotatedSet] | None:
    suffix = path.suffix.lower()
    if suffix == ".data":
        return lambda notes: read_darknet(path, notes)
    if suffix in YAML:
        return lambda notes: read_ultralytics(path, notes)
    if suffix == ".xml" and is_cvat(path):
        return lambda notes: read_cvat([path], images, notes)
    if suffix == ".json":
        return lambda notes: read_coco({split_of_document(path): path}, images, notes)
    return None


def _folders(path: Path) -> Iterator[Path]:
    """Yield a folder, and the only folder in it: archives often have one around all files."""
    for _ in range(_DEEPEST):
        yield path
        inside = list(path.iterdir())
        if len(inside) != 1 or not inside[0].is_dir():
            return
        path = inside[0]


def _documents(folder: Path) -> dict[str, Path]:
    """Return the COCO documents of a folder by split: ``instances_*.json`` before any others."""
    paths = sorted(folder.rglob("*.json"))
    # By name first: COCO's documents have half a gigabyte, and are read once.
    chosen = [path for path in paths if path.name.startswith("instances_")]
    found: dict[str, Path] = {}
    for path in chosen or filter(_is_coco_file, paths):
        split = split_of_document(path)
        if split in found:
            raise DataError(
                f"has two documents for {split}: {found[split]} and {path}",
                path=folder,
                hint="give one of them",
            )
        found[split] = path
    return found


def _is_coco_file(path: Path) -> bool:
    """Return whether a JSON file is a COCO document."""
    try:
        with path.open("rb") as file:
            data = json.load(file)
    except (OSError, ValueError, RecursionError):
        return False
    return is_coco(data)
