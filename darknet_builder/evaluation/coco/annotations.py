"""COCO's annotation files, such as ``instances_val2017.json``: images, objects and categories."""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from darknet_builder.boxes.formats import LABEL_VALUES
from darknet_builder.data.image_set import ImageSet, LabelledImage
from darknet_builder.data.labels import no_boxes
from darknet_builder.errors import DataError, DataWarning, did_you_mean
from darknet_builder.evaluation.coco.results import result_rows
from darknet_builder.evaluation.darknet_map import ImageBoxes
from darknet_builder.support.files import read_bounded
from darknet_builder.support.text import plural

_MOST_BYTES = 2**31
"""Bytes of an annotation file; that of COCO's training images has 450 MB."""
_EXPECTED = "expected COCO's annotations: lists of images, annotations and categories"
_RENAMED = {"aeroplane": "airplane", "motorbike": "motorcycle", "sofa": "couch", "tvmonitor": "tv"}
"""Names in Darknet's coco.names, which has VOC's, and COCO's names of the same classes. Two more,
``diningtable`` and ``pottedplant``, differ by a space only."""


@dataclass(frozen=True)
class CocoSet:
    """The images of an annotation file that a network is evaluated on, with their objects.

    Attributes:
        path: the annotation file.
        images: the images with the objects that must be found: those of the network's classes, but
            no crowds.
        image_ids: COCO's number of each image.
        image_sizes: (width, height) in pixels of each image, as the file states them.
        category_ids: COCO's category of each class of the network.
        names: the name of each of these categories.
        annotations: the objects and crowds of the network's classes in these images; None if the
            file has no annotations, like those of COCO's test images.
        num_crowds: number of annotations with ``iscrowd``.
    """

    path: Path
    images: ImageSet
    image_ids: tuple[int, ...]
    image_sizes: tuple[tuple[int, int], ...]
    category_ids: tuple[int, ...]
    names: tuple[str, ...]
    annotations: tuple[dict[str, Any], ...] | None
    num_crowds: int

    def result_rows(self, boxes: Sequence[ImageBoxes]) -> Iterator[list[str]]:
        """Yield the rows of COCO's results file for each image.

        Args:
            boxes: detections of each image, in the order of ``images``.
        """
        for image, image_id, size in zip(boxes, self.image_ids, self.image_sizes, strict=True):
            yield result_rows(
                image.boxes_cxcywh,
                image.scores,
                image.class_ids,
                image_id=image_id,
                image_size=size,
                category_ids=self.category_ids,
            )

    def warn_of_sizes(self, boxes: Sequence[ImageBoxes]) -> None:
        """Warn once if image files have another size than the annotations state.

        Boxes are relative to the image, so copies at another scale are measured correctly.

        Args:
            boxes: detections of each image, in the order of ``images``.
        """
        pairs = zip(self.images, boxes, self.image_sizes, strict=True)
        others = [
            (image.path, found.image_size, size)
            for image, found, size in pairs
            if found.image_size != size
        ]
        if others:
            path, (width, height), size = others[0]
            text = (
                f"{len(others)} of {len(boxes)} image files have another size than it states, such"
                f" as {path}: {width} x {height} instead of {size[0]} x {size[1]}; boxes are scaled"
                " to the stated size"
            )
            warnings.warn(DataWarning(text, path=self.path), stacklevel=2)


