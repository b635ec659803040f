"""Darknet's data sets: a ``.data`` file, lists of images, and label files.

CVAT's "YOLO 1.1" export is one too. Files are found as training finds them (``data_file``).
"""

from __future__ import annotations

from pathlib import Path

from darknet_builder.data.data_file import DataFile
from darknet_builder.data.formats.label_lines import labelled_image
from darknet_builder.data.formats.notes import REPEATED, Notes
from darknet_builder.data.formats.placing import Placer
from darknet_builder.data.formats.records import (
    AnnotatedImage,
    AnnotatedSet,
    names_within,
    split_name,
    with_train,
)
from darknet_builder.data.image_list import list_images
from darknet_builder.support.files import write_text

_LISTS = ("train", "valid", "val", "test")
_DECIMALS = 8
"""Decimals of the numbers in label files: 1e-8 of 10,000 pixels is far below one pixel."""


def read_darknet(path: Path, notes: Notes) -> AnnotatedSet:
    """Read the lists of a ``.data`` file that exist: ``train``, ``valid`` and ``test``.

    Args:
        path: the ``.data`` file.
        notes: counts what is changed or left out.

    Raises:
        DataError: for a file or a list that cannot be read.
    """
    data = DataFile.read(path)
    names = data.names or tuple(f"class {index}" for index in range(data.classes))
    classes = {index: index for index in range(len(names))}
    splits = {
        split_name(key): read_list(data.file(key), classes, notes)
        for key in _LISTS
        if key in data.options
    }
    return AnnotatedSet(names, with_train(splits), notes)


def read_list(path: Path, classes: dict[int, int], notes: Notes) -> list[AnnotatedImage]:
    """Read the images of a list, each once.

    Args:
        path: the list, with one path a line.
        classes: the index here of each class number of the labels.
        notes: counts what is changed or left out.
    """
    listed = [image for _, _, image in list_images(path, keep_missing=True)]
    return read_paths(listed, classes, notes)


def read_paths(paths: list[Path], classes: dict[int, int], notes: Notes) -> list[AnnotatedImage]:
    """Read images with the label files that Darknet finds for them, each once.

    Args:
        paths: the images.
        classes: the index here of each class number of the labels.
        notes: counts what is changed or left out.
    """
    different = list(dict.fromkeys(paths))
    if len(different) < len(paths):
        notes.add(REPEATED, different[0].parent, len(paths) - len(different))
    images = []
    for image, name in zip(different, names_within(different), strict=True):
        read = labelled_image(image, name, classes, notes)
        if read is not None:
            images.append(read)
    return images


def write_darknet(dataset: AnnotatedSet, folder: Path, placer: Placer) -> Path:
    """Write a ``.data`` file with lists, names, images and labels.

    Args:
        dataset: the data set.
        folder: an empty folder.
        placer: puts the images in their places.

    Returns:
        The path of the ``.data`` file.
    """
    lists = []
    for split, images in dataset.splits.items():
        lines = write_yolo_split(images, folder, split, placer)
        write_text(folder / f"{split}.txt", "".join(f"{line}\n" for line in lines))
        lists.append(f"{split} = {split}.txt\n")
    stem = placer.stem
    write_text(folder / f"{stem}.names", "".join(f"{name}\n" for name in dataset.names))
    data = folder / f"{stem}.data"
    head = f"classes = {len(dataset.names)}\n"
    write_text(data, f"{head}{''.join(lists)}names = {stem}.names\nbackup = backup\n")
    return data


def write_yolo_split(
    images: list[AnnotatedImage], folder: Path, split: str, placer: Placer
) -> list[str]:
    """Write the images of a split to ``images/SPLIT`` and their labels to ``labels/SPLIT``.

    Returns:
        The path of each image below ``folder``.
    """
    lines = []
    for image in images:
        place = placer.place(image, f"images/{split}")
        label = folder / "labels" / Path(place).relative_to("images").with_suffix(".txt")
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(label_text(image), encoding="utf-8")
        lines.append(place)
    return lines


def label_text(image: AnnotatedImage) -> str:
    r"""Return the text of an image's label file.

    Example:
        >>> from darknet_builder.data.formats.records import Annotation
        >>> box = Annotation(1, (16.0, 12.0, 48.0, 36.0))
        >>> label_text(AnnotatedImage(Path("a.jpg"), "a.jpg", (64, 48), (box,)))
        '1 0.50000000 0.50000000 0.50000000 0.50000000\n'
    """
    width, height = image.size
    lines = []
    for one in image.objects:
        left, top, right, bottom = one.box
        centre = (left + right) / 2 / width, (top + bottom) / 2 / height
        values = (*centre, (right - left) / width, (bottom - top) / height)
        numbers = " ".join(f"{value:.{_DECIMALS}f}" for value in values)
        lines.append(f"{one.class_id} {numbers}\n")
    return "".join(lines)
