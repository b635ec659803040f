"""Pascal VOC's XML: one file an image, also as CVAT, Roboflow and LabelImg write it.

Read here and not by a library: supervision 0.31 subtracts 1 from every left and top edge, which
only the devkit's own numbers need, and writes whole pixels; globox 2.9 and datumaro 1.13 lose
images without a file.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree  # noqa: S405 (see parse_xml)

from darknet_builder.data.formats.label_lines import enclosing_box, rotated_corners
from darknet_builder.data.formats.notes import (
    NO_BOX,
    NO_IMAGE,
    OTHER_SIZE,
    POLYGON,
    ROTATED,
    UNLISTED,
    Notes,
)
from darknet_builder.data.formats.placing import Placer
from darknet_builder.data.formats.records import (
    SPLITS,
    AnnotatedImage,
    AnnotatedSet,
    Annotation,
    Box,
    class_ids,
    image_size,
    split_name,
    with_train,
)
from darknet_builder.data.image_list import numbered_lines
from darknet_builder.errors import DataError
from darknet_builder.images.files import IMAGE_SUFFIXES
from darknet_builder.support.files import read_bounded, write_text

ANNOTATIONS, LISTS, IMAGES = "Annotations", "ImageSets/Main", "JPEGImages"
FIRST_PIXELS = (0, 1)
"""The number of the first pixel of a row: 1 in the devkit, 0 in nearly all other programs."""
_ROOT, _BOTH = "annotation", "trainval"
_NO_CLASS = ("background",)
"""A name in CVAT's label map that is not a class."""


def read_voc(folder: Path, images: Path | None, first_pixel: int, notes: Notes) -> AnnotatedSet:
    """Read a folder of XML files.

    With ``ImageSets/Main``, its lists are the splits. Without it, each folder with XML files
    (``train``, ``valid``) is one.

    Args:
        folder: the folder of the data set.
        images: the folder of the images; None looks beside the XML files and in ``JPEGImages``.
        first_pixel: 1 if a box that begins at the edge of the image has ``xmin`` 1, else 0. With 1,
            ``xmax`` is the last pixel of a box; with 0, it is its right edge.
        notes: counts what is changed or left out.

    Raises:
        DataError: for a file that is not VOC's.
    """
    reader = _Reader(images, first_pixel, notes, _label_map(folder))
    splits = {}
    listed = _listed(folder, notes)
    for split, stems in (listed or _folders(folder)).items():
        read = [reader.read(*stem) for stem in stems]
        splits[split] = [image for image in read if image is not None]
    return AnnotatedSet(tuple(reader.classes), with_train(splits), notes)


def _label_map(folder: Path) -> dict[str, int]:
    """Return the classes of CVAT's ``labelmap.txt``, which has them in their order; or none."""
    path = folder / "labelmap.txt"
    if not path.is_file():
        return {}
    names = [line.split(":")[0] for _, line in numbered_lines(path, "a label map")]
    return {
        name: index
        for index, name in enumerate(
            name for name in names if name not in _NO_CLASS and not name.startswith("#")
        )
    }


def _listed(folder: Path, notes: Notes) -> dict[str, list[tuple[Path, str]]]:
    """Return (XML file, name without suffix) for each image of each list; empty without lists."""
    lists = {path.stem: path for path in sorted((folder / LISTS).glob("*.txt"))}
    if {"train", "val"} <= lists.keys():
        lists.pop(_BOTH, None)  # the two together
    # The devkit has lists of classes too, such as cat_train.txt, with a number after each image.
    found: dict[str, list[tuple[Path, str]]] = {}
    for word, path in lists.items():
        lines = [line for _, line in numbered_lines(path, "a list of images")]
        if "_" in word and word.rpartition("_")[2] in lists:
            continue
        stems = [line.strip('"') for line in lines]
        found[split_name(word)] = [(folder / ANNOTATIONS / f"{stem}.xml", stem) for stem in stems]
    named = {path for rows in found.values() for path, _ in rows}
    others = [path for path in (folder / ANNOTATIONS).rglob("*.xml") if path not in named]
    if found:
        notes.add(UNLISTED, folder, len(others))
    return found