def load_annotations(
    path: str | Path,
    folder: str | Path,
    *,
    names: Sequence[str],
    classes: int,
    limit: int | None = None,
) -> CocoSet:
    """Load an annotation file for a network, and find its images.

    Args:
        path: the annotation file.
        folder: the folder with the images.
        names: names of the network's classes, which are looked up among the categories; empty to
            take the categories in the order of their ids, as Darknet does (detector.c:22).
        classes: number of classes of the network.
        limit: load only this number of images from the start of the file; None for all.

    Raises:
        DataError: for a file that cannot be read or lacks something, for a class without a
            category, or if images are missing.
    """
    document = _read(path)
    categories = {row["id"]: row["name"] for row in document["categories"]}
    category_ids = match_categories(names, categories, path, classes)
    rows = document["images"][:limit]
    files = _find_images(path, Path(folder), [row["file_name"] for row in rows])
    sizes = {row["id"]: (row["width"], row["height"]) for row in rows}
    chosen, truths = None, dict.fromkeys(sizes, no_boxes())
    if "annotations" in document:
        in_images = [row for row in document["annotations"] if row["image_id"] in sizes]
        chosen = tuple(_of_classes(in_images, categories, category_ids, path))
        truths = _truths(chosen, sizes, category_ids)
    images = tuple(
        LabelledImage(file, truths[row["id"]], Path(path))
        for file, row in zip(files, rows, strict=True)
    )
    return CocoSet(
        Path(path),
        ImageSet(Path(path), images, classes),
        tuple(sizes),
        tuple(sizes.values()),
        category_ids,
        tuple(categories[number] for number in category_ids),
        chosen,
        sum(bool(row["iscrowd"]) for row in chosen or ()),
    )


# ---- categories ----------------------------------------------------------------------------------


def match_categories(
    names: Sequence[str], categories: Mapping[int, str], path: str | Path, classes: int
) -> tuple[int, ...]:
    """Return COCO's category of each class.

    Case, spaces, hyphens and underscores do not matter, and the names of Darknet's coco.names are
    known, such as ``aeroplane`` for ``airplane``.

    Args:
        names: names of the network's classes; empty to take the categories in order.
        categories: the name of each category by its id.
        path: the annotation file, for messages.
        classes: number of classes of the network.

    Raises:
        DataError: if a class has no category, or shares one.

    Example:
        >>> match_categories(["tvmonitor", "cat"], {17: "cat", 72: "tv"}, "instances.json", 2)
        (72, 17)
    """
    if not names:
        if len(categories) != classes:
            raise DataError(
                f"has {len(categories)} categories, and the network {classes} classes without"
                " names",
                path=path,
                argument="names",
            )
        return tuple(sorted(categories))
    by_name = {_plain(name): number for number, name in reversed(list(categories.items()))}
    missing = [name for name in names if _plain(name) not in by_name]
    if missing:
        raise DataError(
            f"{len(missing)} of the network's {len(names)} classes are not among its"
            f" {len(categories)} categories, such as {missing[0]!r}",
            path=path,
            hint=did_you_mean(missing[0], categories.values()),
            argument="names",
        )
    found = tuple(by_name[_plain(name)] for name in names)
    if len(set(found)) < len(found):
        first = next(number for number in found if found.count(number) > 1)
        raise DataError(
            f"several classes of the network are its category {categories[first]!r}",
            path=path,
            argument="names",
        )
    return found


def _plain(name: str) -> str:
    plain = "".join(letter for letter in name.lower() if letter not in " -_")
    return _RENAMED.get(plain, plain)


def _of_classes(
    rows: Sequence[dict[str, Any]],
    categories: Mapping[int, str],
    category_ids: Sequence[int],
    path: str | Path,
) -> Iterator[dict[str, Any]]:
    """Yield what is measured of each annotation of the network's classes; warn once of others."""
    known = set(category_ids)
    others = [row for row in rows if row["category_id"] not in known]
    if others:
        text = (
            f"{len(others)} {plural(len(others), 'object')} of categories that are not classes of"
            f" the network, such as {categories[others[0]['category_id']]!r}, are left out"
        )
        warnings.warn(DataWarning(text, path=path), stacklevel=3)
    kept = (row for row in rows if row["category_id"] in known)
    # Numbered from 1, because pycocotools reads an id of 0 as "no match".
    for number, row in enumerate(kept, start=1):
        values = {key: row[key] for key in ("image_id", "category_id", "bbox", "area")}
        yield {**values, "iscrowd": int(bool(row.get("iscrowd"))), "id": number}


# ---- images --------------------------------------------------------------------------------------


