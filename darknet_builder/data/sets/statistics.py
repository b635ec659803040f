"""Count the images and objects of each class and split, and draw their sizes and places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from darknet_builder.data.data_file import DataFile
from darknet_builder.data.labels import no_boxes
from darknet_builder.data.sets.findings import DataFinding
from darknet_builder.data.sets.listed import ListedImage, read_splits
from darknet_builder.support.figures import load_figures, plain_label, save_figure

_RARE = 100
"""How many times as many objects the most frequent class has as a rare one."""
_SIZE_INCHES, _DOTS_PER_INCH, _CELLS = (12.0, 8.0), 120, 50
_MOST_NAMED = 40
"""Up to this number of classes, the picture has their names."""


@dataclass(frozen=True)
class ClassCount:
    """The objects of one class.

    Attributes:
        name: the class.
        objects: number of objects in each split.
        images: number of images with at least one, in each split.
        median_width: of the boxes, relative to the image; 0 without objects.
        median_height: of the boxes, relative to the image; 0 without objects.
    """

    name: str
    objects: dict[str, int]
    images: dict[str, int]
    median_width: float
    median_height: float

    @property
    def total(self) -> int:
        """The number of objects in all splits."""
        return sum(self.objects.values())


@dataclass(frozen=True)
class DataStatistics:
    """The counts of a data set.

    Attributes:
        classes: the counts of each class.
        images: number of images in each split.
        empty: number of images without objects in each split.
        boxes: (T, 5) float32, the boxes of all splits: x, y, w, h, class.
    """

    classes: tuple[ClassCount, ...]
    images: dict[str, int]
    empty: dict[str, int]
    boxes: np.ndarray

    @classmethod
    def of(cls, images: Sequence[ListedImage], names: Sequence[str]) -> DataStatistics:
        """Count images.

        Args:
            images: the images of all splits.
            names: the classes.
        """
        splits = list(dict.fromkeys(image.split for image in images))
        objects = np.zeros((len(names), len(splits)), int)
        with_class = np.zeros_like(objects)
        for image in images:
            column = splits.index(image.split)
            counts = np.bincount(image.boxes[:, 4].astype(int), minlength=len(names))
            objects[:, column] += counts
            with_class[:, column] += counts > 0
        boxes = np.concatenate([no_boxes(), *(image.boxes for image in images)])
        rows = []
        for number, name in enumerate(names):
            own = boxes[boxes[:, 4] == number]
            width, height = np.median(own[:, 2:4], axis=0) if len(own) else (0.0, 0.0)
            rows.append(
                ClassCount(
                    name,
                    dict(zip(splits, objects[number].tolist(), strict=True)),
                    dict(zip(splits, with_class[number].tolist(), strict=True)),
                    float(width),
                    float(height),
                )
            )
        per_split = [[image for image in images if image.split == split] for split in splits]
        counts_of = {split: len(own) for split, own in zip(splits, per_split, strict=True)}
        empty = [sum(not len(image.boxes) for image in own) for own in per_split]
        return cls(tuple(rows), counts_of, dict(zip(splits, empty, strict=True)), boxes)

    def rows(self) -> list[tuple[str, ...]]:
        """Return a table for people: a heading, a row for each class, and the sums."""
        heads = ["class", "name"]
        for split in self.images:
            heads += [f"{split} objects", f"{split} images"]
        table = [(*heads, "median width %", "height %")]
        for number, one in enumerate(self.classes):
            cells = [str(number), one.name]
            for split in self.images:
                cells += [str(one.objects[split]), str(one.images[split])]
            sizes = f"{100 * one.median_width:.1f}", f"{100 * one.median_height:.1f}"
            table.append((*cells, *sizes))
        sums = ["", "all"]
        for split, count in self.images.items():
            sums += [str(sum(one.objects[split] for one in self.classes)), str(count)]
        table.append((*sums, "", ""))
        return table

    def findings(self) -> list[DataFinding]:
        """Return the classes of which there are no objects, or very few."""
        most = max((one.total for one in self.classes), default=0)
        found = []
        for one in self.classes:
            missing = [split for split, count in one.objects.items() if not count]
            if missing and most:
                text = f"{one.name}: no objects in {' and '.join(missing)}"
                found.append(DataFinding("class without objects", text))
            elif one.total * _RARE < most:
                text = f"{one.name}: {one.total} objects, the most frequent class has {most}"
                found.append(DataFinding("rare class", text))
        return found

    def to_dict(self) -> dict[str, object]:
        """Return the counts for a JSON document."""
        classes = [
            {
                "name": one.name,
                "objects": one.objects,
                "images": one.images,
                "median_width": one.median_width,
                "median_height": one.median_height,
            }
            for one in self.classes
        ]
        return {"images": self.images, "empty_images": self.empty, "classes": classes}


def class_names(data: DataFile) -> tuple[str, ...]:
    """Return the class names of a ``.data`` file; ``class N`` where it names none."""
    return data.names or tuple(f"class {number}" for number in range(data.classes))


def count_data(path: str | Path) -> DataStatistics:
    """Count the images and objects of a data set; bad labels are left out.

    Args:
        path: the ``.data`` file.

    Raises:
        DataError: for a file or a list that cannot be read.

    Example:
        >>> import tempfile
        >>> from darknet_builder.data import write_scenes
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     counts = count_data(write_scenes(folder, {"train": 4, "valid": 1}))
        >>> counts.images, sum(one.total for one in counts.classes) == len(counts.boxes)
        ({'train': 4, 'valid': 1}, True)
    """
    data = DataFile.read(path)
    images, _ = read_splits(data)
    return DataStatistics.of(images, class_names(data))


def plot_statistics(counts: DataStatistics, path: str | Path, title: str = "") -> None:
    """Draw the objects of each class, and the sizes, areas and places of all boxes.

    Args:
        counts: the counts.
        path: path of the picture; the suffix selects the format.
        title: title of the picture.

    Raises:
        MissingExtraError: if matplotlib is not installed.
        InputError: if the file cannot be written.
    """
    figure = load_figures().Figure(figsize=_SIZE_INCHES, dpi=_DOTS_PER_INCH, layout="constrained")
    figure.suptitle(plain_label(title))
    classes, sizes, areas, places = figure.subplots(2, 2).flat
    _draw_classes(classes, counts)
    x, y, w, h = counts.boxes[:, :4].T
    sizes.hist2d(w, h, bins=_CELLS, range=((0, 1), (0, 1)), cmin=1)
    sizes.set(xlabel="width of the box", ylabel="height of the box", title="sizes")
    areas.hist(np.sqrt(w * h), bins=_CELLS, range=(0, 1))
    areas.set(xlabel="square root of the box's area", ylabel="objects", title="areas")
    places.hist2d(x, y, bins=_CELLS, range=((0, 1), (0, 1)), cmin=1)
    places.set(xlabel="x of the centre", ylabel="y of the centre", title="places")
    places.invert_yaxis()
    save_figure(figure, path)


def _draw_classes(axes: Any, counts: DataStatistics) -> None:
    below = np.zeros(len(counts.classes))
    for split in counts.images:
        values = np.array([one.objects[split] for one in counts.classes])
        axes.bar(range(len(values)), values, bottom=below, label=split)
        below += values
    if len(counts.classes) <= _MOST_NAMED:
        names = [plain_label(one.name) for one in counts.classes]
        axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set(ylabel="objects", title="classes")
    axes.legend()