def _folders(folder: Path) -> dict[str, list[tuple[Path, str]]]:
    """Return (XML file, name without suffix) for each folder that has XML files."""
    found: dict[str, list[tuple[Path, str]]] = {}
    paths = sorted(folder.rglob("*.xml"))
    top = _folder_of_lists(folder, paths)
    for path in paths:
        within = path.relative_to(top)
        split = split_name(within.parts[0]) if len(within.parts) > 1 else ""
        stem = within.with_suffix("").relative_to(within.parts[0]) if split else Path(path.stem)
        found.setdefault(split, []).append((path, stem.as_posix()))
    for split, rows in found.items():
        if split in SPLITS:
            known = {path.with_suffix("") for path, _ in rows}
            root = rows[0][0].parents[len(Path(rows[0][1]).parts) - 1]
            rows += [
                (path.with_suffix(".xml"), path.relative_to(root).with_suffix("").as_posix())
                for path in sorted(root.rglob("*"))
                if path.suffix.lower() in IMAGE_SUFFIXES and path.with_suffix("") not in known
            ]
    return found


def _folder_of_lists(folder: Path, paths: Sequence[Path]) -> Path:
    """Return the folder whose folders are the splits: the one that has all XML files.

    A repository has other folders beside it, and may have only one split in it.
    """
    top = Path(os.path.commonpath([path.parent for path in paths])) if paths else folder
    while top != folder and split_name(top.name) in SPLITS:
        top = top.parent
    return top


class _Reader:
    """Read XML files and collect their classes.

    Attributes:
        classes: the index of each class.
    """

    def __init__(
        self, images: Path | None, first_pixel: int, notes: Notes, classes: dict[str, int]
    ) -> None:
        self.classes = classes
        self._images, self._first, self._notes = images, first_pixel, notes

    def read(self, path: Path, stem: str) -> AnnotatedImage | None:
        """Read one image, without objects if it has no XML file; None if it cannot be read."""
        root = parse_xml(path, _ROOT) if os.path.isfile(path) else None
        image = self._find(path, stem, "" if root is None else root.findtext("filename", ""))
        if image is None:
            self._notes.add(NO_IMAGE, f"{path}: {stem}")
            return None
        size = image_size(image, self._notes)
        if size is None:
            return None
        name = f"{stem}{image.suffix}"
        if root is None:
            return AnnotatedImage(image, name, size, ())
        scale = self._scale(root, size, path)
        objects = (self._annotation(one, scale, path) for one in root.iterfind("object"))
        return AnnotatedImage(image, name, size, tuple(one for one in objects if one is not None))

    def _find(self, path: Path, stem: str, name: str) -> Path | None:
        """Return the image of an XML file: of its own name, or the one that it names."""
        # LabelImg writes the path on the computer of its user into ``filename`` at times.
        name = name.replace("\\", "/").rpartition("/")[2]
        folders = [self._images] if self._images is not None else list(_image_folders(path))
        for folder in folders:
            names = [f"{stem}{suffix}" for suffix in _suffixes(name)]
            own = [f"{Path(stem).name}{suffix}" for suffix in _suffixes(name)]
            for one in dict.fromkeys((*names, *own, *((name,) if name else ()))):
                if os.path.isfile(folder / one):
                    return folder / one
        return None

    def _scale(
        self, root: ElementTree.Element, size: tuple[int, int], path: Path
    ) -> tuple[float, float]:
        sides = [number_of(root.findtext(f"size/{side}")) for side in ("width", "height")]
        if not all(sides):
            return 1.0, 1.0
        scale = size[0] / (sides[0] or 1), size[1] / (sides[1] or 1)
        if scale != (1.0, 1.0):
            self._notes.add(OTHER_SIZE, path)
        return scale

    def _annotation(
        self, one: ElementTree.Element, scale: tuple[float, float], path: Path
    ) -> Annotation | None:
        name = " ".join(one.findtext("name", "").split())
        box = self._box(one, f"{path}: {name}")
        if box is None or not name:
            self._notes.add(NO_BOX, f"{path}: {name}")
            return None
        left, top, right, bottom = box
        is_difficult = one.findtext("difficult", "0").strip() in ("1", "true", "True")
        if one.find("polygon") is not None:
            self._notes.add(POLYGON, path)
        return Annotation(
            class_ids([name], self.classes)[0],
            (left * scale[0], top * scale[1], right * scale[0], bottom * scale[1]),
            is_difficult=is_difficult,
        )

    def _box(self, one: ElementTree.Element, place: str) -> Box | None:
        """Return the box of an object, the one around a rotated box; None without one."""
        words = [one.findtext(f"bndbox/{key}") for key in ("xmin", "ymin", "xmax", "ymax")]
        values = [value for word in words if (value := number_of(word)) is not None]
        angle = 0.0
        if len(values) == 4:
            left, top, right, bottom = values
            box = left - self._first, top - self._first, right, bottom
            angle = _rotation(one)
        else:  # roLabelImg's: centre, size and an angle in radians
            words = [one.findtext(f"robndbox/{key}") for key in ("cx", "cy", "w", "h", "angle")]
            turned = [value for word in words if (value := number_of(word)) is not None]
            if len(turned) != 5:
                return None
            x, y, w, h, radians = turned
            box, angle = (x - w / 2, y - h / 2, x + w / 2, y + h / 2), math.degrees(radians)
        if angle:
            self._notes.add(ROTATED, place)
            box = enclosing_box(rotated_corners(box, angle))
        return box


