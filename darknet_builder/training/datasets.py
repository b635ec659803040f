"""Load the training and validation lists of a ``.data`` file, and check their classes."""

from __future__ import annotations

from dataclasses import dataclass

from darknet_builder.data.class_lists import class_labels, load_classed_images
from darknet_builder.data.data_file import DataFile
from darknet_builder.data.image_set import ImageSet
from darknet_builder.errors import DataError
from darknet_builder.evaluation.validators import ClassValidator, Validator
from darknet_builder.network.network import Network
from darknet_builder.network.task import count_classes
from darknet_builder.training.batches import LabelledImages, ListedImages
from darknet_builder.training.settings import check_trainable


@dataclass(frozen=True)
class TrainingLists:
    """The lists of a training.

    Attributes:
        images: the training set.
        validator: scores the network on the validation list; None without ``valid=``.
        description: one line for the user, with the numbers of images.
    """

    images: LabelledImages
    validator: Validator | ClassValidator | None
    description: str


def load_training_lists(
    data: DataFile, network: Network, *, skip_bad_labels: bool = False
) -> TrainingLists:
    """Load the lists that a network trains and validates on.

    Args:
        data: names the lists in ``train=`` and ``valid=``.
        network: a detector or a classifier. Its ``names`` are set, which checkpoints keep.
        skip_bad_labels: leave bad lines of label files out, with a warning; False raises.

    Raises:
        InputError: when the network has no layer with a loss.
        DataError: when data and network have different classes, for a bad label, or if no image
            has a box.
    """
    check_trainable(network)
    # A network without heads is a classifier: its lists have labels in the paths, not boxes.
    if not network.heads:
        return _load_classes(data, network)
    network.names = tuple(data.names or ())
    images = load_training(data, network, skip_bad=skip_bad_labels)
    counts = f"{len(images)} training images with {images.num_boxes} boxes"
    if not data.has("valid"):
        return TrainingLists(ListedImages(images), None, f"{counts}; no mAP without valid=")
    validation = data.load("valid", skip_bad_labels=skip_bad_labels)
    return TrainingLists(
        ListedImages(images),
        Validator(validation, data.names),
        f"{counts}, {len(validation)} validation images",
    )


def load_training(data: DataFile, network: Network, *, skip_bad: bool) -> ImageSet:
    """Load the training list of a detector.

    Args:
        data: names the list in ``train=``.
        network: its heads must have the data's number of classes.
        skip_bad: leave bad lines of label files out, with a warning; False raises.

    Raises:
        DataError: when data and network have different classes, or no image has a box.
    """
    classes = {head.classes for head in network.heads}
    if classes and classes != {data.classes}:
        raise data.error(
            f"but the network has {', '.join(map(str, sorted(classes)))} classes (classes= in its"
            " heads); darknet-builder adapt-cfg makes a cfg for another number",
            "classes",
        )
    images = data.load("train", skip_bad_labels=skip_bad)
    if not images.num_boxes:
        raise DataError(
            f"none of its {len(images)} images has a box",
            path=images.path,
            hint="expected at least one labelled object",
        )
    return images


def _load_classes(data: DataFile, network: Network) -> TrainingLists:
    labels, classes = class_labels(data), count_classes(network)
    if len(labels) != classes:
        raise data.error(
            f"there are {len(labels)} labels, but the network gives {classes} scores (filters= of"
            " its last layer)",
            "classes",
        )
    network.names = tuple(data.names or labels)
    images = load_classed_images(data.file("train"), labels)
    counts = f"{len(images)} training images of {len(labels)} classes"
    if not data.has("valid"):
        return TrainingLists(images, None, f"{counts}; no top-1 without valid=")
    validation = load_classed_images(data.file("valid"), labels)
    return TrainingLists(
        images,
        ClassValidator(validation, data.top),
        f"{counts}, {len(validation)} validation images",
    )
