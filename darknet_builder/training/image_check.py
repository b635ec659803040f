"""Look at the files of a training's lists before its first step."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from darknet_builder.data.class_lists import ClassedImages
from darknet_builder.data.data_file import DataFile
from darknet_builder.data.image_set import ImageSet
from darknet_builder.errors import DataError, DataWarning, ImageError
from darknet_builder.images.readable import FileCounter, check_images
from darknet_builder.images.truncated import describe_truncated

_SHOWN = 20
"""Unreadable files that an error names."""
_List = TypeVar("_List", ImageSet, ClassedImages)


@dataclass(frozen=True)
class FileCheck:
    """How the files of both lists are to be looked at.

    Attributes:
        skip_bad: train without the files that cannot be read, and warn, instead of raising.
        counter: shows how many files are done; None for nothing.
    """

    skip_bad: bool = False
    counter: FileCounter | None = None


def check_lists(
    data: DataFile, train: _List, valid: _List | None, how: FileCheck
) -> tuple[_List | None, str]:
    """Look at the files of both lists, each file once.

    The training list keeps its unreadable images, so that its length and with it a resumed training
    stay what they are: in each sample another image takes their place.

    Args:
        data: for messages.
        train: the training list.
        valid: the validation list; None without one.
        how: what to do about unreadable files.

    Returns:
        The validation list without unreadable images, and what to add to the training's
        description.

    Raises:
        DataError: for unreadable files, naming the first 20, unless they are to be skipped; also
            when nothing is left of a list.
    """
    lists = [train, valid] if valid is not None else [train]
    paths = [image.path for images in lists for image in images.images]
    check = check_images(paths, how.counter)
    bad, total = check.unreadable, len(set(paths))
    if bad and not how.skip_bad:
        raise _error(data, bad, total)
    if any(all(image.path in bad for image in images.images) for images in lists):
        raise _error(data, bad, total, hint="nothing is left of a list")
    said = []
    if bad:
        text = f"{_describe(bad, total)}; the training goes on without them"
        warnings.warn(DataWarning(text, path=data.path), stacklevel=3)
        said.append(f"{len(bad)} cannot be read")
    if check.truncated:
        text = describe_truncated(len(check.truncated))
        said.append(text)
        first = min(check.truncated)
        text = f"{text}; what is missing is grey or blurred; for instance {first}"
        warnings.warn(DataWarning(text, path=data.path), stacklevel=3)
    return without(valid, bad), "".join(f"; {part}" for part in said)


def without(images: _List | None, bad: Mapping[Path, ImageError]) -> _List | None:
    """Return a list without some of its images."""
    if images is None or not bad:
        return images
    kept = tuple(image for image in images.images if image.path not in bad)
    return replace(images, images=kept)  # type: ignore[arg-type]  # of the list's own kind


def _error(
    data: DataFile, bad: Mapping[Path, ImageError], total: int, *, hint: str | None = None
) -> DataError:
    return DataError(
        _describe(bad, total),
        path=data.path,
        hint=hint or "mend them, or train without them",
        argument=None if hint else "skip_bad_images",
    )


def _describe(bad: Mapping[Path, ImageError], total: int) -> str:
    """Return the count and the first reasons as one line."""
    reasons = "; ".join(str(error) for error in list(bad.values())[:_SHOWN])
    more = f"; and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
    return f"{len(bad)} of {total} images cannot be read: {reasons}{more}"
