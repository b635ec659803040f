"""Look at many image files before a long computation: which cannot be read, which end too early."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from darknet_builder.errors import ImageError
from darknet_builder.images.files import read_image
from darknet_builder.images.prefetch import read_ahead
from darknet_builder.images.truncated import noting_truncated

_THREADS = 8
_BATCH = 64
_TAIL = 64
"""Bytes at a file's end in which its last marker must stand; some cameras add a few bytes."""
_WHOLE = ((b"\xff\xd8\xff", b"\xff\xd9"), (b"\x89PNG\r\n\x1a\n", b"IEND"))
"""First bytes and last marker of JPEG and PNG."""


@dataclass(frozen=True)
class ImageCheck:
    """The result of looking at image files.

    Attributes:
        unreadable: path and reason of each file that cannot be read, in order.
        truncated: paths of those that are read as far as they go.
    """

    unreadable: dict[Path, ImageError]
    truncated: frozenset[str]


class FileCounter(Protocol):
    """Shows how many files are done, as ``cli.progress.Progress`` does."""

    def grow(self, count: int) -> None:
        """More files are coming."""

    def advance(self, count: int = 1) -> None:
        """This number of files is done."""


def check_images(paths: Iterable[Path], counter: FileCounter | None = None) -> ImageCheck:
    """Look at files in threads, each file once.

    Of a JPEG or PNG only the beginning and the end are read; when one of them is not as it should
    be, and for all other formats, the image is decoded. Damage in the middle is not found.

    Args:
        paths: of the files.
        counter: is told how many files there are, and after each one.
    """
    different = list(dict.fromkeys(paths))
    if counter is not None:
        counter.grow(len(different))
    unreadable: dict[Path, ImageError] = {}
    with (
        noting_truncated(quietly=True) as truncated,
        closing(read_ahead(_complaint, different, batch=_BATCH, threads=_THREADS)) as complaints,
    ):
        for path, error in zip(different, complaints, strict=True):
            if error is not None:
                unreadable[path] = error
            if counter is not None:
                counter.advance()
    return ImageCheck(unreadable, frozenset(truncated))


def _complaint(path: Path) -> ImageError | None:
    try:
        if not _looks_whole(path):
            read_image(path)
    except ImageError as error:
        return error
    return None


def _looks_whole(path: Path) -> bool:
    """Whether a file begins and ends as a JPEG or PNG does."""
    try:
        with path.open("rb") as file:
            start = file.read(_TAIL)
            file.seek(max(file.seek(0, 2) - _TAIL, 0))
            end = file.read()
    except OSError:
        return False
    return any(start.startswith(first) and last in end for first, last in _WHOLE)
