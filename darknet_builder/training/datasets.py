"""Load the lists of a ``.data`` file for training: images to learn from, a validator, checked
against the network.
"""

from __future__ import annotations

from dataclasses import dataclass

from darknet_builder.data.class_lists import class_labels, load_classed_images
from darknet_builder.data.data_file import DataFile
from darknet_builder.data.image_set import ImageSet
from darknet_builder.errors import DataError
from darknet_builder.evaluation.validators import ClassValidator, Validator
from darknet_builder.images.readable import FileCounter
from darknet_builder.network.network import Network
from darknet_builder.network.task import count_classes
from darknet_builder.training.batches import LabelledImages, ListedImages
from darknet_builder.training.image_check import FileCheck, check_lists
from darknet_builder.training.settings import check_trainable


@dataclass(frozen=True)
class TrainingLists:
    """The lists of a training.

    Attributes:
        images: the training set.
        validator: scores the network on the validation list; None without ``valid=``.
        description: one line for people, with the numbers of images.
    """

    images: LabelledImages
    validator: Validator | ClassValidator | None
    description: str


def load_training_lists(
    data: DataFile,
    network: Network,
    *,
    skip_bad_labels: bool = False,
    skip_bad_images: bool = False,
    check_files: bool = True,
    counter: FileCounter | None = None,
) -> TrainingLists:
    """Load the lists that a network trains and validates on.

    Args:
        data: names the lists in ``train=`` and ``valid=``.
        network: a detector or a classifier. It gets the names of the classes, which checkpoints
            keep.
        skip_bad_labels: leave bad lines of label files out, with a warning.
        skip_bad_images: train and validate without the images that are missing or cannot be read,
            with a warning.
        check_files: look at all image files; False to find unreadable ones only when they are
            needed.
        counter: shows how many files were looked at.

    Raises:
        InputError: when the network has nothing to train for.
        DataError: when the data's classes are not the network's, for a bad label, without any box,
            or naming the images that cannot be read.
    """
    check_trainable(network)
    how = FileCheck(skip_bad_images, counter) if check_files else None
    if not network.heads:
        return _load_classes(data, network, how, keep_missing=skip_bad_images)
    network.names = tuple(data.names or ())
    images = load_training(data, network, skip_bad=skip_bad_labels, keep_missing=skip_bad_images)
    known = f"{len(images)} images with {images.num_boxes} boxes to learn from"
    validation = None
    if data.has("valid"):
        validation = data.load(
            "valid", skip_bad_labels=skip_bad_labels, keep_missing=skip_bad_images
        )
    validation, more = (
        (validation, "") if how is None else check_lists(data, images, validation, how)
    )
    if validation is None:
        text = f"{known}, no valid= list, so no mAP{more}"
        return TrainingLists(ListedImages(images), None, text)
    return TrainingLists(
        ListedImages(images),
        Validator(validation, data.names),
        f"{known}, {len(validation)} to validate on{more}",
    )


def load_training(
    data: DataFile, network: Network, *, skip_bad: bool, keep_missing: bool = False
) -> ImageSet:
    """Load the training list of a detector.

    Args:
        data: names the list in ``train=``.
        network: its heads' classes must be the data's.
        skip_bad: leave bad lines of label files out, with a warning.
        keep_missing: an image that is not there stays in the list, for a caller who checks that.

    Raises:
        DataError: when the data's classes are not the network's, or no image has a box.
    """
    classes = {head.classes for head in network.heads}
    if classes and classes != {data.classes}:
        raise data.error(
            f"but the network has {', '.join(map(str, sorted(classes)))} classes (classes= in its"
            " heads); darknet-builder adapt-cfg makes a cfg for another number",
            "classes",
        )
    images = data.load("train", skip_bad_labels=skip_bad, keep_missing=keep_missing)
    if not images.num_boxes:
        raise DataError(
            f"none of its {len(images)} images has a box: there is nothing to learn",
            path=images.path,
        )
    return images


def _load_classes(
    data: DataFile, network: Network, how: FileCheck | None, *, keep_missing: bool
) -> TrainingLists:
    labels, classes = class_labels(data), count_classes(network)
    if len(labels) != classes:
        raise data.error(
            f"there are {len(labels)} labels, but the network gives {classes} scores (filters= of"
            " its last layer)",
            "classes",
        )
    network.names = tuple(data.names or labels)
    images = load_classed_images(data.file("train"), labels, keep_missing=keep_missing)
    known = f"{len(images)} images of {len(labels)} classes to learn from"
    validation = None
    if data.has("valid"):
        validation = load_classed_images(data.file("valid"), labels, keep_missing=keep_missing)
    validation, more = (
        (validation, "") if how is None else check_lists(data, images, validation, how)
    )
    if validation is None:
        return TrainingLists(images, None, f"{known}, no valid= list, so no top-1{more}")
    text = f"{known}, {len(validation)} to validate on{more}"
    return TrainingLists(images, ClassValidator(validation, data.top), text)
