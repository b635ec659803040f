"""Output files of a command: checked before the work and written after it.

Also the colours of words on a terminal.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from darknet_builder.errors import InputError
from darknet_builder.support.files import check_folder, refuse_overwriting, write_text, writing

_COLORS = {"error": "\x1b[1;31m", "warning": "\x1b[1;33m"}
_NO_COLOR = "\x1b[0m"
STDOUT = "-"
"""The file name that means the command's own output."""


def check_answer(path: str | Path | None) -> None:
    """Check that ``write_answer`` could write there; None passes, and so does ``STDOUT``.

    Raises:
        InputError: naming the missing folder.
    """
    if path != STDOUT:
        check_folder(path)


def check_page(path: str | None, kept: Iterable[str | Path | None]) -> None:
    """See that ``--report`` names a page, and none of the files that the command reads.

    Raises:
        InputError: for another suffix, or for such a file.
    """
    if path is not None:
        if Path(path).suffix.lower() != ".html":
            raise InputError(f"--report {path}: expected a file that ends in .html")
        refuse_overwriting(Path(path), kept, "give --report another file")


def write_json(path: str | Path | None, data: Any, out: TextIO) -> None:
    """Write a document for other programs.

    To a file, to ``out`` for ``STDOUT``, or nowhere for None.

    Raises:
        InputError: when the file cannot be written.
    """
    if path is not None:
        write_answer(path, json.dumps(data, indent=1, ensure_ascii=False) + "\n", out)


def write_answer(path: str | Path, text: str, out: TextIO) -> None:
    """Write a text to a file, or to ``out`` for ``STDOUT``.

    Raises:
        InputError: when the file cannot be written.
    """
    if path == STDOUT:
        out.write(text)
        return
    with writing(path):
        write_text(path, text)


def in_color(word: str, stream: TextIO) -> str:
    """Colour a word for a terminal: ``error`` red, ``warning`` yellow.

    It stays as it is if ``stream`` is not a terminal or NO_COLOR is set.
    """
    if (
        word not in _COLORS
        or not stream.isatty()
        or os.environ.get("NO_COLOR")
        or os.environ.get("TERM") == "dumb"
    ):
        return word
    return f"{_COLORS[word]}{word}{_NO_COLOR}"
