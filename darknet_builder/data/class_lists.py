"""Lists of images whose paths name the class: what Darknet's classifiers learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from darknet_builder.cfg.names import read_names
from darknet_builder.data.data_file import DataFile
from darknet_builder.data.image_list import list_images
from darknet_builder.data.labels import no_boxes
from darknet_builder.data.sample import Sample
from darknet_builder.errors import DataError
from darknet_builder.images.files import read_image

# ---- images and their classes --------------------------------------------------------------------


@dataclass(frozen=True)
class ClassedImage:
    """An image file and its class."""

    path: Path
    class_id: int


@dataclass(frozen=True)
class ClassedImages:
    """A list of images with their classes, checked; what a training takes
    (``training_data.LabelledImages``).

    Attributes:
        list_path: of the list.
        images: in its order.
        labels: of the classes, as they stand in the paths.
    """

    list_path: Path
    images: tuple[ClassedImage, ...]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def sample(self, index: int) -> Sample:
        """The image as it is, and its class as shares."""
        image = self.images[index]
        shares = np.zeros(len(self.labels), np.float32)
        shares[image.class_id] = 1
        return Sample(read_image(image.path), no_boxes(), shares)

    def path(self, index: int) -> str:
        """Its file."""
        return str(self.images[index].path)


def class_labels(data: DataFile) -> tuple[str, ...]:
    """The labels that paths are searched for: ``labels=``, or else ``names=``.

    Raises:
        DataError: located, when neither is there, or ``classes=`` is another number.
    """
    key = "labels" if data.has("labels") or not data.has("names") else "names"
    labels = tuple(read_names(data.file(key)))
    if data.has("classes") and data.classes != len(labels):
        raise data.error(
            f"but {data.file(key)} has {len(labels)} labels", "classes", hint="the two must agree"
        )
    return labels


def load_classed_images(
    path: str | Path, labels: Sequence[str], *, keep_missing: bool = False
) -> ClassedImages:
    """A list of images, each of the one class whose label stands in its line.

    Where Darknet says "Too many or too few labels" and goes on, this stops.

    Args:
        path: of the list.
        labels: of the classes.
        keep_missing: an image that is not there stays in the list, for a caller who checks that.

    Raises:
        DataError: located, for a list or an image that is missing, or a line with no label or
            several.
    """
    images = []
    for number, line, image in list_images(path, keep_missing=keep_missing):
        found = [index for index, label in enumerate(labels) if label in line]
        if len(found) != 1:
            what = (
                "none of the labels"
                if not found
                else "several labels (" + ", ".join(labels[index] for index in found) + ")"
            )
            raise DataError(
                f"{line}: {what} in this path; an image is of the one class whose label "
                "stands in its path",
                path=path,
                line=number,
            )
        images.append(ClassedImage(image, found[0]))
    return ClassedImages(Path(path), tuple(images), tuple(labels))
