"""The image and video files that words on a command line name: files, folders and globs."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from darknet_builder.errors import InputError
from darknet_builder.images.files import IMAGE_SUFFIXES
from darknet_builder.images.video import VIDEO_SUFFIXES


def find_sources(words: Iterable[str]) -> list[Path]:
    """The files that the words name, each once, folders and globs in the order of their names.

    A folder stands for its images and videos, without subfolders and hidden files; a file is taken
    whatever its suffix.

    Raises:
        InputError: for a word that names nothing.
    """
    found: dict[Path, Path] = {}
    for word in words:
        for path in _find(word):
            found.setdefault(path.resolve(), path)
    return list(found.values())


def is_video(path: Path) -> bool:
    """By its suffix."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def _find(word: str) -> list[Path]:
    path = Path(word)
    if path.is_dir():
        return _media(path.iterdir(), f"{word}: no image or video in this folder")
    if path.exists():
        return [path]
    if glob.has_magic(word):
        return _media(map(Path, glob.glob(word, recursive=True)), f"{word}: fits no image or video")
    raise InputError(f"{word}: no such file or folder")


def _media(paths: Iterable[Path], complaint: str) -> list[Path]:
    found = sorted(
        path
        for path in paths
        if path.is_file()
        and not path.name.startswith(".")
        and path.suffix.lower() in IMAGE_SUFFIXES + VIDEO_SUFFIXES
    )
    if not found:
        raise InputError(complaint)
    return found
