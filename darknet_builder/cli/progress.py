"""A progress bar for terminals, and lines of text printed above it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from typing import Any, TextIO

from darknet_builder.cli.output import printable_stream

_BAR_MINIMUM = 2
"""A single step needs no bar."""


class Progress(AbstractContextManager["Progress"]):
    """A progress bar on stderr, if that is a terminal and tqdm is installed.

    Lines of text must be written through it, so that they do not break the bar.

    Args:
        total: number of steps; ``grow`` changes it.
        unit: name of a step, in the singular.
        quiet: show no bar, and no lines except complaints.
        out: stream for lines of text.
    """

    def __init__(self, total: int, unit: str, *, quiet: bool, out: TextIO) -> None:
        self._total, self._unit, self._quiet, self._out = total, unit, quiet, out
        self._make_bar = None if quiet or not sys.stderr.isatty() else _find_tqdm()
        self._bar: Any = None

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def grow(self, count: int) -> None:
        """Increase the number of steps by ``count``."""
        self._total += count
        if self._bar is not None:
            self._bar.total = self._total

    def advance(self, count: int = 1) -> None:
        """Count this number of steps as done."""
        if self._bar is None and self._make_bar is not None and self._total >= _BAR_MINIMUM:
            self._bar = self._make_bar(
                total=self._total, unit=f" {self._unit}", file=sys.stderr, leave=False
            )
        if self._bar is not None:
            self._bar.update(count)

    def say(self, line: str) -> None:
        """Write a line to ``out``, unless quiet."""
        if not self._quiet:
            self._write(line, self._out)

    def complain(self, line: str) -> None:
        """Write a line about a failure to stderr, also when quiet."""
        self._write(line, printable_stream(sys.stderr))

    def _write(self, line: str, stream: TextIO) -> None:
        if self._bar is not None:
            self._bar.clear()
        stream.write(line + "\n")
        stream.flush()
        if self._bar is not None:
            self._bar.refresh()


@contextmanager
def download_bar(name: str) -> Iterator[Callable[[int, int], None] | None]:
    """Show a progress bar on stderr, if that is a terminal and tqdm is installed.

    Args:
        name: name of the file.

    Yields:
        The function that updates it with the number of bytes so far and in total; None without a
        bar.
    """
    make_bar = _find_tqdm() if sys.stderr.isatty() else None
    if make_bar is None:
        yield None
        return
    with make_bar(desc=name, unit="B", unit_scale=True, leave=False) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show


def _find_tqdm() -> Callable[..., Any] | None:
    try:
        bar: Callable[..., Any] = import_module("tqdm").tqdm
    except ImportError:
        return None
    return bar
