"""Run a command of the program inside a test, and return what it printed."""

from __future__ import annotations

import io
import warnings
from contextlib import redirect_stderr, redirect_stdout

import pytest

from darknet_builder.cli.program import main
from darknet_builder.errors import CfgWarning


def run_program(*words: str) -> tuple[int, str, str]:
    """Run a command as in a process of its own; return exit status, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("always", CfgWarning)
        status = main(list(words))
    return status, out.getvalue(), err.getvalue()


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run a command that must succeed without a word on stderr, and return its output."""
    capsys.readouterr()
    status = main(list(words))
    out, error = capsys.readouterr()
    assert (status, error) == (0, "")
    return out


def mistake(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run a command that must fail with status 2, and return its line without the prefix."""
    capsys.readouterr()
    assert main(list(words)) == 2
    out, error = capsys.readouterr()
    assert out == "" and error.count("\n") == 1
    return error.removeprefix("darknet-builder: error: ").rstrip()
