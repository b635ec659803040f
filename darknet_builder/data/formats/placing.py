"""Put images into a new data set as copies or links, under names that no two of them share."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from darknet_builder.data.formats.notes import RENAMED, Notes
from darknet_builder.data.formats.records import AnnotatedImage
from darknet_builder.errors import DataError

_FOLDERS_OF_LABELS = ("images", "labels", "JPEGImages", "Annotations")
"""Folders in whose place programs look for labels, so that no other folder may have these names."""


class Placer:
    """Copy or link images into a folder.

    A name that is taken gets a number: labels are found by the name without its suffix, so that
    ``a.jpg`` and ``a.png`` cannot be beside each other.

    Args:
        folder: the folder of the data set.
        stem: name of the files that describe the whole set, without suffix.
        link: ``hard`` or ``symbolic``; None copies.
        notes: counts images that are renamed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     image = Path(folder) / "a.jpg"
        ...     _ = image.write_bytes(b"")
        ...     placer = Placer(Path(folder) / "new", "new", None, Notes())
        ...     record = AnnotatedImage(image, "sub/a.jpg", (1, 1), ())
        ...     (placer.place(record, "images"), placer.place(record, "images"))
        ('images/sub/a.jpg', 'images/sub/a-2.jpg')
    """

    def __init__(self, folder: Path, stem: str, link: str | None, notes: Notes) -> None:
        self.stem = stem
        self._folder, self._link, self._notes = folder, link, notes
        self._taken: set[str] = set()

    def place(self, image: AnnotatedImage, below: str, *, flat: bool = False) -> str:
        """Copy or link an image.

        Args:
            image: the image.
            below: the folder to put it in, such as ``images/train``.
            flat: leave the folders in its name out if no other image is in the way.

        Returns:
            Its path in the data set.

        Raises:
            DataError: if the file cannot be copied or linked.
        """
        name = safe_name(image.name)
        if flat and _key(below, Path(name).name) not in self._taken:
            name = Path(name).name
        path = f"{below}/{self._free(below, name, image)}"
        target = self._folder / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._transfer(image.path, target)
        except OSError as error:
            verb = "copied" if self._link is None else "linked"
            hint = None if self._link is None else "leave the links out to copy the images"
            raise DataError(
                f"cannot be {verb} to {target}: {error.strerror or error}",
                path=image.path,
                hint=hint,
            ) from None
        return path

    def _free(self, below: str, name: str, image: AnnotatedImage) -> str:
        """Return a name that is not taken yet, and take it."""
        pure, number = Path(name), 1
        while _key(below, name) in self._taken:
            number += 1
            name = pure.with_name(f"{pure.stem}-{number}{pure.suffix}").as_posix()
        if number > 1:
            self._notes.add(RENAMED, image.path)
        self._taken.add(_key(below, name))
        return name

    def _transfer(self, source: Path, target: Path) -> None:
        if self._link == "symbolic":
            target.symlink_to(source.resolve())
        elif self._link == "hard":
            os.link(source.resolve(), target)
        else:
            shutil.copyfile(source, target)


def _key(below: str, name: str) -> str:
    """Return what two images must not share; some file systems take A for a."""
    return f"{below}/{Path(name).with_suffix('').as_posix()}".casefold()


def safe_name(name: str) -> str:
    r"""Return a relative path that stays in its folder, for a name from a file.

    Example:
        >>> safe_name("../../images/sub/a.jpg"), safe_name("C:\\photos\\b.jpg")
        ('sub/a.jpg', 'photos/b.jpg')
    """
    parts = name.replace("\\", "/").replace("\0", "").replace("\n", " ").split("/")
    kept = [part.strip() for part in parts if not part.endswith(":")]
    folders = [part for part in kept[:-1] if part not in ("", ".", "..", *_FOLDERS_OF_LABELS)]
    last = kept[-1] if kept and kept[-1] not in ("", ".", "..") else "image"
    return "/".join((*folders, last))
