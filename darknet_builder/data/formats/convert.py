"""Convert a data set to another format: read, tidy, filter by class, write whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from darknet_builder.cfg.names import find_classes
from darknet_builder.data.formats.coco import write_coco
from darknet_builder.data.formats.darknet import write_darknet
from darknet_builder.data.formats.finding import open_dataset
from darknet_builder.data.formats.kinds import FORMATS
from darknet_builder.data.formats.notes import (
    CLIPPED,
    CROWD,
    DIFFICULT,
    EMPTY,
    MASK,
    NO_AREA,
    OTHER_CLASS,
    OUTSIDE,
    POLYGON,
    Note,
    Notes,
)
from darknet_builder.data.formats.placing import Placer
from darknet_builder.data.formats.records import AnnotatedImage, AnnotatedSet, Annotation
from darknet_builder.data.formats.ultralytics import write_ultralytics
from darknet_builder.data.formats.voc import write_voc
from darknet_builder.errors import DataError, InputError
from darknet_builder.support.files import writing
from darknet_builder.support.text import plural

_WRITERS: dict[str, Callable[[AnnotatedSet, Path, Placer], Path]] = dict(
    zip(FORMATS, (write_coco, write_darknet, write_ultralytics, write_voc), strict=True)
)
_COCO, _VOC = "coco", "voc"
_ROUNDING = 1e-5
"""Part of the image by which a box may exceed it: labels have six decimals."""


@dataclass(frozen=True)
class Conversion:
    """What a conversion wrote.

    Attributes:
        path: the file or folder to give to a program that reads the format.
        dataset: what was written, with notes on everything that was changed or left out.

    Example:
        >>> dataset = AnnotatedSet(("cat",), {"train": []})
        >>> Conversion(Path("new/new.data"), dataset).text()
        'new/new.data: 0 images (0 train), 0 objects of 1 class'
    """

    path: Path
    dataset: AnnotatedSet

    def text(self) -> str:
        """Return the counts of images, objects and classes in one line."""
        dataset = self.dataset
        images, objects, classes = len(dataset), dataset.num_objects, len(dataset.names)
        splits = ", ".join(f"{len(found)} {split}" for split, found in dataset.splits.items())
        return (
            f"{self.path}: {images} {plural(images, 'image')} ({splits}), {objects}"
            f" {plural(objects, 'object')} of {classes} {plural(classes, 'class')}"
        )

    def summary(self) -> str:
        """Return lines with all counts, and the first place of each loss."""
        notes = self.dataset.notes
        lines = [self.text()]
        if notes.counts:
            lines.append(notes.text())
        for note, place in notes.first.items():
            if note.is_loss:
                lines.append(f"first {note.one} {note.change}: {place}")
        return "".join(f"{line}\n" for line in lines)

    def to_dict(self) -> dict[str, object]:
        """Return the counts for a JSON document."""
        return {
            "path": str(self.path),
            "classes": list(self.dataset.names),
            "images": {split: len(found) for split, found in self.dataset.splits.items()},
            "objects": self.dataset.num_objects,
            "notes": self.dataset.notes.to_dict(),
        }


def convert_dataset(
    source: str | Path,
    target: str | Path,
    to: str,
    *,
    images: str | Path | None = None,
    classes: Sequence[str] | None = None,
    link: str | None = None,
    overwrite: bool = False,
    first_pixel: int = 0,
) -> Conversion:
    """Convert a data set to another format.

    Args:
        source: the data set, in any format that ``open_dataset`` reads. It is not changed.
        target: the folder to write; created whole or not at all.
        to: the format, one of ``FORMATS``.
        images: the folder of the images of a COCO, CVAT or VOC set; None looks for it.
        classes: names of the classes to keep, in their new order; None keeps all.
        link: link images instead of copying them, ``hard`` or ``symbolic``; None copies.
        overwrite: replace a folder that is not empty.
        first_pixel: number of the first pixel in VOC's boxes: 1 for those of the devkit, else 0.

    Returns:
        The path of the result, and what was written.

    Raises:
        DataError: for a source that cannot be read, or a target that cannot be written.
        InputError: for an unknown format or class, or a target that is not empty.

    Example:
        >>> import tempfile
        >>> from darknet_builder.data import write_scenes
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_scenes(f"{folder}/in", {"train": 2, "valid": 1})
        ...     made = convert_dataset(path, f"{folder}/out", "coco")
        ...     sorted(path.name for path in made.path.iterdir())
        ['instances_train.json', 'instances_valid.json']
    """
    if to not in _WRITERS:
        expected = f"expected {', '.join(FORMATS)}"
        raise InputError(expected, argument="to", value=to)
    check_target(target, [source, *([] if images is None else [images])], overwrite=overwrite)
    dataset = open_dataset(source, images=images, first_pixel=first_pixel)
    if classes is not None:
        dataset = keep_classes(dataset, classes)
    return write_dataset(tidy(dataset, to), target, to, link=link, overwrite=overwrite)


def write_dataset(
    dataset: AnnotatedSet,
    target: str | Path,
    to: str,
    *,
    link: str | None = None,
    overwrite: bool = False,
) -> Conversion:
    """Write a data set, completely or not at all.

    Args:
        dataset: the data set.
        target: the folder to write.
        to: the format, one of ``FORMATS``.
        link: link images instead of copying them, ``hard`` or ``symbolic``; None copies.
        overwrite: replace a folder that is not empty.

    Raises:
        DataError: if something cannot be written.
        InputError: for a target that is not empty.
    """
    sources = [image.path for images in dataset.splits.values() for image in images]
    check_target(target, sources, overwrite=overwrite)
    folder = Path(target)
    with whole_folder(folder) as temporary:
        placer = Placer(temporary, folder.absolute().name, link, dataset.notes)
        made = _WRITERS[to](dataset, temporary, placer)
    return Conversion(folder / made.relative_to(temporary), dataset)


def check_target(
    target: str | Path, sources: Sequence[str | Path], *, overwrite: bool = False
) -> None:
    """Check that a folder may be written.

    Args:
        target: the folder.
        sources: files and folders that must not be in it.
        overwrite: accept a folder that is not empty.

    Raises:
        InputError: for a file, or a folder that is not empty or has one of the sources in it.
    """
    folder = Path(target)
    if os.path.lexists(folder) and not folder.is_dir():
        raise InputError("is a file; expected a folder", path=folder)
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not overwrite:
        raise InputError("is not empty", path=folder, argument="overwrite")
    whole = folder.resolve()
    for one in (*sources, Path.cwd()):
        place = Path(one).resolve()
        if place == whole or whole in place.parents:
            raise InputError(
                f"cannot be replaced: {one} is in it", path=folder, hint="choose another folder"
            )


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder that replaces ``target`` if the block succeeds.

    Args:
        target: the folder to create; an existing one is replaced.

    Raises:
        DataError: if it cannot be written.
    """
    with writing(target, DataError):
        target.absolute().parent.mkdir(parents=True, exist_ok=True)
        room = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.absolute().parent))
    try:
        with writing(target, DataError):
            new, old = room / "new", room / "old"
            new.mkdir()
            yield new
            if target.is_dir():
                target.rename(old)
            try:
                new.rename(target)
            except BaseException:
                if old.is_dir():
                    old.rename(target)
                raise
    finally:
        shutil.rmtree(room, ignore_errors=True)


