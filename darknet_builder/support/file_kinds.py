"""Recognise files of other kinds by their content, such as a Git LFS pointer saved as a cfg."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

from darknet_builder.support.files import is_web_page


@dataclass(frozen=True)
class FileKind:
    """A kind of file that is not a cfg, and the advice to give for it.

    Attributes:
        name: with its article, such as ``a web page``.
        cure: what to do about it.
    """

    name: str
    cure: str


def recognize(data: bytes) -> FileKind | None:
    """Return the kind of a file that is not a cfg; None for a cfg, and for anything unknown.

    Args:
        data: the bytes of the whole file.
    """
    return next((kind for is_kind, kind in _KINDS if is_kind(data)), None)


def recognize_failed_download(data: bytes) -> FileKind | None:
    """Return the kind of a file that was saved instead of a text file; None for other files.

    Args:
        data: the bytes of the whole file.

    Example:
        >>> recognize_failed_download(b"<!DOCTYPE html>").name
        'a web page'
    """
    return next((kind for is_kind, kind in _IN_PLACE if is_kind(data)), None)


_SECTION = re.compile(rb"^[ \t]*\[[ \t]*\w[\w ]*\][ \t\r]*$", re.MULTILINE)
_YAML = re.compile(rb"\s*(?:(?:#[^\n]*|---[ \t\r]*)\n\s*)*[\w-]+[ \t]*:(?:\s|$)")
_ULTRALYTICS_MODEL = re.compile(rb"^backbone[ \t]*:", re.MULTILINE)
_ULTRALYTICS_DATA = re.compile(rb"^(?:train|val)[ \t]*:", re.MULTILINE)
_CAFFE = re.compile(rb"^[ \t]*layers?[ \t]*\{", re.MULTILINE)
_JSON = re.compile(rb'\s*(?:\{\s*["}]|\[\s*[\[\]{"\d-])')
_DATA_FILE = re.compile(rb"^[ \t]*(?:train|valid|names|backup)[ \t]*=", re.MULTILINE)
_HEADER = struct.Struct("<iii")
_MAX_VERSION = (10, 100, 100)
"""A header with higher numbers (major, minor, revision) is not that of a weights file."""
_SEEN_BYTES = (4, 8)
_FLOAT_BYTES = 4


def _is_yaml(data: bytes) -> bool:
    return not _SECTION.search(data) and _YAML.match(data) is not None


def _is_weights(data: bytes) -> bool:
    """Whether a file begins with a version and holds whole float32 numbers (parser.c:2254)."""
    if len(data) < _HEADER.size + max(_SEEN_BYTES):
        return False
    version = _HEADER.unpack_from(data)
    whole = (len(data) - _HEADER.size) % _FLOAT_BYTES == 0  # ``seen`` has 4 bytes or 8
    return whole and all(
        0 <= number < maximum for number, maximum in zip(version, _MAX_VERSION, strict=True)
    )


def _is_ultralytics_model(data: bytes) -> bool:
    return _is_yaml(data) and _ULTRALYTICS_MODEL.search(data) is not None


def _is_ultralytics_data(data: bytes) -> bool:
    return _is_yaml(data) and _ULTRALYTICS_DATA.search(data) is not None


def _is_data_file(data: bytes) -> bool:
    return not _SECTION.search(data) and _DATA_FILE.search(data) is not None


def _starts_with(*marks: bytes) -> Callable[[bytes], bool]:
    return lambda data: data.startswith(marks)


_EXCHANGED = "were cfg and weights exchanged?"
_OTHER_PROGRAM = "it describes a network for another program; take Darknet's .cfg"
_Kinds = tuple[tuple[Callable[[bytes], object], FileKind], ...]
_IN_PLACE: _Kinds = (
    (
        _starts_with(b"version https://git-lfs"),
        FileKind("a Git LFS pointer", "run 'git lfs pull' in its repository"),
    ),
    (
        is_web_page,
        FileKind("a web page", "open its address in a browser and take the file itself"),
    ),
)
_KINDS: _Kinds = (
    *_IN_PLACE,
    (_is_weights, FileKind("a .weights file", "give the cfg first, and this file as its weights")),
    (
        _starts_with(b"PK\x03\x04"),
        FileKind("a zip archive or a PyTorch file", "unpack it, or give a .pt file by that name"),
    ),
    (_starts_with(b"\x1f\x8b"), FileKind("a gzip archive", "unpack it")),
    # A byte order mark: UTF-16 is full of zero bytes, so it must be tried before "a binary file".
    (_starts_with(b"\xff\xfe", b"\xfe\xff"), FileKind("UTF-16 text", "save it as UTF-8")),
    (re.compile(rb"\0").search, FileKind("a binary file", _EXCHANGED)),
    (_JSON.match, FileKind("JSON", _OTHER_PROGRAM)),
    (_CAFFE.search, FileKind("a Caffe prototxt", _OTHER_PROGRAM)),
    (_is_ultralytics_model, FileKind("an ultralytics model in YAML", _OTHER_PROGRAM)),
    (
        _is_ultralytics_data,
        FileKind("an ultralytics data set in YAML", "give the network's .cfg"),
    ),
    (_is_yaml, FileKind("a YAML file", _OTHER_PROGRAM)),
    (
        _is_data_file,
        FileKind("a .data file", "give the network's .cfg here, and this file as the data"),
    ),
)
"""The first that fits decides."""
