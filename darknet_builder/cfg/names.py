"""Read ``.names`` files, which have one class name per line."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from darknet_builder.errors import DataError, DataWarning, InputError, did_you_mean
from darknet_builder.support.bundled import bundled_names, find_by_name, hint_at_bundled
from darknet_builder.support.file_kinds import recognize_failed_download
from darknet_builder.support.files import read_bounded

if TYPE_CHECKING:
    from darknet_builder.support.web.remote import FilePath

_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")
"""Bytes that no text has, in any encoding with one byte for an ASCII letter."""
_CFG = re.compile(r"(?:\s|#[^\n]*\n)*\[(?:net|network)\]\s")


def find_classes(
    wanted: Iterable[str | int], names: Sequence[str], argument: str = "classes"
) -> list[int]:
    """Return the numbers of classes that are given by name or by number.

    Args:
        wanted: names of classes, or their numbers, as integers or as text. A name that looks like a
            number is taken as a name. A text is one class.
        names: the names of all classes.
        argument: the argument that an error names.

    Returns:
        The numbers in ascending order, each once.

    Raises:
        InputError: for the first class that does not exist, with the most similar name.

    Example:
        >>> find_classes(["dog", "0"], ["person", "cat", "dog"])
        [0, 2]
    """
    numbers: set[int] = set()
    for one in [wanted] if isinstance(wanted, str) else wanted:
        same = [number for number, name in enumerate(names) if name == one]
        text = str(one)
        if not same and text.isascii() and text.isdecimal() and int(text) < len(names):
            same = [int(text)]
        if not same:
            last = len(names) - 1
            raise InputError(
                f"no class has this name; the classes have the numbers 0 to {last}",
                argument=argument,
                value=one,
                hint=did_you_mean(text, names),
            )
        numbers.update(same)
    return sorted(numbers)


def read_names(path: str | FilePath) -> list[str]:
    """Read a ``.names`` file: one class name per line, without blank lines at the end.

    A file in another encoding than UTF-8 is read as GBK or Latin-1, with a ``DataWarning``; to
    Darknet, names are bytes.

    Args:
        path: path of the file, the name of a bundled one (``coco``), or a file at an address.

    Raises:
        DataError: if the file cannot be read, is not text or has no names.

    Example:
        >>> read_names("coco")[:3]
        ['person', 'bicycle', 'car']
    """
    file = find_by_name(path, ".names") if isinstance(path, str | Path) else path
    try:
        data = read_bounded(file)
    except FileNotFoundError:
        known = f"; bundled ones are {', '.join(bundled_names('.names'))}"
        hint = hint_at_bundled(file, ".names") if isinstance(file, Path) else None
        raise DataError("no such names file", path=path, hint=hint or known) from None
    except OSError as error:
        raise DataError(f"{error.strerror or error}", path=path) from None
    text = _decode(data, path)
    if kind := recognize_failed_download(data):
        raise DataError(f"is {kind.name}, not class names", path=path, hint=kind.cure)
    if _CFG.match(text):
        raise DataError(
            "is a cfg, not class names", path=path, hint="expected one class name a line"
        )
    names = [line.strip() for line in text.rstrip().splitlines()]
    if not names:
        raise DataError("has no names", path=path, hint="expected one class name a line")
    return names


def _decode(data: bytes, path: str | FilePath) -> str:
    """The text of a names file; a warning names the encoding if it is not UTF-8.

    Args:
        data: the bytes of the whole file.
        path: of the file, for messages.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        if _CONTROL.search(data):
            raise DataError(
                "is not UTF-8 text", path=path, hint="expected one class name a line"
            ) from None
    text = _chinese(data)
    name = "Latin-1" if text is None else "GBK"
    warnings.warn(
        DataWarning(f"is not UTF-8; read as {name}", path=path, hint="save it as UTF-8 to be sure"),
        stacklevel=3,
    )
    return data.decode("cp1252", "replace") if text is None else text


def _chinese(data: bytes) -> str | None:
    """The text, if the bytes look like GBK; None if they look like an alphabet of single bytes.

    Almost any bytes can be decoded as GBK. In Chinese text most characters are those of GB2312,
    while an accented letter and the ASCII letter after it make a rare one outside of it.
    """
    try:
        text = data.decode("gbk")
    except UnicodeDecodeError:
        return None
    foreign = [character for character in text if not character.isascii()]
    common = [character for character in foreign if _in_gb2312(character)]
    return text if 2 * len(common) > len(foreign) else None


def _in_gb2312(character: str) -> bool:
    return len(character.encode("gb2312", "ignore")) > 0
