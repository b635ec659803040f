"""Files that a command leaves behind: checked before the work, written after it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TextIO

from darknet_builder.errors import InputError
from darknet_builder.files import write_text

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
    if path is None:
        return
    text = json.dumps(data, indent=1, ensure_ascii=False) + "\n"
    if path == STDOUT:
        out.write(text)
        return
    try:
        write_text(path, text)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None
