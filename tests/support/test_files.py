"""Files are written completely or not at all, and paths are checked before the work."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from darknet_builder.cli.output import STDOUT, check_answer
from darknet_builder.errors import DataError, InputError
from darknet_builder.support.files import (
    check_folder,
    is_web_page,
    refuse_overwriting,
    write_text,
    writing,
)


def test_writing_names_the_file_and_the_reason(tmp_path: Path) -> None:
    """The message has the system's reason, not the temporary file's name."""
    path = tmp_path / "none" / "a.txt"
    with pytest.raises(InputError) as raised, writing(path):
        write_text(path, "a")
    assert str(raised.value) == f"{path}: cannot be written: No such file or directory"


def test_writing_raises_the_kind_that_is_asked_for() -> None:
    """The error is of the given class, with the cure."""
    with pytest.raises(DataError) as raised, writing("a.txt", DataError, cure="make room"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert str(raised.value) == "a.txt: cannot be written: No space left on device; make room"


def test_writing_passes_other_errors() -> None:
    """Errors that have nothing to do with the file pass unchanged."""
    with pytest.raises(ZeroDivisionError), writing("a.txt"):
        raise ZeroDivisionError


def test_a_file_needs_a_folder(tmp_path: Path) -> None:
    """None passes; only the commands know that - is their output."""
    path = tmp_path / "none" / "a.json"
    for check in (check_folder, check_answer):
        check(None)
        check(tmp_path / "a.json")
        with pytest.raises(InputError) as raised:
            check(path)
        assert str(raised.value) == f"{path}: the folder {path.parent} does not exist"
    assert check_answer(STDOUT) is None  # type: ignore[func-returns-value]


def test_what_matters_is_not_overwritten(tmp_path: Path) -> None:
    """A file is recognised by any path to it."""
    path = tmp_path / "a.cfg"
    refuse_overwriting(path, [path], "take another")
    path.write_text("")
    refuse_overwriting(path, [None, tmp_path / "b.cfg"], "take another")
    with pytest.raises(InputError) as raised:
        refuse_overwriting(path, [None, tmp_path / "." / "a.cfg"], "take another")
    assert str(raised.value) == f"{path}: would be overwritten; take another"


@pytest.mark.parametrize("start", ["<!DOCTYPE html>", "\n <html>", b"<?xml version", b" <HEAD>"])
def test_a_web_page(start: str | bytes) -> None:
    """Text and bytes are recognised."""
    assert is_web_page(start)


@pytest.mark.parametrize("start", ["", "[net]\n<html>", b"", b"\0\0\0\0\1\0\0\0"])
def test_no_web_page(start: str | bytes) -> None:
    """Darknet's own files are not mistaken for web pages."""
    assert not is_web_page(start)
