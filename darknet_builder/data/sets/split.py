"""Split a list of images into training and validation lists with similar shares of each class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from darknet_builder.data.data_file import DataFile
from darknet_builder.data.image_list import read_image_list
from darknet_builder.data.labels import find_labels, read_labels
from darknet_builder.data.sets.statistics import class_names
from darknet_builder.errors import DataError, InputError
from darknet_builder.support.files import write_text, writing

_MOST_CLASSES = 2**20
"""Number of classes that the labels of a list without names may have."""
_DATA = ".data"


@dataclass(frozen=True)
class DataSplit:
    """The lists that were written.

    Attributes:
        path: the ``.data`` file; the training list if the source was a list.
        train: the images of the training list.
        valid: the images of the validation list.

    Example:
        >>> split = DataSplit(Path("my.data"), (Path("a.jpg"),), ())
        >>> len(split.train)
        1
    """

    path: Path
    train: tuple[Path, ...]
    valid: tuple[Path, ...]


def split_data(
    source: str | Path, target: str | Path, *, valid: float = 0.1, seed: int = 0
) -> DataSplit:
    """Split a data set, and write its new lists; images and labels stay where they are.

    Args:
        source: a ``.data`` file, whose ``train`` and ``valid`` lists are split again together, or
            a list of images.
        target: the folder to write to: ``train.txt``, ``valid.txt`` and, for a ``.data`` file, one
            of its name.
        valid: share of the images for validation, above 0 and below 1.
        seed: seed of the choice, 0 or more; the same seed gives the same lists.

    Raises:
        DataError: for a source that cannot be read or has fewer than 2 images.
        InputError: for an impossible share.

    Example:
        >>> import tempfile
        >>> from darknet_builder.data import write_scenes
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     data = write_scenes(f"{folder}/all", {"train": 10})
        ...     found = split_data(data, f"{folder}/new", valid=0.2)
        ...     len(DataFile.read(found.path).load("valid"))
        2
    """
    if not 0 < valid < 1:
        raise InputError("expected a share above 0 and below 1", argument="valid", value=valid)
    path, folder = Path(source), Path(target)
    data = DataFile.read(path) if path.suffix == _DATA else None
    lists = [path] if data is None else _lists(data)
    images = list(dict.fromkeys(image for one in lists for image in read_image_list(one)))
    if len(images) < 2:
        raise DataError("has fewer than 2 images, which cannot be split", path=path)
    classes = _MOST_CLASSES if data is None else data.classes
    counts = _count([_classes(image, classes) for image in images])
    chosen = choose_stratified(counts, valid, seed)
    rows = zip(images, chosen, strict=True)
    parts: dict[bool, list[Path]] = {True: [], False: []}
    for image, is_valid in rows:
        parts[bool(is_valid)].append(image)
    with writing(folder, DataError):
        folder.mkdir(parents=True, exist_ok=True)
    for name, part in (("train", parts[False]), ("valid", parts[True])):
        _write(folder / f"{name}.txt", "".join(f"{_relative(one, folder)}\n" for one in part))
    made = folder / "train.txt" if data is None else _write_data(data, folder)
    return DataSplit(made, tuple(parts[False]), tuple(parts[True]))


def choose_stratified(counts: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Choose images so that each class has about the same share of its objects among them.

    The rarest class is served first, from images in a random order, until it has its share. Images
    without objects are one more class.

    Args:
        counts: (N, C), the number of objects of each class in each image.
        share: share of the images to choose, above 0 and below 1.
        seed: seed of the order.

    Returns:
        (N,) bool; at least one image is chosen and at least one is not.

    Example:
        >>> counts = np.array([[1, 0]] * 8 + [[0, 1]] * 2)
        >>> chosen = choose_stratified(counts, 0.5, 0)
        >>> counts[chosen].sum(0).tolist()
        [4, 1]
    """
    size = len(counts)
    number = min(max(round(share * size), 1), size - 1)
    counts = np.column_stack([counts, counts.sum(1) == 0])
    wanted = share * counts.sum(0)
    order = np.random.default_rng(seed).permutation(size)
    chosen = np.zeros(size, bool)
    have = np.zeros(counts.shape[1])
    for column in np.argsort(counts.sum(0), kind="stable"):
        for image in order[counts[order, column] > 0]:
            if have[column] + 0.5 > wanted[column] or chosen.sum() == number:
                break
            if not chosen[image]:
                chosen[image] = True
                have += counts[image]
    rest = order[~chosen[order]][: number - int(chosen.sum())]
    chosen[rest] = True
    return chosen


def _lists(data: DataFile) -> list[Path]:
    keys = [key for key in ("train", "valid") if key in data.options]
    return [data.file(key) for key in keys] or [data.file("train")]  # raises: train= is missing


def _classes(image: Path, classes: int) -> np.ndarray:
    """Return (T,) the classes of an image's labels; bad lines are left out."""
    path = find_labels(image)
    if path is None:
        return np.zeros(0, int)
    return read_labels(path, classes, skip_bad=True)[0][:, 4].astype(int)


def _count(classes: Sequence[np.ndarray]) -> np.ndarray:
    """Return (N, C), the number of objects of each class that occurs in each image."""
    _, numbers = np.unique(np.concatenate([*classes, np.zeros(0, int)]), return_inverse=True)
    counts = np.zeros((len(classes), int(numbers.max(initial=-1)) + 1), int)
    rows = np.repeat(range(len(classes)), [len(one) for one in classes])
    np.add.at(counts, (rows, numbers), 1)
    return counts


def _relative(image: Path, folder: Path) -> str:
    """Return an image's path for a list: relative to it, unless it is on another drive."""
    try:
        return Path(os.path.relpath(image, folder)).as_posix()
    except ValueError:
        return str(image.resolve())


def _write_data(data: DataFile, folder: Path) -> Path:
    names = "".join(f"{name}\n" for name in class_names(data))
    stem = data.path.stem
    _write(folder / f"{stem}.names", names)
    text = f"classes = {data.classes}\ntrain = train.txt\nvalid = valid.txt\n"
    if "test" in data.options:
        text += f"test = {_relative(data.file('test'), folder)}\n"
    path = folder / f"{stem}{_DATA}"
    _write(path, f"{text}names = {stem}.names\nbackup = backup\n")
    return path


def _write(path: Path, text: str) -> None:
    with writing(path, DataError):
        write_text(path, text)
