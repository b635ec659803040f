"""CVAT's own XML ("CVAT for images 1.1"): one file with all images of a task or a split."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree  # noqa: S405 (voc.parse_xml refuses entities)

from darknet_builder.data.formats.label_lines import enclosing_box, rotated_corners
from darknet_builder.data.formats.notes import (
    NO_BOX,
    NO_IMAGE,
    OTHER_SIZE,
    ROTATED,
    Note,
    Notes,
)
from darknet_builder.data.formats.records import (
    AnnotatedImage,
    AnnotatedSet,
    Annotation,
    Box,
    class_ids,
    image_size,
    split_name,
    with_train,
)
from darknet_builder.data.formats.voc import number_of, parse_xml

_ROOT = "annotations"
_HEAD = 2**10
_SIDES = ("width", "height")
_CORNERS = ("xtl", "ytl", "xbr", "ybr")
_NO_OBJECTS = ("tag",)
"""Elements of an image that are not objects: labels of the whole image."""
OTHER_SHAPE = Note("shape", "shapes", "other than boxes and polygons left out", is_loss=True)


def is_cvat(path: Path) -> bool:
    """Return whether a file begins as CVAT's XML."""
    try:
        with path.open("rb") as file:
            return f"<{_ROOT}>".encode() in file.read(_HEAD)
    except OSError:
        return False


def read_cvat(paths: Sequence[Path], images: Path | None, notes: Notes) -> AnnotatedSet:
    """Read XML files.

    The split of an image is its attribute ``subset``; without one, the name of the file.

    Args:
        paths: the files.
        images: the folder of the images; None looks beside the files and in ``images``.
        notes: counts what is changed or left out.

    Raises:
        DataError: for a file that is not CVAT's.
    """
    classes: dict[str, int] = {}
    splits: dict[str, list[AnnotatedImage]] = {}
    for path in paths:
        root = parse_xml(path, _ROOT)
        class_ids((one.text or "" for one in root.iterfind("meta//labels/label/name")), classes)
        for element in root.iterfind("image"):
            image = _image(element, path, images, classes, notes)
            if image is not None:
                split = split_name(element.get("subset") or path.stem)
                splits.setdefault(split, []).append(image)
    return AnnotatedSet(tuple(classes), with_train(splits), notes)


def _image(
    element: ElementTree.Element,
    path: Path,
    images: Path | None,
    classes: dict[str, int],
    notes: Notes,
) -> AnnotatedImage | None:
    name = element.get("name", "")
    folders = [images] if images is not None else list(_folders(path, element.get("subset")))
    places = (folder / name for folder in folders)
    found = next((place for place in places if name and os.path.isfile(place)), None)
    if found is None:
        notes.add(NO_IMAGE, f"{path}: {name}")
        return None
    size = image_size(found, notes)
    if size is None:
        return None
    annotated = [number_of(element.get(side)) or size[index] for index, side in enumerate(_SIDES)]
    scale = size[0] / annotated[0], size[1] / annotated[1]
    if scale != (1.0, 1.0):
        notes.add(OTHER_SIZE, found)
    objects = []
    for shape in element:
        one = _annotation(shape, scale, classes, notes, f"{path}: {name}")
        if one is not None:
            objects.append(one)
    return AnnotatedImage(found, name, size, tuple(objects))


def _annotation(
    shape: ElementTree.Element,
    scale: tuple[float, float],
    classes: dict[str, int],
    notes: Notes,
    place: str,
) -> Annotation | None:
    if shape.tag in _NO_OBJECTS:
        return None
    if shape.tag not in ("box", "polygon"):
        notes.add(OTHER_SHAPE, place)
        return None
    corners = _corners(shape, notes, place)
    label = shape.get("label", "")
    if corners is None or not label:
        notes.add(NO_BOX, place)
        return None
    scaled = [(x * scale[0], y * scale[1]) for x, y in corners]
    is_polygon = shape.tag == "polygon"
    outline = [[value for corner in scaled for value in corner]] if is_polygon else None
    class_id = class_ids([label], classes)[0]
    return Annotation(class_id, enclosing_box(scaled), outline=outline)


def _corners(
    shape: ElementTree.Element, notes: Notes, place: str
) -> list[tuple[float, float]] | None:
    """Return the corners of a box, which may be rotated, or of a polygon."""
    if shape.tag == "polygon":
        pairs = [pair.split(",") for pair in shape.get("points", "").split(";")]
        numbers = [[number_of(word) for word in pair] for pair in pairs]
        corners = [(x, y) for x, y in _pairs(numbers)]
        return corners if len(corners) == len(pairs) else None
    values = [value for key in _CORNERS if (value := number_of(shape.get(key))) is not None]
    if len(values) != len(_CORNERS):
        return None
    left, top, right, bottom = values
    box: Box = left, top, right, bottom
    angle = number_of(shape.get("rotation")) or 0.0
    if angle:
        notes.add(ROTATED, place)
    return rotated_corners(box, angle)


def _pairs(numbers: list[list[float | None]]) -> Iterator[tuple[float, float]]:
    for pair in numbers:
        if len(pair) == 2 and pair[0] is not None and pair[1] is not None:
            yield pair[0], pair[1]


def _folders(path: Path, subset: str | None) -> Iterator[Path]:
    """Yield the folders in which to look for images, the likeliest first."""
    for word in (subset, path.stem):
        if word:
            yield path.parent / "images" / word
    yield path.parent / "images"
    yield path.parent
