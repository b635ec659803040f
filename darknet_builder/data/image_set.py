"""Lists of images with their labels, read and checked."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np

from darknet_builder.data.image_list import either, read_image_list
from darknet_builder.data.labels import (
    find_labels,
    label_places,
    no_boxes,
    over_edge,
    read_labels,
)
from darknet_builder.errors import DataError, DataWarning


@dataclass(frozen=True)
class LabelledImage:
    """An image file and its boxes.

    Attributes:
        path: the image file, which exists unless ``keep_missing`` was set for the list.
        boxes: (T, 5) float32, rows x, y, w, h, class; centre and size relative to the image.
        label_path: its label file; None if it has none, and then T is 0.

    Example:
        >>> boxes = np.array([[0.5, 0.5, 0.2, 0.4, 1]], np.float32)
        >>> LabelledImage(Path("a.jpg"), boxes, Path("a.txt")).boxes.shape
        (1, 5)
    """

    path: Path
    boxes: np.ndarray
    label_path: Path | None


@dataclass(frozen=True)
class ImageSet(Sequence[LabelledImage]):
    """A list of images with their labels, read and checked.

    Attributes:
        path: the file that lists them.
        images: the images, in the order of the list.
        classes: number of classes; labels are 0 to ``classes - 1``.
        skipped_labels: number of bad lines of label files that were left out.
        labels_over_edge: number of boxes whose centre or size exceeds the image.

    Example:
        >>> boxes = np.array([[0.5, 0.5, 0.2, 0.4, 1]], np.float32)
        >>> image = LabelledImage(Path("a.jpg"), boxes, Path("a.txt"))
        >>> images = ImageSet(Path("train.txt"), (image,), classes=2)
        >>> len(images), images.num_boxes, images.num_unlabelled
        (1, 1, 0)
    """

    path: Path
    images: tuple[LabelledImage, ...]
    classes: int
    skipped_labels: int = 0
    labels_over_edge: int = 0

    def __len__(self) -> int:
        return len(self.images)

    @overload
    def __getitem__(self, index: int) -> LabelledImage: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[LabelledImage, ...]: ...

    def __getitem__(self, index: int | slice) -> LabelledImage | tuple[LabelledImage, ...]:
        """Return one image, or a slice of them."""
        return self.images[index]

    @property
    def num_boxes(self) -> int:
        """The number of boxes in all images."""
        return sum(len(image.boxes) for image in self.images)

    @property
    def num_unlabelled(self) -> int:
        """The number of images without a label file."""
        return sum(image.label_path is None for image in self.images)


def load_images(
    path: str | Path,
    classes: int,
    *,
    skip_bad_labels: bool = False,
    limit: int | None = None,
    keep_missing: bool = False,
) -> ImageSet:
    """Load a list of images and their label files.

    An image without a label file has no objects, as in Darknet. A list without any label file is
    an error.

    Args:
        path: the list, with one image path a line.
        classes: number of classes; a label must be below it.
        skip_bad_labels: leave bad lines of label files out and count them; False raises.
        limit: load only this number of images from the start of the list; None for all.
        keep_missing: keep a missing image in the list, for a caller that checks this; False raises.

    Raises:
        DataError: for a list, an image or a label that is missing or wrong.
    """
    images: list[LabelledImage] = []
    skipped = 0
    paths = read_image_list(path, keep_missing=keep_missing)[:limit]
    for image in paths:
        label_path = find_labels(image)
        boxes, bad = no_boxes(), 0
        if label_path is not None:
            boxes, bad = read_labels(label_path, classes, skip_bad=skip_bad_labels)
        images.append(LabelledImage(image, boxes, label_path))
        skipped += bad
    # Images without labels are allowed; a list of nothing else is nearly always a wrong folder.
    if all(image.label_path is None for image in images):
        raise DataError(
            f"none of its {len(images)} images has a label file; for the first image, looked for "
            f"{either(label_places(paths[0]))}",
            path=path,
        )
    return ImageSet(Path(path), tuple(images), classes, skipped, _warn_over_edge(path, images))


def _warn_over_edge(path: str | Path, images: Sequence[LabelledImage]) -> int:
    """Count the boxes that reach over the edge of their image; if there are any, warn once.

    Args:
        path: path of the list, for the warning.
        images: the images of the list.
    """
    found = [(image, over_edge(image.boxes)) for image in images]
    count = sum(int(rows.sum()) for _, rows in found)
    if count:
        # rows.argmax() below is the first True of a bool array.
        first, rows = next((image, rows) for image, rows in found if rows.any())
        numbers = " ".join(map(str, first.boxes[rows.argmax(), :4]))
        warnings.warn(
            DataWarning(
                f"{'1 box reaches' if count == 1 else f'{count} boxes reach'} over the edge of"
                f" their image, the first in {first.label_path} ({numbers}); training clips them"
                " there, mAP and anchors use them unchanged",
                path=path,
            ),
            stacklevel=3,
        )
    return count
