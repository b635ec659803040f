"""Check the size that an image file states, before memory is allocated for its pixels."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable

from darknet_builder.errors import ImageError
from darknet_builder.images.opencv import LIMIT_VARIABLE, MOST_PIXELS
from darknet_builder.support.web.remote import FilePath

_PNG = b"\x89PNG\r\n\x1a\n"
_LONGEST_CHUNK = 2**27
"""Largest chunk of a PNG, in bytes, that OpenCV may allocate although the file is shorter."""
_SIZE_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""The markers of a JPEG (SOF) that state its size."""
_BARE_MARKERS = frozenset((0x01, *range(0xD0, 0xD9)))
"""Markers without a length."""
_PORTABLE = re.compile(rb"P[1-6]\s+(?:#[^\n]*\n\s*)*(\d{1,9})\s+(?:#[^\n]*\n\s*)*(\d{1,9})")


def max_pixels() -> int:
    """Return the largest number of pixels that an image may have.

    It is OpenCV's own setting, the environment variable ``OPENCV_IO_MAX_IMAGE_PIXELS``; 2^27
    without it. OpenCV reads the variable when it is loaded, and applies it to all formats.
    """
    text = os.environ.get(LIMIT_VARIABLE, "")
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else MOST_PIXELS


def check_header(data: bytes, path: str | FilePath) -> None:
    """Check the beginning of an image file.

    Args:
        data: content of the whole file.
        path: path of the file, for messages.

    Raises:
        ImageError: if the image has more pixels than ``max_pixels``, or a chunk of a PNG is far
            longer than the file.
    """
    size = stated_size(data)
    if size is not None:
        check_pixels(*size, path)
    if data.startswith(_PNG) and _has_endless_chunk(data):
        raise ImageError("the PNG ends too early", path=path, hint="copy or download it again")


def check_pixels(width: int, height: int, path: str | FilePath) -> None:
    """Check a size in pixels.

    Raises:
        ImageError: if the product is above ``max_pixels``.
    """
    if width * height > max_pixels():
        raise too_many_pixels(path, f"has {width} x {height} pixels")


def too_many_pixels(path: str | FilePath, what: str = "has too many pixels") -> ImageError:
    """Return the error for an image above ``max_pixels``.

    Args:
        path: path of the image.
        what: beginning of the message, with the size if it is known.
    """
    return ImageError(
        f"{what}, more than the limit of {max_pixels():,}",
        path=path,
        hint=f"if that is intended, raise it with {LIMIT_VARIABLE} in the environment",
        argument="max_pixels",
    )


def stated_size(data: bytes) -> tuple[int, int] | None:
    """Return (width, height) in pixels as an image file states them.

    None for a format that is not checked here, and for a file without a size. Checked are formats
    that are common or can state a large size in a few bytes; OpenCV checks the others.

    Example:
        >>> stated_size(b"GIF89a" + bytes((16, 0, 9, 0)))
        (16, 9)
    """
    try:
        return next((read(data) for start, read in _READERS if data.startswith(start)), None)
    except struct.error:  # the file ends before its size
        return None


def _unpack(form: str, data: bytes, offset: int) -> tuple[int, int]:
    width, height = struct.unpack_from(form, data, offset)
    return abs(width), abs(height)  # a BMP that is stored from the top has a negative height


def _webp(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        low = struct.unpack_from("<HBHB", data, 24)  # two numbers of 24 bits, minus 1
        return low[0] + (low[1] << 16) + 1, low[2] + (low[3] << 16) + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)  # 14 bits each, minus 1
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = _unpack("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return None  # no marker where one must be
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _BARE_MARKERS:
            at += 2
        elif marker in _SIZE_MARKERS:
            height, width = _unpack(">HH", data, at + 5)
            return width, height
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def _portable(data: bytes) -> tuple[int, int] | None:
    match = _PORTABLE.match(data[:4096])
    return None if match is None else (int(match[1]), int(match[2]))


_READERS: tuple[tuple[bytes, Callable[[bytes], tuple[int, int] | None]], ...] = (
    (_PNG, lambda data: _unpack(">II", data, 16)),
    (b"\xff\xd8", _jpeg),
    (b"GIF8", lambda data: _unpack("<HH", data, 6)),
    (b"BM", lambda data: _unpack("<ii", data, 18)),
    (b"RIFF", _webp),
    (b"P", _portable),
)
"""The first bytes of a file -> a function that reads its size."""


def _has_endless_chunk(data: bytes) -> bool:
    at = len(_PNG)
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        at += 12 + length  # its length, its name and its checksum
        if at > len(data):
            return bool(length > _LONGEST_CHUNK)
    return False
