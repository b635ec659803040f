"""Text files of a data set, read line by line so that an error can name the line, and the places of
the files that they name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from darknet_builder.errors import DataError

_CVAT_FOLDER = "data/"
"""CVAT writes every path as if its archive were unpacked into a folder of this name."""
_WINDOWS_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


def numbered_lines(path: str | Path, kind: str) -> Iterator[tuple[int, str]]:
    """Yield number and text, stripped, of each line that is not blank.

    Args:
        path: of the file.
        kind: noun phrase that completes the error for a binary file, such as ``a label file``.

    Raises:
        DataError: for a file that cannot be read or is not UTF-8 text.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{error.strerror or error}", path=path) from None
    except UnicodeDecodeError:
        raise DataError("is not UTF-8 text", path=path, hint=f"expected {kind}") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line.strip()


def either(places: Sequence[Path]) -> str:
    """Return the places where a file was looked for as text, each once."""
    return " and ".join(dict.fromkeys(map(str, places)))


def places_of(name: str, folder: Path) -> Iterator[Path]:
    """Yield the places where a file may be that a text file names.

    These are beside the text file, beside its folder and the working directory; then the same with
    the name's backslashes as slashes; then, for CVAT's ``data/NAME``, NAME beside the text file.

    Args:
        name: as the text file has it.
        folder: of the text file.
    """
    names = dict.fromkeys((name, name.replace("\\", "/")))
    for spelling in names:
        yield from (folder / spelling, folder.parent / spelling, Path(spelling))
    for spelling in names:
        if spelling.startswith(_CVAT_FOLDER):
            yield folder / spelling.removeprefix(_CVAT_FOLDER)


def find_place(name: str, folder: Path) -> Path | None:
    """Return the first of ``places_of`` that is a file; None if there is none."""
    return next((place for place in places_of(name, folder) if place.is_file()), None)


def cure_for(name: str) -> str | None:
    """Return what to do about a name that was not found; None if nothing is known."""
    if _WINDOWS_DRIVE.match(name):
        return "it is on a drive of a Windows machine; write paths relative to the file with them"
    return None