def _rotation(one: ElementTree.Element) -> float:
    """Return CVAT's attribute ``rotation`` of an object in degrees, 0 without one."""
    for attribute in one.iterfind("attributes/attribute"):
        if attribute.findtext("name") == "rotation":
            return number_of(attribute.findtext("value")) or 0.0
    return 0.0


def number_of(word: str | None) -> float | None:
    """Return a text as a number; None without a text, or if it is not a number."""
    try:
        return None if word is None else float(word)
    except ValueError:
        return None


def _suffixes(name: str) -> Iterator[str]:
    """Yield the suffixes to try, first that of the name in the file."""
    if Path(name).suffix:
        yield Path(name).suffix
    for suffix in IMAGE_SUFFIXES:
        yield suffix
        yield suffix.upper()


def _image_folders(path: Path) -> Iterator[Path]:
    """Yield the folders in which to look for the image of an XML file."""
    yield path.parent
    for parent in path.parents:
        yield parent / IMAGES
        yield parent / "images"
        if parent.name == ANNOTATIONS:
            yield parent.parent / IMAGES
            yield parent.parent / "images"
            return


def parse_xml(path: Path, tag: str) -> ElementTree.Element:
    """Parse an XML file without a document type, in which entities would be defined.

    Args:
        path: the file.
        tag: the name of its outermost element.

    Raises:
        DataError: for a file that cannot be read, is not XML, or has another outermost element.
    """
    try:
        data = read_bounded(path)
    except OSError as error:
        raise DataError(f"{error.strerror or error}", path=path) from None
    # In UTF-16 the word would be spelt with zeros between its letters.
    if b"<!DOCTYPE" in data or b"\0" in data:
        raise DataError(
            "has a document type or zero bytes, which such files do not have", path=path
        )
    try:
        root = ElementTree.fromstring(data)  # noqa: S314 (no entities, see above)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise DataError(f"is not XML: {error}", path=path) from None
    if root.tag != tag:
        raise DataError(f"has <{root.tag}>, expected <{tag}>", path=path)
    return root


def write_voc(dataset: AnnotatedSet, folder: Path, placer: Placer) -> Path:
    """Write ``Annotations``, ``JPEGImages``, ``ImageSets/Main`` and CVAT's ``labelmap.txt``.

    Boxes are written with the first pixel as 0 and with their fractions, as CVAT does.

    Args:
        dataset: the data set.
        folder: an empty folder.
        placer: puts the images in their places.

    Returns:
        The folder of the data set.
    """
    (folder / LISTS).mkdir(parents=True)
    for split, images in dataset.splits.items():
        stems = []
        for image in images:
            place = Path(placer.place(image, IMAGES)).relative_to(IMAGES)
            target = folder / ANNOTATIONS / place.with_suffix(".xml")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(_xml(image, place.as_posix(), dataset.names), encoding="utf-8")
            stems.append(f"{place.with_suffix('').as_posix()}\n")
        word = "val" if split == "valid" else split
        write_text(folder / LISTS / f"{word}.txt", "".join(stems))
    names = "".join(f"{name}:::\n" for name in dataset.names)
    write_text(folder / "labelmap.txt", f"# label:color_rgb:parts:actions\n{names}")
    return folder


def _xml(image: AnnotatedImage, name: str, names: tuple[str, ...]) -> str:
    root = ElementTree.Element("annotation")
    _add(root, "folder", IMAGES)
    _add(root, "filename", name)
    size = ElementTree.SubElement(root, "size")
    for side, pixels in zip(("width", "height"), image.size, strict=True):
        _add(size, side, pixels)
    _add(size, "depth", 3)
    for one in image.objects:
        row = ElementTree.SubElement(root, "object")
        _add(row, "name", names[one.class_id])
        _add(row, "difficult", int(one.is_difficult))
        box = ElementTree.SubElement(row, "bndbox")
        for key, value in zip(("xmin", "ymin", "xmax", "ymax"), one.box, strict=True):
            _add(box, key, f"{value:.4f}".rstrip("0").rstrip("."))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _add(parent: ElementTree.Element, tag: str, value: object) -> None:
    ElementTree.SubElement(parent, tag).text = str(value)
