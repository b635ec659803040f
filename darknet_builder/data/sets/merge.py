"""Join data sets into one, with classes joined by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from darknet_builder.data.formats.convert import Conversion, check_target, tidy, write_dataset
from darknet_builder.data.formats.finding import open_dataset
from darknet_builder.data.formats.notes import Notes
from darknet_builder.data.formats.records import AnnotatedImage, AnnotatedSet, class_ids


def merge_data(
    sources: Sequence[str | Path],
    target: str | Path,
    *,
    to: str = "darknet",
    link: str | None = None,
    overwrite: bool = False,
) -> Conversion:
    """Write the images of several data sets as one.

    Args:
        sources: the data sets, in any format that ``open_dataset`` reads.
        target: the folder to write; created whole or not at all.
        to: the format, one of ``FORMATS``.
        link: link images instead of copying them, ``hard`` or ``symbolic``; None copies.
        overwrite: replace a folder that is not empty.

    Returns:
        The path of the result, and what was written.

    Raises:
        DataError: for a source that cannot be read, or a target that cannot be written.
        InputError: for an unknown format, or a target that is not empty.

    Example:
        >>> import tempfile
        >>> from darknet_builder.data import write_scenes
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     one = write_scenes(f"{folder}/one", {"train": 2})
        ...     two = write_scenes(f"{folder}/two", {"train": 1, "valid": 1}, seed=7)
        ...     made = merge_data([one, two], f"{folder}/both")
        >>> made.text().partition(": ")[2].split(",")[0]
        '4 images (3 train'
    """
    check_target(target, sources, overwrite=overwrite)
    joined = join_sets([open_dataset(source) for source in sources])
    return write_dataset(tidy(joined, to), target, to, link=link, overwrite=overwrite)


def join_sets(datasets: Sequence[AnnotatedSet]) -> AnnotatedSet:
    """Join data sets; classes of one name become one class.

    Args:
        datasets: the data sets.

    Example:
        >>> image = AnnotatedImage(Path("a.jpg"), "a.jpg", (9, 9), ())
        >>> sets = [AnnotatedSet((name,), {"train": [image]}) for name in ("cat", "dog")]
        >>> joined = join_sets(sets)
        >>> joined.names, len(joined)
        (('cat', 'dog'), 2)
    """
    names: dict[str, int] = {}
    splits: dict[str, list[AnnotatedImage]] = {}
    notes = Notes()
    for dataset in datasets:
        ids = class_ids(dataset.names, names)
        for note, count in dataset.notes.counts.items():
            notes.add(note, dataset.notes.first[note], count)
        for split, images in dataset.splits.items():
            moved = [_with_classes(image, ids) for image in images]
            splits.setdefault(split, []).extend(moved)
    return AnnotatedSet(tuple(names), splits, notes)


def _with_classes(image: AnnotatedImage, ids: list[int]) -> AnnotatedImage:
    objects = [replace(one, class_id=ids[one.class_id]) for one in image.objects]
    return replace(image, objects=tuple(objects))
