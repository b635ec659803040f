"""Image files that end too early: decode what there is, as ``cv2.imread`` does, and count them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from darknet_builder.errors import TruncatedImageWarning

_JPEG_START = b"\xff\xd8\xff"
_PNG_START = b"\x89PNG\r\n\x1a\n"
_JPEG_ENDS = b"\xff\xd9" * 2**15
"""At the end of a file libjpeg's stdio source, which ``cv2.imread`` uses, goes on with end markers
for ever (jdatasrc.c); a segment of the header, which may be cut off too, takes up to 64 KB of them.
Its memory source, which ``cv2.imdecode`` uses, gives up."""


def complete(data: bytes) -> bytes | None:
    """Return a JPEG with the ends that make ``cv2.imdecode`` give the pixels of ``cv2.imread``.

    OpenCV reads no other format whose end is missing; for those the result is None.
    """
    return data + _JPEG_ENDS if data.startswith(_JPEG_START) else None


def lacks_end(data: bytes) -> bool:
    """Return whether a PNG has no last chunk, which is why OpenCV does not read it."""
    return data.startswith(_PNG_START) and b"IEND" not in data[-64:]


def warn_truncated(path: str | Path) -> None:
    """Warn that a file was read as far as it goes."""
    warnings.warn(
        TruncatedImageWarning(
            "the file ends too early; what is missing is grey or blurred",
            path=path,
            hint="copy or download it again",
        ),
        stacklevel=3,
    )


@contextmanager
def noting_truncated(*, quietly: bool = False) -> Iterator[set[str]]:
    """Collect the paths of the images that end too early, from all threads, while the block runs.

    Args:
        quietly: the caller reports them, so their warnings are not shown.

    Yields:
        The paths so far.
    """
    paths: set[str] = set()
    with warnings.catch_warnings():
        show = warnings.showwarning

        def note(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if isinstance(message, TruncatedImageWarning):
                paths.add(message.path or "")
                if quietly:
                    return
            show(message, category, filename, lineno, file, line)

        warnings.showwarning = note
        yield paths


def describe_truncated(count: int) -> str:
    """Return ``2 images end too early``."""
    return "1 image ends too early" if count == 1 else f"{count} images end too early"
