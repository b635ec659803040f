"""Find the image and video files that a command line names by files, folders and globs."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from darknet_builder.errors import InputError
from darknet_builder.images.files import IMAGE_SUFFIXES
from darknet_builder.images.video import VIDEO_SUFFIXES


def find_sources(words: Iterable[str]) -> list[Path]:
    """Return the files that the words name, each once; folders and globs are sorted by name.

    A folder stands for its images and videos, without subfolders and hidden files. A file is taken
    whatever its suffix is.

    Args:
        words: paths of files or folders, or globs (``**`` includes subfolders).

    Raises:
        InputError: if a word names no file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("b.jpg", "a.png", "notes.txt"):
        ...         (Path(folder) / name).touch()
        ...     [path.name for path in find_sources([folder])]
        ['a.png', 'b.jpg']
    """
    sources: dict[Path, Path] = {}
    for word in words:
        for path in _find(word):
            sources.setdefault(path.resolve(), path)
    return list(sources.values())


def is_video(path: Path) -> bool:
    """Return whether the suffix is that of a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def _find(word: str) -> list[Path]:
    if not word:
        raise InputError("a source is empty; expected an image, a video, a folder or a glob")
    # os.path and not Path, whose tests raise for a name that is too long.
    path = Path(word)
    if os.path.isdir(path):
        return _media(path.iterdir(), f"{word}: no image or video in this folder")
    if os.path.exists(path):  # before the glob: a name such as [x].jpg is a pattern as well
        return [path]
    if glob.has_magic(word):
        matches = map(Path, glob.glob(word, recursive=True))
        return _media(matches, f"{word}: matches no image or video")
    raise InputError(f"{word}: no such file or folder")


def _media(paths: Iterable[Path], complaint: str) -> list[Path]:
    media = sorted(
        path
        for path in paths
        if os.path.isfile(path)
        and not path.name.startswith(".")
        and path.suffix.lower() in IMAGE_SUFFIXES + VIDEO_SUFFIXES
    )
    if not media:
        raise InputError(complaint)
    return media
