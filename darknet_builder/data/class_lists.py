"""Lists of images whose paths contain the class label, for Darknet's classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from darknet_builder.cfg.names import read_names
from darknet_builder.data.data_file import DataFile
from darknet_builder.data.image_list import locate_images
from darknet_builder.data.labels import no_boxes
from darknet_builder.data.sample import Sample
from darknet_builder.errors import DataError
from darknet_builder.images.files import read_image
from darknet_builder.support.web.remote import FilePath, file_at

# ---- images and their classes --------------------------------------------------------------------


@dataclass(frozen=True)
class ClassedImage:
    """An image file and its class.

    Attributes:
        path: path of the image file.
        class_id: number of its class, counted from 0.

    Example:
        >>> from pathlib import Path
        >>> ClassedImage(Path("photos/cat_1.jpg"), class_id=0).class_id
        0
    """

    path: FilePath
    class_id: int


@dataclass(frozen=True)
class ClassedImages:
    """A checked list of images with their classes; a ``LabelledImages`` for ``Trainer``.

    Attributes:
        list_path: the file that lists them.
        images: the images, in the order of the list.
        labels: the labels of the classes, as they occur in the paths.

    Example:
        >>> from pathlib import Path
        >>> images = (ClassedImage(Path("photos/cat_1.jpg"), class_id=0),)
        >>> len(ClassedImages(Path("train.txt"), images, labels=("cat", "dog")))
        1
    """

    list_path: FilePath
    images: tuple[ClassedImage, ...]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def sample(self, index: int) -> Sample:
        """Read an image, with its class as probabilities of 0 and 1."""
        image = self.images[index]
        shares = np.zeros(len(self.labels), np.float32)
        shares[image.class_id] = 1
        return Sample(read_image(image.path), no_boxes(), shares)

    def path(self, index: int) -> str:
        """Return the file of an image, for messages."""
        return str(self.images[index].path)


def class_labels(data: DataFile) -> tuple[str, ...]:
    """Return the labels that paths are searched for: those of ``labels=``, or else of ``names=``.

    Raises:
        DataError: when both are missing, or ``classes=`` is not the number of labels.
    """
    key = "labels" if data.has("labels") or not data.has("names") else "names"
    labels = tuple(read_names(data.locate(key)))
    if data.has("classes") and data.classes != len(labels):
        raise data.error(
            f"but {data.locate(key)} has {len(labels)} labels", "classes", hint="the two must agree"
        )
    return labels


def load_classed_images(
    path: str | FilePath, labels: Sequence[str], *, keep_missing: bool = False
) -> ClassedImages:
    """Load a list of images; each line must contain the label of exactly one class.

    Darknet prints "Too many or too few labels" for other lines and continues; this raises.

    Args:
        path: the list, with one image path a line.
        labels: the labels of the classes.
        keep_missing: keep a missing image in the list, for a caller that checks this; False raises.

    Raises:
        DataError: for a list or an image that is missing, or a line without or with several
            labels.
    """
    images = []
    for number, line, image in locate_images(path, keep_missing=keep_missing):
        # The label may stand anywhere in the line, as in Darknet (fill_truth in data.c).
        classes = [index for index, label in enumerate(labels) if label in line]
        if len(classes) != 1:
            matches = "no label"
            if classes:
                matches = f"several labels ({', '.join(labels[index] for index in classes)})"
            raise DataError(
                f"{line}: expected the label of exactly one class in the path, found {matches}",
                path=path,
                line=number,
            )
        images.append(ClassedImage(image, classes[0]))
    return ClassedImages(file_at(path), tuple(images), tuple(labels))
