"""Files that are nearly right: each reader accepts one or refuses it with one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz import profiles  # noqa: F401 - sets the number of examples
from tests.fuzz.readers import READERS

_WORDS = [
    b"",
    b"0",
    b"-1",
    b"1",
    b"3.5",
    b"1e400",
    b"nan",
    b"-inf",
    b"2147483648",
    b"99999999999999999999",
    b"1,2,3",
    b",",
    b"=",
    b"[",
    b"[net]",
    b"\n",
    b"\r\n",
    b"\x00",
    b"\x1b[2J",
    b"\xff\xfe",
    "\N{SUPERSCRIPT TWO}".encode(),
    b"#",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\xff",
    b"a" * 3000,
]
"""What people and programs write in the wrong place."""


@st.composite
def nearly_right(draw: st.DrawFn, name: str) -> bytes:
    """Draw a valid file with up to four changes."""
    content = draw(st.sampled_from(READERS[name].seeds()))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        stop = min(len(content), start + draw(st.sampled_from([0, 0, 1, 1, 2, 4, 8, 2**20])))
        new = draw(st.one_of(st.sampled_from(_WORDS), st.binary(max_size=8)))
        content = content[:start] + new + content[stop:]
    return content


@pytest.mark.parametrize("name", READERS)
def test_valid_files(name: str, tmp_path: Path) -> None:
    """The files to begin from are read; a list may name files that are not there."""
    reader = READERS[name]
    for number, content in enumerate(reader.seeds()[:8]):
        path = tmp_path / f"{number}{reader.suffix}"
        path.write_bytes(content)
        message = reader.check(path)
        assert message is None or name in ("data", "list") and "no such" in message


@pytest.mark.parametrize("name", READERS)
@given(data=st.data())
def test_nearly_right_files(name: str, tmp_path: Path, data: st.DataObject) -> None:
    reader = READERS[name]
    path = tmp_path / f"a{reader.suffix}"
    path.write_bytes(data.draw(nearly_right(name)))
    reader.check(path)


@pytest.mark.parametrize("name", READERS)
@given(content=st.binary(max_size=200))
def test_any_bytes(name: str, tmp_path: Path, content: bytes) -> None:
    reader = READERS[name]
    path = tmp_path / f"a{reader.suffix}"
    path.write_bytes(content)
    reader.check(path)
