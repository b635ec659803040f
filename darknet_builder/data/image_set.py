"""A list of images with their labels, all read and checked."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np

from darknet_builder.data.image_list import read_image_list
from darknet_builder.data.labels import (
    find_labels,
    label_places,
    no_boxes,
    over_edge,
    read_labels,
)
from darknet_builder.data.lines import either
from darknet_builder.errors import DataError, DataWarning


@dataclass(frozen=True)
class LabelledImage:
    """An image file and what is in it.

    Attributes:
        path: of the image, which is there.
        boxes: (T, 5) float32, rows x, y, w, h, class; centre and size relative to the image.
        label_path: of its label file; None where there is none, so that T is 0.
    """

    path: Path
    boxes: np.ndarray
    label_path: Path | None


@dataclass(frozen=True)
class ImageSet(Sequence[LabelledImage]):
    """A list of images with their labels, all read and checked.

    Attributes:
        path: of the list.
        images: in its order.
        classes: how many there are.
        skipped_labels: how many bad lines of label files were left out.
        labels_over_edge: number of boxes whose centre or size is beyond the image.
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
        """One image, or several."""
        return self.images[index]

    @property
    def num_boxes(self) -> int:
        """In all images."""
        return sum(len(image.boxes) for image in self.images)

    @property
    def num_unlabelled(self) -> int:
        """How many images have no label file."""
        return sum(image.label_path is None for image in self.images)


def load_images(
    path: str | Path,
    classes: int,
    *,
    skip_bad_labels: bool = False,
    limit: int | None = None,
    keep_missing: bool = False,
) -> ImageSet:
    """A list of images and their label files.

    An image without a label file has no objects, as in Darknet; a list in which none has one is a
    mistake.

    Args:
        path: of the list.
        classes: how many there are.
        skip_bad_labels: leave bad lines of label files out and count them.
        limit: only the first so many images.
        keep_missing: an image that is not there stays in the list, for a caller who checks that.

    Raises:
        DataError: located, for a list, an image or a label that is missing or wrong.
    """
    images: list[LabelledImage] = []
    skipped = 0
    paths = read_image_list(path, keep_missing=keep_missing)[:limit]
    for image in paths:
        label_path = find_labels(image)
        boxes, bad = (
            (no_boxes(), 0)
            if label_path is None
            else read_labels(label_path, classes, skip_bad=skip_bad_labels)
        )
        images.append(LabelledImage(image, boxes, label_path))
        skipped += bad
    if all(image.label_path is None for image in images):
        raise DataError(
            f"none of its {len(images)} images has a label file; for the first one, looked for "
            f"{either(label_places(paths[0]))}",
            path=path,
        )
    return ImageSet(Path(path), tuple(images), classes, skipped, _warn_over_edge(path, images))


def _warn_over_edge(path: str | Path, images: Sequence[LabelledImage]) -> int:
    """Count the boxes that reach over the edge of their image, and warn once for the whole list.

    Args:
        path: of the list.
        images: with their boxes.
    """
    found = [(image, over_edge(image.boxes)) for image in images]
    count = sum(int(rows.sum()) for _, rows in found)
    if count:
        first, rows = next((image, rows) for image, rows in found if rows.any())
        numbers = " ".join(map(str, first.boxes[rows.argmax(), :4]))
        warnings.warn(
            DataWarning(
                f"{'1 box reaches' if count == 1 else f'{count} boxes reach'} over the edge of"
                f" their image, the first in {first.label_path} ({numbers}); training cuts them off"
                " there, mAP and anchors take them as they are",
                path=path,
            ),
            stacklevel=3,
        )
    return count
