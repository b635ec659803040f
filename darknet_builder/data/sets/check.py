"""Check a data set: lists, every label line, every image, equal images, classes and sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from darknet_builder.data.data_file import DataFile
from darknet_builder.data.sets.findings import ERROR, LEVELS, DataFinding
from darknet_builder.data.sets.listed import ListedImage, read_splits
from darknet_builder.data.sets.looks import Look, equal_pairs, look_at, similar_pairs
from darknet_builder.data.sets.network_sizes import NetworkSizes, compare_sizes
from darknet_builder.data.sets.statistics import DataStatistics, class_names
from darknet_builder.images.readable import FileCounter
from darknet_builder.network.network import Network


@dataclass(frozen=True)
class DataCheck:
    """The result of a check.

    Attributes:
        path: the ``.data`` file.
        names: the classes.
        images: the images that exist, in the order of the lists.
        findings: what is odd, errors first.
        statistics: the counts of classes and splits.
        sizes: the boxes in the input of a network; None without one.
    """

    path: Path
    names: tuple[str, ...]
    images: tuple[ListedImage, ...]
    findings: tuple[DataFinding, ...]
    statistics: DataStatistics
    sizes: NetworkSizes | None = None

    @property
    def num_errors(self) -> int:
        """The number of findings that are errors."""
        return sum(finding.level == ERROR for finding in self.findings)

    def counts(self) -> dict[str, int]:
        """Return the number of findings of each kind that occurs."""
        return dict(Counter(finding.kind for finding in self.findings))

    def to_dict(self) -> dict[str, object]:
        """Return everything for a JSON document."""
        return {
            "path": str(self.path),
            "errors": self.num_errors,
            "warnings": len(self.findings) - self.num_errors,
            **self.statistics.to_dict(),
            "network": None if self.sizes is None else self.sizes.to_dict(),
            "findings": [finding.to_dict() for finding in self.findings],
        }


def check_data(
    path: str | Path, *, network: Network | None = None, counter: FileCounter | None = None
) -> DataCheck:
    """Check a data set.

    Args:
        path: the ``.data`` file.
        network: a detector, whose strides and anchors the boxes are compared with; None leaves
            that out.
        counter: receives the number of images, and each one when it is done; None to report
            nothing.

    Raises:
        DataError: for a ``.data`` file or a list that cannot be read; everything else is a finding.

    Example:
        >>> import tempfile
        >>> from darknet_builder.data import write_scenes
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     data = write_scenes(folder, {"train": 8, "valid": 4})
        ...     (Path(folder) / "labels/train/000003.txt").write_text("9 .5 .5 .1 .1")
        ...     found = check_data(data)
        13
        >>> found.num_errors, found.findings[0].text.split(": ", 1)[1]
        (1, 'class 9: there are 8 classes, 0 to 7')
    """
    data = DataFile.read(path)
    images, findings = read_splits(data)
    names = class_names(data)
    looks, failed = look_at([image.path for image in images], counter)
    for image in images:
        if image.path in failed:
            text = failed[image.path].message
            finding = DataFinding(
                "unreadable image", text, image.path, image=image.path, split=image.split
            )
            findings.append(finding)
        else:
            findings += _odd_look(image, looks[image.path])
    findings += _repeated(images, looks)
    statistics = DataStatistics.of(images, names)
    findings += statistics.findings()
    sizes = None
    if network is not None:
        sizes = compare_sizes(network, statistics.boxes[:, 2:4])
        findings += sizes.findings()
    kinds = list(LEVELS)
    findings.sort(key=lambda finding: kinds.index(finding.kind))
    return DataCheck(Path(path), names, tuple(images), tuple(findings), statistics, sizes)


def _odd_look(image: ListedImage, look: Look) -> Iterator[DataFinding]:
    """Yield what is odd about a decoded image."""
    if look.is_truncated:
        text = "the end of the file is missing"
        yield DataFinding("truncated image", text, image.path, image=image.path, split=image.split)
    if look.is_rotated and look.stated is not None:
        stated = f"{look.stated[0]} x {look.stated[1]}"
        text = (
            f"{stated} in the file, {look.size[0]} x {look.size[1]} when it is shown: its labels"
            " may be for the other size"
        )
        yield DataFinding("rotated image", text, image.path, image=image.path, split=image.split)


def _repeated(images: list[ListedImage], looks: dict[Path, Look]) -> Iterator[DataFinding]:
    """Yield images that occur twice in a split, and equal or similar ones in two splits."""
    splits: dict[str, list[Look]] = {}
    for image in images:
        if image.path in looks:
            splits.setdefault(image.split, []).append(looks[image.path])
    names = list(splits)
    for index, split in enumerate(names):
        own = splits[split]
        for original, look in equal_pairs(own, own):
            if original is not look:
                text = f"has the pixels of {original.path}"
                yield DataFinding("same image twice", text, look.path, None, look.path, split)
        for other in names[:index]:
            for original, look in equal_pairs(splits[other], own):
                text = f"has the pixels of {original.path} in {other}"
                yield DataFinding(
                    "same image in two splits", text, look.path, None, look.path, split
                )
            for original, look in similar_pairs(splits[other], own):
                text = f"looks like {original.path} in {other}"
                yield DataFinding(
                    "similar image in two splits", text, look.path, None, look.path, split
                )
