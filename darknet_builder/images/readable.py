"""Check before a long computation which image files cannot be read or end too early."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from darknet_builder.errors import ImageError
from darknet_builder.images.files import read_image
from darknet_builder.images.header import max_pixels, stated_size
from darknet_builder.images.prefetch import read_ahead
from darknet_builder.images.truncated import noting_truncated
from darknet_builder.support.web.remote import FilePath, RemoteFile

_THREADS = 8
_BATCH = 64
_HEAD = 2**12
"""Most image files state their size within this number of bytes."""
_TAIL = 64
"""Bytes at a file's end in which its last marker must stand; some cameras add a few bytes."""
_WHOLE = ((b"\xff\xd8\xff", b"\xff\xd9"), (b"\x89PNG\r\n\x1a\n", b"IEND"))
"""First bytes and last marker of JPEG and PNG."""


@dataclass(frozen=True)
class ImageCheck:
    """The result of a check of image files.

    Attributes:
        unreadable: path and reason of each file that cannot be read, in order.
        truncated: paths of the files that end too early but can be read.
    """

    unreadable: dict[FilePath, ImageError]
    truncated: frozenset[str]


class FileCounter(Protocol):
    """Shows the number of checked files, as ``cli.progress.Progress`` does."""

    def grow(self, count: int) -> None:
        """More files are coming."""

    def advance(self, count: int = 1) -> None:
        """This number of files is done."""


def check_images(paths: Iterable[FilePath], counter: FileCounter | None = None) -> ImageCheck:
    """Check image files in threads, each file once.

    Only the beginning and the end of a JPEG or PNG are read. If one of them is wrong, and for all
    other formats and for addresses, the image is decoded. Damage in the middle is not found.

    Args:
        paths: paths of the files; repeated ones count once.
        counter: receives the number of files, and each one when it is done; None to report nothing.
    """
    different = list(dict.fromkeys(paths))
    if counter is not None:
        counter.grow(len(different))
    unreadable: dict[FilePath, ImageError] = {}
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


def _complaint(path: FilePath) -> ImageError | None:
    try:
        if isinstance(path, RemoteFile) or not _looks_whole(path):
            read_image(path)
    except ImageError as error:
        return error
    return None


def _looks_whole(path: Path) -> bool:
    """Return whether a file begins and ends like a JPEG or PNG."""
    try:
        with path.open("rb") as file:
            start = file.read(_HEAD)
            file.seek(max(file.seek(0, 2) - _TAIL, 0))
            end = file.read()
    except OSError:
        return False
    width, height = stated_size(start) or (0, 0)
    if width * height > max_pixels():
        return False
    return any(start.startswith(first) and last in end for first, last in _WHOLE)
