"""What a command leaves behind: files, checked before the work and written after it; words on a terminal."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, TextIO

from darknet_builder.errors import InputError
from darknet_builder.files import write_text

_COLORS = {"error": "\x1b[1;31m", "warning": "\x1b[1;33m"}
_NO_COLOR = "\x1b[0m"
STDOUT = "-"
"""The file name that means the command's own output."""


def check_folder(path: str | Path | None) -> None:
    """See that a file could be written there.

    Raises:
        InputError: where there is no such folder.
    """
    if path is not None and path != STDOUT and not Path(path).absolute().parent.is_dir():
        raise InputError(f"{path}: there is no folder {Path(path).absolute().parent}")


def write_json(path: str | Path | None, data: Any, out: TextIO) -> None:
    """Write a document for other programs: to a file, to ``out`` for ``STDOUT``, or nowhere for None.

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
    try:
        write_text(path, text)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None


def in_color(word: str, stream: TextIO) -> str:
    """``error`` in red, ``warning`` in yellow; as it is where ``stream`` is no terminal, or NO_COLOR asks for that."""
    if word not in _COLORS or not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return word
    return f"{_COLORS[word]}{word}{_NO_COLOR}"
