"""Decode image files that end too early, as ``cv2.imread`` does, and count them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from darknet_builder.errors import TruncatedImageWarning
from darknet_builder.support.web.remote import FilePath

_JPEG_START = b"\xff\xd8\xff"
_PNG_START = b"\x89PNG\r\n\x1a\n"
_JPEG_ENDS = b"\xff\xd9" * 2**15
"""End markers to append to a cut-off JPEG. ``cv2.imread`` reads with libjpeg's stdio source, which
adds end markers at the end of a file without limit (jdatasrc.c). ``cv2.imdecode`` uses the memory
source, which fails there. A cut-off header segment can take up to 64 KB of them."""


def complete(data: bytes) -> bytes | None:
    """Append end markers to a JPEG, so that ``cv2.imdecode`` gives the pixels of ``cv2.imread``.

    OpenCV reads no other format whose end is missing; for those the result is None.
    """
    return data + _JPEG_ENDS if data.startswith(_JPEG_START) else None


def lacks_end(data: bytes) -> bool:
    """Return whether a PNG has no last chunk, which is why OpenCV does not read it."""
    return data.startswith(_PNG_START) and b"IEND" not in data[-64:]


_collectors: list[tuple[set[str], bool]] = []
"""The sets of all ``noting_truncated`` blocks that run, and whether each is quiet."""


def warn_truncated(path: str | FilePath) -> None:
    """Warn that a file ends too early and was read up to there."""
    # Not collected from the warnings: another thread may be changing their filters just now.
    collectors = list(_collectors)
    for paths, _ in collectors:
        paths.add(str(path))
    if any(quietly for _, quietly in collectors):
        return
    warnings.warn(
        TruncatedImageWarning(
            "the file ends too early; the missing part is grey or blurred",
            path=path,
            hint="copy or download it again",
        ),
        stacklevel=3,
    )


@contextmanager
def noting_truncated(*, quietly: bool = False) -> Iterator[set[str]]:
    """Collect the paths of images that end too early, from all threads, while the block runs.

    Args:
        quietly: do not warn of them, because the caller reports them.

    Yields:
        The paths so far.
    """
    collector: tuple[set[str], bool] = (set(), quietly)
    _collectors.append(collector)
    try:
        yield collector[0]
    finally:
        _collectors[:] = [other for other in _collectors if other is not collector]


def describe_truncated(count: int) -> str:
    """Return ``2 images end too early``."""
    return "1 image ends too early" if count == 1 else f"{count} images end too early"
