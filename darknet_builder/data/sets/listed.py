"""Read the lists and labels of a ``.data`` file, and note every mistake instead of stopping."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from darknet_builder.data.data_file import DataFile
from darknet_builder.data.formats.records import SPLITS
from darknet_builder.data.image_list import list_images
from darknet_builder.data.labels import find_labels, no_boxes, over_edge, read_labels
from darknet_builder.data.sets.findings import DataFinding
from darknet_builder.errors import DataError

_CLASS_FILES = ("classes.txt", "obj.names")
"""Files of annotation programs that lie beside labels."""


@dataclass(frozen=True)
class ListedImage:
    """An image of a list and its labels.

    Attributes:
        split: key of the list in the ``.data`` file.
        path: the image.
        label_path: its label file; None without one.
        boxes: (T, 5) float32, rows x, y, w, h, class: the labels that can be used.
    """

    split: str
    path: Path
    label_path: Path | None
    boxes: np.ndarray


def read_splits(
    data: DataFile, splits: tuple[str, ...] = SPLITS
) -> tuple[list[ListedImage], list[DataFinding]]:
    """Read all images that the lists of a ``.data`` file name, each once a list.

    Args:
        data: the ``.data`` file.
        splits: the keys of the lists; those that the file lacks are left out.

    Returns:
        The images that exist, and what is wrong with lists and labels.

    Raises:
        DataError: for a list that cannot be read, or a file that names none.
    """
    present = [split for split in splits if split in data.options]
    if not present:
        raise DataError(f"names no list of images ({'=, '.join(splits)}=)", path=data.path)
    classes = data.classes
    images: list[ListedImage] = []
    findings: list[DataFinding] = []
    for split in present:
        for path in _listed(data.file(split), split, findings):
            label_path = find_labels(path)
            boxes = no_boxes()
            if label_path is None:
                text = "has no label file, and so no objects"
                findings.append(DataFinding("no label file", text, path, image=path, split=split))
            else:
                boxes = _read(label_path, classes, path, split, findings)
            images.append(ListedImage(split, path, label_path, boxes))
    findings += _labels_without_image(data, images)
    return images, findings


def _listed(path: Path, split: str, findings: list[DataFinding]) -> Iterator[Path]:
    """Yield the images of a list that exist, each once."""
    first: dict[Path, int] = {}
    for number, line, image in list_images(path, keep_missing=True):
        if image in first:
            text = f"{line} is also in line {first[image]}"
            findings.append(DataFinding("listed twice", text, path, number, image, split))
            continue
        first[image] = number
        if image.is_file():
            yield image
        else:
            text = f"{line}: no such image"
            findings.append(DataFinding("missing image", text, path, number, image, split))


def _read(
    path: Path, classes: int, image: Path, split: str, findings: list[DataFinding]
) -> np.ndarray:
    """Read a label file, without its bad lines."""
    try:
        boxes, bad = read_labels(path, classes)[0], 0
    except DataError as error:
        try:
            boxes, bad = read_labels(path, classes, skip_bad=True)
        except DataError:  # not text at all
            boxes, bad = no_boxes(), 1
        more = f" ({bad - 1} more in this file)" if bad > 1 else ""
        text = f"{error.message}{more}"
        findings.append(DataFinding("bad label", text, path, error.line, image, split))
    over = int(over_edge(boxes).sum())
    if over:
        text = f"{over} of {len(boxes)} boxes over the edge of the image, where training cuts them"
        findings.append(DataFinding("box over the edge", text, path, None, image, split))
    repeated = len(boxes) - len(np.unique(boxes, axis=0))
    if repeated:
        text = f"{repeated} of {len(boxes)} boxes are in the file twice"
        findings.append(DataFinding("same box twice", text, path, None, image, split))
    return boxes


def _labels_without_image(data: DataFile, images: list[ListedImage]) -> Iterator[DataFinding]:
    """Yield the label files in the folders of labels that belong to no listed image."""
    used = {image.label_path.resolve() for image in images if image.label_path is not None}
    lists = {data.file(key).resolve() for key in SPLITS if key in data.options}
    for folder in sorted({path.parent for path in used}):
        for path in sorted(folder.glob("*.txt")):
            if path not in used and path not in lists and path.name not in _CLASS_FILES:
                text = "belongs to no image of the lists"
                yield DataFinding("label file without image", text, path)
