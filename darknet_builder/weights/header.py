"""Header of a ``.weights`` file: 16 or 20 bytes (parser.c:2254)."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np

from darknet_builder.cfg.dialects import Dialect
from darknet_builder.errors import WeightsError
from darknet_builder.layers.base import WeightsHeader
from darknet_builder.support.files import check_regular, is_web_page

#    0      4      8         12
#    major  minor  revision  seen   (32 bits: 16 bytes in all, 64 bits: 20 bytes)
_VERSION = struct.Struct("<iii")
_SHORT_SEEN = struct.Struct("<I")
_LONG_SEEN = struct.Struct("<Q")
FLOAT = np.dtype("<f4")
_LARGE_VERSION = 1000
_TEXT_BYTES = frozenset((*b"\t\n\r", *range(0x20, 0x7F), *range(0x80, 0x100)))
_LFS_MARK = b"version https://git-lfs"


def has_short_seen(dialect: Dialect, major: int, minor: int) -> bool:
    """Return whether ``seen`` has 32 bits (parser.c:2260; pjreddie's parser.c:1236)."""
    too_large = major >= _LARGE_VERSION or minor >= _LARGE_VERSION
    return major * 10 + minor < 2 or (too_large and dialect.large_version_is_short)


def pack_header(header: WeightsHeader, short: bool) -> bytes:
    """Return a header as bytes.

    Args:
        header: the version and the number of images seen.
        short: whether ``seen`` has 32 bits instead of 64.
    """
    seen = _SHORT_SEEN if short else _LONG_SEEN
    return _VERSION.pack(header.major, header.minor, header.revision) + seen.pack(header.seen)


def open_weights(dialect: Dialect, source: str) -> tuple[WeightsHeader, int, int]:
    """Return the header, its length in bytes, and the number of floats after it.

    Args:
        dialect: decides the size of ``seen`` in some versions.
        source: path of the file.

    Raises:
        WeightsError: if the file is of another kind, too short or cannot be read.
    """
    size = _file_size(source)
    # 20 bytes, the longer header; a file with the shorter one has floats there.
    with open(source, "rb") as file:
        head = file.read(_VERSION.size + _LONG_SEEN.size)
    _check_kind(source, head, size)
    major, minor, revision = _VERSION.unpack_from(head)
    short = has_short_seen(dialect, major, minor)
    layout = _SHORT_SEEN if short else _LONG_SEEN
    start = _VERSION.size + layout.size
    if size < start:
        raise WeightsError(
            f"has {size} bytes, less than the header of {start}",
            path=source,
            hint="download it again",
        )
    if (size - start) % FLOAT.itemsize:
        raise WeightsError(
            f"its {size - start} bytes after the header are not a whole number of floats; "
            "it was cut off while it was copied, or it is not a .weights file",
            path=source,
        )
    header = WeightsHeader(major, minor, revision, layout.unpack_from(head, _VERSION.size)[0])
    return header, start, (size - start) // FLOAT.itemsize


def _file_size(source: str) -> int:
    path = Path(source)
    if os.path.isdir(path):
        raise WeightsError("is a folder, not a .weights file", path=source)
    try:
        check_regular(path)
        return path.stat().st_size
    except FileNotFoundError:
        raise WeightsError("no such weights file", path=source) from None
    except OSError as error:
        raise WeightsError(f"cannot be read: {error.strerror}", path=source) from None


def _check_kind(source: str, head: bytes, size: int) -> None:
    """Refuse files that are often saved under a weights file's name, and name their kind."""
    start = head.lstrip().lower()
    if head.startswith(_LFS_MARK[: len(head)]) and head:
        raise WeightsError(
            "is a Git LFS pointer, not the weights",
            path=source,
            hint="run 'git lfs pull' in its repository",
        )
    if is_web_page(head):
        raise WeightsError(
            "is a web page, not the weights",
            path=source,
            hint="open its address in a browser and look",
        )
    if start.startswith(b"[net"):
        raise WeightsError(
            "is a cfg, not weights", path=source, hint="were cfg and weights exchanged?"
        )
    if head.startswith(b"PK\x03\x04"):
        raise WeightsError("is a zip archive or a PyTorch file, not Darknet weights", path=source)
    if size < _VERSION.size + _SHORT_SEEN.size:
        raise WeightsError(
            f"has {size} bytes, less than a header of 16 or 20",
            path=source,
            hint="download it again",
        )
    # The numbers of a version are small, so every header has zero bytes; text has none.
    if head and all(byte in _TEXT_BYTES for byte in head):
        raise WeightsError("is text, not weights", path=source)
