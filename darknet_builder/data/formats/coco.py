"""COCO's JSON: read and write ``instances`` documents, also those of CVAT and Roboflow.

Read here and not by a library: supervision 0.31 and globox 2.9 ignore CVAT's ``rotation``, globox
loses ``iscrowd`` and supervision refuses equal names in two folders; datumaro 1.13 makes two
objects of one with an outline. All three ignore boxes that they cannot use.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

from darknet_builder.data.formats.label_lines import enclosing_box, rotated_corners
from darknet_builder.data.formats.notes import (
    GROUP,
    NO_BOX,
    NO_IMAGE,
    OTHER_SIZE,
    ROTATED,
    UNKNOWN_CLASS,
    Notes,
)
from darknet_builder.data.formats.placing import Placer
from darknet_builder.data.formats.records import (
    AnnotatedImage,
    AnnotatedSet,
    Annotation,
    Box,
    image_size,
    split_name,
    with_train,
)
from darknet_builder.errors import DataError
from darknet_builder.support.files import read_bounded, write_text

_MOST_BYTES = 2**32
"""Bytes of a document; COCO's own largest has half a gigabyte."""
_LISTS = ("images", "annotations", "categories")
_IDS = ("id", "image_id", "category_id", "supercategory")
_PREFIXES = ("instances_", "person_keypoints_")


def read_coco(documents: dict[str, Path], folder: Path | None, notes: Notes) -> AnnotatedSet:
    """Read a document for each split.

    Args:
        documents: the document of each split.
        folder: the folder of the images; None looks beside the document and in its neighbours.
        notes: counts what is changed or left out.

    Raises:
        DataError: for a document that is not COCO's.
    """
    loaded = {split: _load(path) for split, path in documents.items()}
    names: dict[str, int] = {}
    splits = {}
    for split, path in documents.items():
        categories = _categories(loaded[split], path, notes)
        for name in categories.values():
            names.setdefault(name, len(names))
        ids = {number: names[name] for number, name in categories.items()}
        splits[split] = _Reader(path, folder, split, ids, notes).read(loaded[split])
    return AnnotatedSet(tuple(names), with_train(splits), notes)


def split_of_document(path: Path) -> str:
    """Return the split that a document is for, from its name or its folder.

    Example:
        >>> split_of_document(Path("annotations/instances_val2017.json"))
        'valid'
        >>> split_of_document(Path("test/_annotations.coco.json"))
        'test'
    """
    if path.name.startswith("_"):  # Roboflow's, in the folder of its images
        return split_name(path.parent.name)
    stem = path.stem
    for prefix in _PREFIXES:
        stem = stem.removeprefix(prefix)
    return split_name(stem)


def is_coco(data: object) -> bool:
    """Return whether a JSON document has COCO's lists."""
    return isinstance(data, dict) and all(isinstance(data.get(key), list) for key in _LISTS)


def _load(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(read_bounded(path, _MOST_BYTES))
    except OSError as error:
        raise DataError(f"{error.strerror or error}", path=path) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"is not JSON: {error}", path=path) from None
    if not is_coco(data):
        raise DataError(
            "is not a COCO document", path=path, hint="expected images, annotations and categories"
        )
    for key in _LISTS:
        for row in data[key]:
            _check_row(row, key, path)
    return dict(data)


def _check_row(row: object, key: str, path: Path) -> None:
    """Raise for an entry that is not a mapping, or whose ids are lists or mappings."""
    if not isinstance(row, dict):
        raise DataError(f"{key}: expected a mapping, got {row!r:.80}", path=path)
    for name in _IDS:
        if isinstance(row.get(name), list | dict):
            raise DataError(
                f"{key}: expected a number for {name}, got {row[name]!r:.80}", path=path
            )


def _categories(data: dict[str, Any], path: Path, notes: Notes) -> dict[Any, str]:
    """Return the name of each category, by id in ascending order.

    Roboflow adds a category without objects that is only the group of the others.
    """
    used = {one.get("category_id") for one in data["annotations"]}
    groups = {one.get("supercategory") for one in data["categories"]}
    found = {}
    for one in data["categories"]:
        if not isinstance(one.get("name"), str) or "id" not in one:
            raise DataError(f"a category needs id and name, got {one!r:.80}", path=path)
        is_group = one["name"] in groups and one.get("supercategory") in ("none", "", None)
        if is_group and one["id"] not in used:
            notes.add(GROUP, path)
            continue
        found[one["id"]] = one["name"]
    try:
        return dict(sorted(found.items()))
    except TypeError:  # ids of several types
        return found


