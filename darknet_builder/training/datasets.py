"""Load the training and validation lists of a ``.data`` file, and check their classes and files."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from darknet_builder.data.class_lists import ClassedImages, class_labels, load_classed_images
from darknet_builder.data.data_file import DataFile
from darknet_builder.data.image_set import ImageSet
from darknet_builder.errors import DataError, DataWarning, ImageError
from darknet_builder.evaluation.validators import ClassValidator, Validator
from darknet_builder.images.readable import FileCounter, check_images
from darknet_builder.images.truncated import describe_truncated
from darknet_builder.network.network import Network
from darknet_builder.network.task import count_classes, known_names
from darknet_builder.support.web.remote import FilePath
from darknet_builder.training.samples import LabelledImages, ListedImages
from darknet_builder.training.settings import check_trainable

_SHOWN = 20
"""Number of unreadable files that an error names."""
_List = TypeVar("_List", ImageSet, ClassedImages)


@dataclass(frozen=True)
class _FileCheck:
    """Settings of the check of the image files.

    Attributes:
        skip_bad: warn about files that cannot be read and train without them; False raises.
        counter: receives the number of checked files; None to report nothing.
    """

    skip_bad: bool = False
    counter: FileCounter | None = None


@dataclass(frozen=True)
class TrainingLists:
    """The lists of a training.

    Attributes:
        images: the training images with their labels.
        validator: scores the network on the validation list; None without ``valid=``.
        description: one line for the user, with the numbers of images.
    """

    images: LabelledImages
    validator: Validator | ClassValidator | None
    description: str


def load_training_lists(
    data: DataFile,
    network: Network,
    *,
    skip_bad_labels: bool = False,
    strict: bool = False,
    skip_bad_images: bool = False,
    check_files: bool = True,
    counter: FileCounter | None = None,
) -> TrainingLists:
    """Load the lists that a network trains and validates on.

    Args:
        data: names the lists in ``train=`` and ``valid=``.
        network: a detector or a classifier. Its ``names`` are set, which checkpoints keep.
        skip_bad_labels: leave bad lines of label files out and count them; False raises.
        strict: labels that Darknet's training changes or leaves out are bad lines too.
        skip_bad_images: train and validate without the images that are missing or cannot be read,
            with a warning; False raises.
        check_files: check all image files; False finds unreadable ones only when they are used.
        counter: receives the number of checked files; None to report nothing.

    Raises:
        InputError: when the network has no layer with a loss.
        DataError: when data and network have different classes, for a bad label, for images that
            cannot be read, or if no image has a box.
    """
    check_trainable(network)
    how = _FileCheck(skip_bad_images, counter) if check_files else None
    # A network without heads is a classifier: its lists have labels in the paths, not boxes.
    if not network.heads:
        return _load_classes(data, network, how, keep_missing=skip_bad_images)
    network.names = known_names(network, data.names)  # may raise: now, not after an epoch
    images = load_training(
        data, network, skip_bad=skip_bad_labels, strict=strict, keep_missing=skip_bad_images
    )
    counts = f"{len(images)} training images with {images.num_boxes} boxes"
    validation, more = None, ""
    if data.has("valid"):
        validation = data.load(
            "valid",
            skip_bad_labels=skip_bad_labels,
            strict=strict,
            keep_missing=skip_bad_images,
        )
    if how is not None:
        validation, more = _check_lists(data, images, validation, how)
    if validation is None:
        text = f"{counts}; no mAP without valid={more}"
        return TrainingLists(ListedImages(images), None, text)
    return TrainingLists(
        ListedImages(images),
        Validator(validation, data.names),
        f"{counts}, {len(validation)} validation images{more}",
    )


def load_training(
    data: DataFile,
    network: Network,
    *,
    skip_bad: bool,
    strict: bool = False,
    keep_missing: bool = False,
) -> ImageSet:
    """Load the training list of a detector.

    Args:
        data: names the list in ``train=``.
        network: its heads must have the data's number of classes.
        skip_bad: leave bad lines of label files out and count them; False raises.
        strict: labels that Darknet's training changes or leaves out are bad lines too.
        keep_missing: keep a missing image in the list, for a caller that checks this; False raises.

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
    images = data.load("train", skip_bad_labels=skip_bad, strict=strict, keep_missing=keep_missing)
    if not images.num_boxes:
        raise DataError(
            f"none of its {len(images)} images has a box",
            path=images.path,
            hint="expected at least one labelled object",
        )
    return images


