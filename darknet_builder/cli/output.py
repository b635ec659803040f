"""Output files of commands, checked before the work and written after it, and terminal colours."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, cast

from darknet_builder.errors import DarknetError, InputError
from darknet_builder.support.files import check_folder, refuse_overwriting, write_text, writing
from darknet_builder.support.text import printable

_COLORS = {"error": "\x1b[1;31m", "warning": "\x1b[1;33m"}
_NO_COLOR = "\x1b[0m"
_OWN_CONTROL = re.compile(
    r"(\A\r\x1b\[K|\x1b\[1;31merror\x1b\[0m|\x1b\[1;33mwarning\x1b\[0m"
    r"| of ranks = \d+ \r|\r loaded \t image: )"
)
"""The control sequences that the commands write: a redrawn line, two coloured words, and the
carriage returns of the ``darknet`` program's progress."""
STDOUT = "-"
"""The file name that means the command's own output."""
REPORT_NAME = "report.html"
"""The file name of ``--report`` without one, in the folder of ``--output``."""


def check_answer(path: str | Path | None) -> None:
    """Check that ``write_answer`` could write there; None and ``STDOUT`` are accepted.

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
    if os.path.isdir(page):
        raise InputError("is a folder; expected the path of a file", path=page)
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


def attempt_all(steps: Iterable[Callable[[], object]], complain: Callable[[str], None]) -> None:
    """Run every step, also after one has failed, so that one error does not lose other results.

    Args:
        steps: each writes one file or text.
        complain: gets the text of every error but the first.

    Raises:
        DarknetError: the first one of a step.
    """
    errors = []
    for step in steps:
        try:
            step()
        except DarknetError as error:
            errors.append(error)
    for other in errors[1:]:
        complain(str(other))
    if errors:
        raise errors[0]


class _Printable:
    """A text stream that gets every text as ``printable``; its other methods are the stream's.

    A text that cannot be written is an ``InputError``, as for any other output file.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._name = "standard error" if stream is sys.stderr else "standard output"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text, with the control characters of names in it escaped."""
        parts = _OWN_CONTROL.split(text)
        # The parts with odd indices are our own control sequences.
        parts[::2] = [printable(part, self._stream.encoding) for part in parts[::2]]
        with self._writing():
            return self._stream.write("".join(parts))

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of the texts as ``write`` does."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write everything that the stream holds back."""
        with self._writing():
            self._stream.flush()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise  # not a mistake: the reader has seen enough
        except OSError as error:
            raise InputError(
                f"cannot be written: {error.strerror or error}", path=self._name
            ) from None


def printable_stream(stream: TextIO) -> TextIO:
    """Return a stream for text that may contain anything.

    All texts of commands go through one: names of files, classes and options can have control
    characters, and characters that the stream's encoding lacks.
    """
    return cast(TextIO, _Printable(stream))


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