def _find_images(path: str | Path, folder: Path, names: Sequence[str]) -> list[Path]:
    if not os.path.isdir(folder):
        raise DataError("no such folder", path=folder, argument="folder")
    files = [folder / name for name in names]
    missing = [file for file in files if not os.path.isfile(file)]
    if missing:
        raise DataError(
            f"{len(missing)} of its {len(files)} images are missing; the first is {missing[0]}",
            path=path,
            argument="folder",
        )
    return files


def _truths(
    rows: Sequence[dict[str, Any]],
    sizes: Mapping[int, tuple[int, int]],
    category_ids: Sequence[int],
) -> dict[int, np.ndarray]:
    """Return (T, 5) float32 for each image: x, y, w, h, class, relative to the image; no crowds."""
    classes = {number: class_id for class_id, number in enumerate(category_ids)}
    lists: dict[int, list[list[float]]] = {image_id: [] for image_id in sizes}
    for row in rows:
        if row["iscrowd"]:
            continue
        left, top, box_width, box_height = row["bbox"]
        width, height = sizes[row["image_id"]]
        centre = ((left + box_width / 2) / width, (top + box_height / 2) / height)
        size = (box_width / width, box_height / height)
        lists[row["image_id"]].append([*centre, *size, classes[row["category_id"]]])
    return {
        image_id: np.array(boxes, np.float32).reshape(-1, LABEL_VALUES)
        for image_id, boxes in lists.items()
    }


# ---- the file ------------------------------------------------------------------------------------


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_length(value: Any) -> bool:
    return _is_integer(value) and value >= 1


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value >= 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_box(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 4:
        return False
    is_place = all(isinstance(number, int | float) and math.isfinite(number) for number in value)
    return is_place and value[2] >= 0 and value[3] >= 0


_NUMBER = (_is_integer, "a whole number")
_PIXELS = (_is_length, "a number of pixels")
_CHECKS: dict[str, dict[str, tuple[Callable[[Any], bool], str]]] = {
    "categories": {"id": _NUMBER, "name": (_is_text, "a text")},
    "images": {
        "id": _NUMBER,
        "file_name": (_is_text, "a text"),
        "width": _PIXELS,
        "height": _PIXELS,
    },
    "annotations": {
        "image_id": _NUMBER,
        "category_id": _NUMBER,
        "bbox": (_is_box, "left, top, width and height in pixels"),
        "area": (_is_number, "a number of pixels"),
    },
}
"""The keys that are used, with a test of each value and its wording."""


def _read(path: str | Path) -> dict[str, Any]:
    """Read an annotation file, and check everything that is used of it."""
    try:
        document = json.loads(read_bounded(path, _MOST_BYTES))
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path=path) from None
    except (ValueError, RecursionError):
        raise DataError("is not a JSON file", path=path, hint=_EXPECTED) from None
    if not isinstance(document, dict):
        raise DataError("is not an object with lists", path=path, hint=_EXPECTED)
    for key, checks in _CHECKS.items():
        # COCO's files for its test images have no annotations.
        rows = document.get(key, [] if key == "annotations" else None)
        if not isinstance(rows, list) or not rows and key != "annotations":
            raise DataError(f"has no list of {key}", path=path, hint=_EXPECTED)
        for number, row in enumerate(rows):
            for name, (is_right, expected) in checks.items():
                if not (isinstance(row, dict) and is_right(row.get(name))):
                    text = f"{key}[{number}]: {name} is missing or is not {expected}"
                    raise DataError(text, path=path)
    _check_references(path, document)
    return document


def _check_references(path: str | Path, document: Mapping[str, Any]) -> None:
    """Raise if ids are used twice, or an annotation names an unknown image or category."""
    known = {}
    for key in ("images", "categories"):
        known[key] = {row["id"] for row in document[key]}
        if len(known[key]) < len(document[key]):
            raise DataError(f"two {key} have the same id", path=path)
    for number, row in enumerate(document.get("annotations", ())):
        for key, name in (("images", "image_id"), ("categories", "category_id")):
            if row[name] not in known[key]:
                text = f"annotations[{number}]: {name} {row[name]} is not among its {key}"
                raise DataError(text, path=path)
