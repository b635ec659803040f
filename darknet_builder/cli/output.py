"""Output files of commands, checked before the work and written after it, and terminal colours."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from darknet_builder.support.files import check_folder, refuse_overwriting, write_text, writing

_COLORS = {"error": "\x1b[1;31m", "warning": "\x1b[1;33m"}
_NO_COLOR = "\x1b[0m"
STDOUT = "-"
"""The file name that means the command's own output."""
REPORT_NAME = "report.html"
"""The file name of ``--report`` without one, in the folder of ``--output``."""


def check_answer(path: str | Path | None) -> None:
    """Check that ``write_answer`` could write there; None passes, and so does ``STDOUT``.

    Raises:
        InputError: if its folder is missing; the message names it.
    """
    if path != STDOUT:
        check_folder(path)


def find_page(
    report: str | None, folder: str | Path, kept: Iterable[str | Path | None]
) -> Path | None:
    """Return the page that ``--report`` asks for.

    Args:
        report: the value of ``--report``: None for no page, empty for ``REPORT_NAME``.
        folder: the folder of ``--output``, for a page without a name.
        kept: files that the command reads and must not replace; None entries are ignored.

    Raises:
        InputError: if the page would replace one of them.
    """
    if report is None:
        return None
    page = Path(report or Path(folder) / REPORT_NAME)
    refuse_overwriting(page, kept, "choose another file for --report")
    return page


def write_json(path: str | Path | None, data: Any, out: TextIO) -> None:
    """Write a JSON document to a file, to ``out`` for ``STDOUT``, or nowhere for None.

    Raises:
        InputError: if the file cannot be written.
    """
    if path is not None:
        write_answer(path, json.dumps(data, indent=1, ensure_ascii=False) + "\n", out)


def write_answer(path: str | Path, text: str, out: TextIO) -> None:
    """Write a text to a file, or to ``out`` for ``STDOUT``.

    Raises:
        InputError: if the file cannot be written.
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