def keep_classes(dataset: AnnotatedSet, classes: Sequence[str]) -> AnnotatedSet:
    """Return a data set with some of its classes, in a new order; objects of others are counted.

    Args:
        dataset: the data set.
        classes: names of the classes to keep.

    Raises:
        InputError: for a class that does not exist.

    Example:
        >>> image = AnnotatedImage(Path("a.jpg"), "a.jpg", (9, 9), (Annotation(1, (0, 0, 4, 4)),))
        >>> kept = keep_classes(AnnotatedSet(("cat", "dog"), {"train": [image]}), ["dog"])
        >>> kept.names, kept.splits["train"][0].objects[0].class_id
        (('dog',), 0)
    """
    numbers = [find_classes([name], dataset.names)[0] for name in dict.fromkeys(classes)]
    new = {number: index for index, number in enumerate(numbers)}

    def change(image: AnnotatedImage) -> AnnotatedImage:
        kept = [one for one in image.objects if one.class_id in new]
        dataset.notes.add(OTHER_CLASS, image.path, len(image.objects) - len(kept))
        moved = [replace(one, class_id=new[one.class_id]) for one in kept]
        return replace(image, objects=tuple(moved))

    splits = {split: list(map(change, images)) for split, images in dataset.splits.items()}
    names = tuple(dataset.names[number] for number in numbers)
    return AnnotatedSet(names, splits, dataset.notes)


def tidy(dataset: AnnotatedSet, to: str) -> AnnotatedSet:
    """Return what a format can express: without crowds, boxes cut at the edge of their image.

    What is left out or changed is counted in the notes.

    Args:
        dataset: the data set.
        to: the format, one of ``FORMATS``.
    """
    notes = dataset.notes

    def change(image: AnnotatedImage) -> AnnotatedImage:
        objects = [_tidy_object(one, image, to, notes) for one in image.objects]
        kept = tuple(one for one in objects if one is not None)
        if not kept:
            notes.add(EMPTY, image.path)
        return replace(image, objects=kept)

    splits = {split: list(map(change, images)) for split, images in dataset.splits.items()}
    return AnnotatedSet(_one_line_names(dataset.names), splits, notes)


def _one_line_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return class names that files with a name a line can have."""
    lines = [" ".join(name.split()) for name in names]
    return tuple(line or f"class {index}" for index, line in enumerate(lines))


def _tidy_object(
    one: Annotation, image: AnnotatedImage, to: str, notes: Notes
) -> Annotation | None:
    """Return an object as a format can express it; None if it is left out."""
    width, height = image.size
    left, top, right, bottom = one.box
    wrong = _fault(one, image)
    if wrong is not None:
        notes.add(wrong, f"{image.path}: {tuple(round(value, 2) for value in one.box)}")
        return None
    if one.is_crowd and to != _COCO:
        notes.add(CROWD, image.path)
        return None
    if one.is_difficult and to != _VOC:
        notes.add(DIFFICULT, image.path)
    if one.outline and to != _COCO:
        notes.add(MASK if isinstance(one.outline, dict) else POLYGON, image.path)
    over = max(-left / width, -top / height, right / width - 1, bottom / height - 1)
    if over > _ROUNDING:
        notes.add(CLIPPED, image.path)
        inside = max(left, 0.0), max(top, 0.0), min(right, width), min(bottom, height)
        return replace(one, box=inside)
    return one


def _fault(one: Annotation, image: AnnotatedImage) -> Note | None:
    """Return what is wrong with a box; None if at least a part of it is in the image."""
    width, height = image.size
    left, top, right, bottom = one.box
    if not (right > left and bottom > top):  # also true for "not a number"
        return NO_AREA
    if right <= 0 or bottom <= 0 or left >= width or top >= height:
        return OUTSIDE
    return None