def _load_classes(
    data: DataFile, network: Network, how: _FileCheck | None, *, keep_missing: bool
) -> TrainingLists:
    labels, classes = class_labels(data), count_classes(network)
    if len(labels) != classes:
        raise data.error(
            f"there are {len(labels)} labels, but the network gives {classes} scores (filters= of"
            " its last layer)",
            "classes",
        )
    network.names = tuple(data.names or labels)
    images = load_classed_images(data.locate("train"), labels, keep_missing=keep_missing)
    counts = f"{len(images)} training images of {len(labels)} classes"
    validation, more = None, ""
    if data.has("valid"):
        validation = load_classed_images(data.locate("valid"), labels, keep_missing=keep_missing)
    if how is not None:
        validation, more = _check_lists(data, images, validation, how)
    if validation is None:
        return TrainingLists(images, None, f"{counts}; no top-1 without valid={more}")
    return TrainingLists(
        images,
        ClassValidator(validation, data.top),
        f"{counts}, {len(validation)} validation images{more}",
    )


def _check_lists(
    data: DataFile, train: _List, valid: _List | None, how: _FileCheck
) -> tuple[_List | None, str]:
    """Check the image files of both lists, each file once.

    The training list keeps its unreadable images, and a training draws another image instead. So
    the length of the list, and with it a resumed training, stay the same.

    Args:
        data: the ``.data`` file, for messages.
        train: the list named by ``train=``.
        valid: the validation list; None without one.
        how: the treatment of unreadable files.

    Returns:
        The validation list without unreadable images, and a text to append to the description of
        the training.

    Raises:
        DataError: for unreadable files, naming the first 20, unless they are to be skipped, and
            when no image of a list can be read.
    """
    lists = [train, valid] if valid is not None else [train]
    paths = [image.path for images in lists for image in images.images]
    check = check_images(paths, how.counter)
    # An image may be in both lists.
    bad, total = check.unreadable, len(set(paths))
    if bad and not how.skip_bad:
        raise _unreadable(data, bad, total)
    # One readable image in each list is enough: the others are replaced or left out.
    for images in lists:
        if all(image.path in bad for image in images.images):
            raise _unreadable(data, bad, total, hint="a list would have no image left")
    notes = []
    if bad:
        text = f"{_describe(bad, total)}; training continues without them"
        warnings.warn(DataWarning(text, path=data.path), stacklevel=3)
        notes.append(f"{len(bad)} cannot be read")
    if check.truncated:
        text = describe_truncated(len(check.truncated))
        notes.append(text)
        first = min(check.truncated)
        text = f"{text}; the missing part is grey or blurred; for instance {first}"
        warnings.warn(DataWarning(text, path=data.path), stacklevel=3)
    return _without(valid, bad), "".join(f"; {part}" for part in notes)


def _without(images: _List | None, bad: Mapping[FilePath, ImageError]) -> _List | None:
    """Return a list without some of its images."""
    if images is None or not bad:
        return images
    kept = tuple(image for image in images.images if image.path not in bad)
    return replace(images, images=kept)


def _unreadable(
    data: DataFile, bad: Mapping[FilePath, ImageError], total: int, *, hint: str | None = None
) -> DataError:
    return DataError(
        _describe(bad, total),
        path=data.path,
        hint=hint or "repair them, or train without them",
        argument=None if hint else "skip_bad_images",
    )


def _describe(bad: Mapping[FilePath, ImageError], total: int) -> str:
    """Return the count and the first reasons as one line."""
    reasons = "; ".join(str(error) for error in list(bad.values())[:_SHOWN])
    more = f"; and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
    return f"{len(bad)} of {total} images cannot be read: {reasons}{more}"
