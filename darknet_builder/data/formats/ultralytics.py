"""Ultralytics' ``data.yaml`` and Label Studio's YOLO export: folders of images and labels.

Roboflow and CVAT write the first form too, each with its own paths; the YAML is read by PyYAML.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from darknet_builder.cfg.names import read_names
from darknet_builder.data.formats.darknet import read_list, read_paths, write_yolo_split
from darknet_builder.data.formats.notes import Notes
from darknet_builder.data.formats.placing import Placer
from darknet_builder.data.formats.records import AnnotatedSet, split_name, with_train
from darknet_builder.errors import DataError
from darknet_builder.images.files import IMAGE_SUFFIXES
from darknet_builder.support.extras import load_extra
from darknet_builder.support.files import read_bounded, write_text

EXTRA = "data"
CLASSES = "classes.txt"
YAML = (".yaml", ".yml")
_HAS_NAMES = re.compile(rb"""^["']?names["']?\s*:|\A\s*\{""", re.MULTILINE)
"""A key at the left edge; or a mapping in braces, whose keys may be anywhere."""
_SPLITS = ("train", "val", "test")


def read_ultralytics(path: Path, notes: Notes) -> AnnotatedSet:
    """Read the lists or folders of a ``data.yaml``.

    Args:
        path: the YAML file.
        notes: counts what is changed or left out.

    Raises:
        DataError: for a file that is not Ultralytics', or a list or folder that is missing.
        MissingExtraError: if PyYAML is not installed.
    """
    data = load_yaml(path)
    names = _names(data, path)
    classes = {number: index for index, number in enumerate(names)}
    root = _root(data, path)
    splits = {}
    for key in _SPLITS:
        images = []
        for place in _places(data, key, path):
            found = _find(root, place, path, key)
            if found.is_dir():
                images += read_paths(list(image_files(found)), classes, notes)
            else:
                images += read_list(found, classes, notes)
        splits[split_name(key)] = images
    return AnnotatedSet(tuple(names.values()), with_train(splits), notes)


def read_label_studio(folder: Path, notes: Notes) -> AnnotatedSet:
    """Read a folder with ``classes.txt``, ``images`` and ``labels``.

    Args:
        folder: the folder of the export.
        notes: counts what is changed or left out.
    """
    names = tuple(read_names(folder / CLASSES))
    classes = {index: index for index in range(len(names))}
    images = folder / "images"
    found = list(image_files(images if images.is_dir() else folder))
    if not found:
        raise DataError("has no images", path=folder, hint="export them too: YOLO with Images")
    return AnnotatedSet(names, {"train": read_paths(found, classes, notes)}, notes)


def is_ultralytics(path: Path) -> bool:
    """Return whether a file is YAML with the key ``names``, which every ``data.yaml`` has.

    Example:
        >>> is_ultralytics(Path("cfg/shapes.names"))
        False
    """
    try:
        # The text alone decides: a set in another format may have YAML beside it, and no PyYAML.
        return path.suffix.lower() in YAML and _HAS_NAMES.search(read_bounded(path)) is not None
    except OSError:
        return False


def load_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping of a YAML file.

    Raises:
        DataError: for a file that cannot be read or is not a mapping.
        MissingExtraError: if PyYAML is not installed.
    """
    yaml = load_extra("yaml", EXTRA)
    try:
        data = yaml.safe_load(read_bounded(path))
    except OSError as error:
        raise DataError(f"{error.strerror or error}", path=path) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataError(f"is not YAML: {' '.join(str(error).split())}", path=path) from None
    if not isinstance(data, dict):
        raise DataError("is not a data.yaml", path=path, hint="expected names, train and val")
    return data


def image_files(folder: Path) -> Iterator[Path]:
    """Yield the images in a folder and the folders below it, sorted."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
            yield path


def _names(data: dict[str, Any], path: Path) -> dict[int, str]:
    """Return the class names by number; numbers may have gaps."""
    names = data.get("names")
    if isinstance(names, list):
        names = dict(enumerate(names))
    rows = names.items() if isinstance(names, dict) else [(None, None)]
    # A list as a name could be one that repeats itself without end (YAML's anchors).
    if all(isinstance(key, int) and not isinstance(name, list | dict) for key, name in rows):
        return {key: str(name) for key, name in sorted(rows)}
    raise DataError(
        "names: expected a list, or a mapping from numbers to names",
        path=path,
        hint=None if names else "expected names, train and val, as in Ultralytics' data.yaml",
    )


def _places(data: dict[str, Any], key: str, path: Path) -> list[str]:
    """Return the lists and folders of a split; none if the file lacks it."""
    places = data.get(key) or []
    places = [places] if isinstance(places, str) else places
    if not isinstance(places, list) or not all(isinstance(place, str) for place in places):
        raise DataError(f"{key}: expected a path or a list of paths", path=path)
    return places


def _root(data: dict[str, Any], path: Path) -> Path:
    """Return the folder that the splits are relative to: ``path:``, or that of the file."""
    given = data.get("path")
    if not isinstance(given, str):
        return path.parent
    candidates = (path.parent / given, Path(given))
    # A path on the computer of whoever made the set: the files are beside the YAML file.
    return next((folder for folder in candidates if folder.is_dir()), path.parent)


def _find(root: Path, place: str, path: Path, key: str) -> Path:
    """Return the list or folder of a split.

    Roboflow writes ``../train/images`` for a folder beside the file, which Ultralytics corrects
    (check_det_dataset in data/utils.py).
    """
    bare = place.removeprefix("../").removeprefix("./")
    for one in (root / place, root / bare, path.parent / bare):
        if one.exists():
            return one
    raise DataError(f"{key}: no such list or folder: {place}", path=path)


def write_ultralytics(dataset: AnnotatedSet, folder: Path, placer: Placer) -> Path:
    """Write ``data.yaml``, ``images/SPLIT`` and ``labels/SPLIT``.

    Args:
        dataset: the data set.
        folder: an empty folder.
        placer: puts the images in their places.

    Returns:
        The path of ``data.yaml``.

    Raises:
        MissingExtraError: if PyYAML is not installed.
    """
    yaml = load_extra("yaml", EXTRA)
    data: dict[str, Any] = {}
    for split, images in dataset.splits.items():
        write_yolo_split(images, folder, split, placer)
        data["val" if split == "valid" else split] = f"images/{split}"
    data["names"] = dict(enumerate(dataset.names))
    target = folder / "data.yaml"
    # Without path: Ultralytics then takes the folder of the file.
    write_text(target, yaml.safe_dump(data, sort_keys=False, allow_unicode=True))
    return target
