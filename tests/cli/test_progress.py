"""The progress bar: on a terminal only, and lines that do not tear it apart."""

from __future__ import annotations

import io
import sys

import pytest

from darknet_builder.cli import progress
from darknet_builder.cli.progress import Progress


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        """It does."""
        return True


def use(
    monkeypatch: pytest.MonkeyPatch, stderr: io.StringIO, total: int = 3, quiet: bool = False
) -> str:
    """Three steps with a line each; returns what was written as the answer."""
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    out = io.StringIO()
    with Progress(total, "image", quiet=quiet, out=out) as bar:
        for step in range(total):
            bar.say(f"line {step}")
            bar.advance()
        bar.complain("oh")
    return out.getvalue()


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is cleared away at the end."""
    pytest.importorskip("tqdm")
    stderr = Terminal()
    assert use(monkeypatch, stderr) == "line 0\nline 1\nline 2\n"
    assert "/3" in stderr.getvalue() and "image" in stderr.getvalue()
    assert stderr.getvalue().rstrip("\r").endswith(" ")


@pytest.mark.parametrize(
    ("stderr", "total", "quiet"),
    [
        (io.StringIO(), 3, False),  # a pipe
        (Terminal(), 1, False),  # a single step
        (Terminal(), 3, True),
    ],
)
def test_no_bar(
    monkeypatch: pytest.MonkeyPatch, stderr: io.StringIO, total: int, quiet: bool
) -> None:
    """Nothing but the complaint."""
    answer = use(monkeypatch, stderr, total, quiet)
    assert stderr.getvalue() == "oh\n"
    assert answer == ("" if quiet else "".join(f"line {step}\n" for step in range(total)))


def test_without_tqdm(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is not installed: no bar, no fuss."""
    monkeypatch.setitem(sys.modules, "tqdm", None)
    stderr = Terminal()
    use(monkeypatch, stderr)
    assert stderr.getvalue() == "oh\n"


def test_it_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A video has more frames than one."""
    pytest.importorskip("tqdm")
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    with Progress(1, "image", quiet=False, out=io.StringIO()) as bar:
        bar.grow(9)
        bar.advance(4)
        bar.grow(10)
        bar.say("line")
    assert "0/10" in stderr.getvalue() and "4/20" in stderr.getvalue()
    assert progress._BAR_MINIMUM == 2