class _Reader:
    """Read the images of one document.

    Args:
        path: the document.
        folder: the folder of the images; None looks for it.
        split: the split, which may be the name of a folder.
        ids: the class of each category id.
        notes: counts what is changed or left out.
    """

    def __init__(
        self, path: Path, folder: Path | None, split: str, ids: dict[Any, int], notes: Notes
    ) -> None:
        self._path, self._ids, self._notes = path, ids, notes
        self._folders = [folder] if folder is not None else _image_folders(path, split)

    def read(self, data: dict[str, Any]) -> list[AnnotatedImage]:
        """Read them in the order of the document."""
        objects: defaultdict[Any, list[dict[str, Any]]] = defaultdict(list)
        for one in data["annotations"]:
            objects[one.get("image_id")].append(one)
        found = []
        for image in data["images"]:
            name = image.get("file_name")
            if not isinstance(name, str) or not name:
                raise DataError(f"an image needs file_name, got {image!r:.80}", path=self._path)
            path = self._find(name)
            if path is None:
                self._notes.add(NO_IMAGE, name)
                continue
            size = image_size(path, self._notes)
            if size is not None:
                rows = objects[image.get("id")]
                found.append(self._image(path, name, size, image, rows))
        return found

    def _find(self, name: str) -> Path | None:
        paths = (folder / name for folder in self._folders)
        return next((path for path in paths if os.path.isfile(path)), None)

    def _image(
        self,
        path: Path,
        name: str,
        size: tuple[int, int],
        image: dict[str, Any],
        rows: list[dict[str, Any]],
    ) -> AnnotatedImage:
        annotated = image.get("width"), image.get("height")
        scale = 1.0, 1.0
        if all(isinstance(side, int | float) and side > 0 for side in annotated):
            scale = size[0] / annotated[0], size[1] / annotated[1]  # type: ignore[operator]
        if scale != (1.0, 1.0):
            self._notes.add(OTHER_SIZE, path)
        objects = (self._annotation(row, scale) for row in rows)
        return AnnotatedImage(path, name, size, tuple(one for one in objects if one is not None))

    def _annotation(self, row: dict[str, Any], scale: tuple[float, float]) -> Annotation | None:
        place = f"{self._path}: annotation {row.get('id')}"
        class_id = self._ids.get(row.get("category_id"))
        if class_id is None:
            self._notes.add(UNKNOWN_CLASS, place)
            return None
        box = _box(row)
        if box is None:
            self._notes.add(NO_BOX, place)
            return None
        attributes = row.get("attributes")
        angle = attributes.get("rotation") if isinstance(attributes, dict) else None
        is_rotated = isinstance(angle, int | float) and angle != 0
        if is_rotated:
            self._notes.add(ROTATED, place)
            box = enclosing_box(rotated_corners(box, float(angle or 0)))
        left, top, right, bottom = box
        area = row.get("area")
        same = scale == (1.0, 1.0) and not is_rotated
        return Annotation(
            class_id,
            (left * scale[0], top * scale[1], right * scale[0], bottom * scale[1]),
            is_crowd=bool(row.get("iscrowd")),
            outline=row.get("segmentation") or None if same else None,
            area=area if same and isinstance(area, int | float) else None,
        )


def _box(row: dict[str, Any]) -> Box | None:
    """Return the box of an annotation, or the one around its polygons; None without either."""
    box, outline = row.get("bbox"), row.get("segmentation")
    try:
        if isinstance(box, list) and len(box) == 4:
            left, top, width, height = map(float, box)
            return left, top, left + width, top + height
        if isinstance(outline, list) and outline:
            values = [float(value) for polygon in outline for value in polygon]
            return enclosing_box(list(zip(values[::2], values[1::2], strict=True)))
    except (TypeError, ValueError):
        return None
    return None


def _image_folders(path: Path, split: str) -> list[Path]:
    """Return the folders in which to look for images, the likeliest first.

    ``annotations/instances_val2017.json`` has them in ``val2017``, ``images/val2017`` or
    ``images``; Roboflow's document is beside them.
    """
    word = path.stem
    for prefix in _PREFIXES:
        word = word.removeprefix(prefix)
    root = path.parent.parent
    words = dict.fromkeys((word, split))
    named = [folder for one in words for folder in (root / "images" / one, root / one)]
    return [path.parent, *named, root / "images", path.parent / "images", root]


def write_coco(dataset: AnnotatedSet, folder: Path, placer: Placer) -> Path:
    """Write ``annotations/instances_SPLIT.json`` and ``images/SPLIT``, as CVAT does.

    Category ids are 1 and up. Crowds, outlines and their areas are kept.

    Args:
        dataset: the data set.
        folder: an empty folder.
        placer: puts the images in their places.

    Returns:
        The folder of the documents.
    """
    target = folder / "annotations"
    target.mkdir()
    categories = [
        {"id": number, "name": name, "supercategory": ""}
        for number, name in enumerate(dataset.names, start=1)
    ]
    for split, images in dataset.splits.items():
        below = f"images/{split}"
        rows: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for number, image in enumerate(images, start=1):
            name = placer.place(image, below).removeprefix(f"{below}/")
            width, height = image.size
            rows.append({"id": number, "file_name": name, "width": width, "height": height})
            annotations += [_row(one, number) for one in image.objects]
        for number, row in enumerate(annotations, start=1):
            row["id"] = number
        document = {"images": rows, "annotations": annotations, "categories": categories}
        write_text(target / f"instances_{split}.json", json.dumps(document) + "\n")
    return target


def _row(one: Annotation, image: int) -> dict[str, Any]:
    left, top, right, bottom = one.box
    return {
        "image_id": image,
        "category_id": one.class_id + 1,
        "bbox": [round(value, 4) for value in (left, top, right - left, bottom - top)],
        "area": one.box_area if one.area is None else one.area,
        "iscrowd": int(one.is_crowd),
        "segmentation": [] if one.outline is None else one.outline,
    }
