"""Lists of images with their labels, read and checked."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import overload

import numpy as np

from darknet_builder.data.image_list import either, locate_images
from darknet_builder.data.labels import (
    LabelFile,
    at_corner,
    find_labels,
    label_places,
    no_boxes,
    over_edge,
    read_label_file,
)
from darknet_builder.errors import DataError, LabelWarning
from darknet_builder.support.web.remote import FilePath, file_at


@dataclass(frozen=True)
class LabelledImage:
    """An image file and its boxes.

    Attributes:
        path: the image file, which exists unless ``keep_missing`` was set for the list or it is at
            an address.
        boxes: (T, 5) float32, rows x, y, w, h, class; centre and size relative to the image.
        label_path: its label file; None if it has none, and then T is 0.

    Example:
        >>> from pathlib import Path
        >>> boxes = np.array([[0.5, 0.5, 0.2, 0.4, 1]], np.float32)
        >>> LabelledImage(Path("a.jpg"), boxes, Path("a.txt")).boxes.shape
        (1, 5)
    """

    path: FilePath
    boxes: np.ndarray
    label_path: FilePath | None


@dataclass(frozen=True)
class ImageSet(Sequence[LabelledImage]):
    """A list of images with their labels, read and checked.

    Attributes:
        path: the file that lists them.
        images: the images, in the order of the list.
        classes: number of classes; labels are 0 to ``classes - 1``.
        skipped_labels: number of bad lines of label files that were left out.
        labels_over_edge: number of boxes whose centre or size exceeds the image.
        labels_at_corner: number of boxes whose centre is 0, 0.

    Example:
        >>> from pathlib import Path
        >>> boxes = np.array([[0.5, 0.5, 0.2, 0.4, 1]], np.float32)
        >>> image = LabelledImage(Path("a.jpg"), boxes, Path("a.txt"))
        >>> images = ImageSet(Path("train.txt"), (image,), classes=2)
        >>> len(images), images.num_boxes, images.num_unlabelled
        (1, 1, 0)
    """

    path: FilePath
    images: tuple[LabelledImage, ...]
    classes: int
    skipped_labels: int = 0
    labels_over_edge: int = 0
    labels_at_corner: int = 0

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
    path: str | FilePath,
    classes: int,
    *,
    skip_bad_labels: bool = False,
    strict: bool = False,
    limit: int | None = None,
    keep_missing: bool = False,
) -> ImageSet:
    """Load a list of images and their label files.

    An image without a label file has no objects, as in Darknet. A list without any label file is
    an error. One ``LabelWarning`` counts the labels that Darknet's training changes or leaves out.

    Args:
        path: the list, with one image path a line.
        classes: number of classes; a label must be below it.
        skip_bad_labels: leave bad lines of label files out and count them; False raises.
        strict: labels that Darknet's training changes or leaves out are bad lines too.
        limit: load only this number of images from the start of the list; None for all.
        keep_missing: keep a missing image in the list, for a caller that checks this; False raises.

    Raises:
        DataError: for a list, an image or a label that is missing or wrong.
    """
    images: list[LabelledImage] = []
    skipped, changed = 0, _ChangedLabels()
    located = locate_images(path, keep_missing=keep_missing)
    paths = [image for _, _, image in located[:limit]]
    for image in paths:
        label_path = find_labels(image)
        labels = LabelFile(no_boxes(), (), 0)
        if label_path is not None:
            labels = read_label_file(label_path, classes, skip_bad=skip_bad_labels, strict=strict)
            changed.note(label_path, labels)
        images.append(LabelledImage(image, labels.boxes, label_path))
        skipped += labels.num_skipped
    # Images without labels are allowed; a list of nothing else is nearly always a wrong folder.
    if all(image.label_path is None for image in images):
        raise DataError(
            f"none of its {len(images)} images has a label file; for the first image, looked for "
            f"{either(label_places(paths[0]))}",
            path=path,
        )
    clipped, dropped = len(changed.clipped), len(changed.dropped)
    loaded = ImageSet(file_at(path), tuple(images), classes, skipped, clipped, dropped)
    if clipped or dropped:
        warnings.warn(changed.warning(loaded), stacklevel=2)
    return loaded


@dataclass(frozen=True)
class _ChangedLabels:
    """File and line of the labels of a list that Darknet's training does not use as they are.

    Attributes:
        clipped: those that reach over the edge of their image (data.c:281).
        dropped: those whose centre is 0, 0 (data.c:252).
    """

    clipped: list[tuple[FilePath, int]] = field(default_factory=list)
    dropped: list[tuple[FilePath, int]] = field(default_factory=list)

    def note(self, path: FilePath, labels: LabelFile) -> None:
        """Add the changed labels of a file."""
        corner = at_corner(labels.boxes)
        over = over_edge(labels.boxes) & ~corner
        self.clipped.extend((path, line) for line in labels.lines_where(over))
        self.dropped.extend((path, line) for line in labels.lines_where(corner))

    def warning(self, images: ImageSet) -> LabelWarning:
        """Return the warning about these labels of a list."""
        total, parts = f" of {images.num_boxes:,} labels", []
        if self.clipped:
            is_one = len(self.clipped) == 1
            what = "reaches over the edge of its" if is_one else "reach over the edge of their"
            parts.append(
                f"{len(self.clipped):,}{total} {what} image ({_places(self.clipped)}): training"
                f" clips {_them(self.clipped)} there"
            )
            total = ""
        if self.dropped:
            verb = "is" if len(self.dropped) == 1 else "are"
            parts.append(
                f"{len(self.dropped):,}{total} {verb} centred at 0, 0 ({_places(self.dropped)}):"
                f" training leaves {_them(self.dropped)} out"
            )
        places = self.clipped + self.dropped
        parts.append(f"mAP and anchors use {_them(places)} unchanged")
        return LabelWarning(
            "; ".join(parts),
            path=images.path,
            num_labels=images.num_boxes,
            num_clipped=len(self.clipped),
            num_dropped=len(self.dropped),
            label_path=places[0][0],
            label_line=places[0][1],
        )


def _places(places: Sequence[tuple[FilePath, int]]) -> str:
    path, line = places[0]
    return f"{path}:{line}" + (f" and {len(places) - 1:,} more" if len(places) > 1 else "")


def _them(places: Sequence[tuple[FilePath, int]]) -> str:
    return "it" if len(places) == 1 else "them"
