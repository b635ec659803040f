"""``.names`` files: what people have in them, in which encoding, and what is refused."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from darknet_builder.cfg.names import find_classes, read_names
from darknet_builder.errors import DataError, DataWarning, InputError

DATA = Path(__file__).parents[1] / "data"


def test_names_file(tmp_path: Path) -> None:
    """Byte order mark, CRLF and blank lines at the end change nothing; a blank line within is a
    class without name."""
    path = tmp_path / "a.names"
    path.write_bytes("\ufeffcat\r\ndog \r\n\r\nPferd ü\r\n\r\n\r\n".encode())
    assert read_names(path) == ["cat", "dog", "", "Pferd ü"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"\n\n", "has no names; expected one class name a line"),
        (b"\xff\xfe\x00", "is not UTF-8 text; expected one class name a line"),
        # Other files in place of names.
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 5\n",
            "is a Git LFS pointer, not class names; run 'git lfs pull' in its repository",
        ),
        (
            b"<!DOCTYPE html>\n<html>\n",
            "is a web page, not class names; open its address in a browser and take the file itself",
        ),
        (
            b"# mine\n\n[net]\nwidth=8\n",
            "is a cfg, not class names; expected one class name a line",
        ),
    ],
)
def test_names_files_that_cannot_be_used(tmp_path: Path, content: bytes, text: str) -> None:
    """One line each."""
    path = tmp_path / "a.names"
    path.write_bytes(content)
    with pytest.raises(DataError) as raised:
        read_names(path)
    assert str(raised.value) == f"{path}: {text}"


def test_a_folder_in_place_of_names(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=": Is a directory$"):
        read_names(tmp_path)


def test_no_names_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes with the project is what was most likely meant."""
    monkeypatch.chdir(tmp_path)
    for name, hint in (
        ("vocc", "; did you mean 'voc'?"),
        ("coco.names", "; to use the file bundled with the project, give its name alone: coco"),
        ("my/own.names", "; bundled ones are bdd, coco, imagenet, shapes, voc"),
    ):
        with pytest.raises(DataError) as caught:
            read_names(name)
        assert str(caught.value) == f"{name}: no such names file{hint}"
    assert read_names("voc")[0] == "aeroplane"


# ---- names in other encodings --------------------------------------------------------------------

NAMES = [
    ("latin-1", ["büchse", "", "Fußgänger", "Übergrößenträger"], "Latin-1"),
    ("latin-1", ["camión", "niño", "bébé"], "Latin-1"),
    ("gbk", ["猫", "狗", "person", "红绿灯"], "GBK"),
    ("gbk", ["朱镕基", "人行横道"], "GBK"),
    ("cp1252", ["5 € coin"], "Latin-1"),
]
"""Encoding, names and what the warning says; the fourth has a character that GB2312 lacks."""


@pytest.mark.parametrize(("encoding", "names", "said"), NAMES)
def test_names_in_other_encodings(
    tmp_path: Path, encoding: str, names: list[str], said: str
) -> None:
    path = tmp_path / "a.names"
    path.write_bytes("\r\n".join(names).encode(encoding))
    with pytest.warns(DataWarning) as caught:
        assert read_names(path) == names
    assert [str(warning.message) for warning in caught] == [
        f"{path}: is not UTF-8; read as {said}; save it as UTF-8 to be sure"
    ]


def test_the_names_of_a_real_case() -> None:
    with pytest.warns(DataWarning, match="read as Latin-1"):
        assert read_names(DATA / "latin1.names") == ["büchse"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("狗".encode("gbk"), "GBK"),
        (b"\xfcl", "Latin-1"),  # GB2312 has no such character
        ("猫".encode("gbk") + b"\xfcl", "Latin-1"),  # half of them
        ("猫狗".encode("gbk") + b"\xfcl", "GBK"),
        (b"caf\xe9", "Latin-1"),  # half a character of GBK
    ],
)
def test_most_characters_decide(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "a.names"
    path.write_bytes(data)
    with pytest.warns(DataWarning, match=f"is not UTF-8; read as {said}; "):
        assert read_names(path) == [data.decode("gbk" if said == "GBK" else "cp1252")]


def test_names_in_utf_8_give_no_warning(tmp_path: Path) -> None:
    path = tmp_path / "a.names"
    path.write_text("猫\n", encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_names(path) == ["猫"]


WANTED: list[tuple[Any, list[int]]] = [
    ("dog", [1, 3]),  # of two classes with the same name, both
    (["3", 0], [0, 3]),
    (["1"], [2]),  # a name comes before a number
    ([1], [1]),
    (["0", 0, "cat"], [0]),
    ([], []),
]


def test_classes_by_name_or_number() -> None:
    for wanted, numbers in WANTED:
        assert find_classes(wanted, ["cat", "dog", "1", "dog"]) == numbers


UNKNOWN: list[Any] = ["4", 4, -1, "-1", "1.0", "", "\u0663", "\u00b2", "Cat"]


def test_classes_that_do_not_exist() -> None:
    """Digits of other scripts are no numbers here; ``int`` would take them."""
    for wanted in UNKNOWN:
        with pytest.raises(InputError) as raised:
            find_classes([wanted], ["cat", "dog", "1", "dog"], "keep")
        said = "no class has this name; the classes have the numbers 0 to 3"
        assert str(raised.value).startswith(f"keep={wanted}: {said}")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FileNotFoundError(), "no such names file; bundled ones are bdd, coco, imagenet, "),
        (OSError("refused"), "refused"),
    ],
)
def test_names_at_an_address(error: OSError, said: str) -> None:
    """What the library for that address raises has no ``strerror``."""

    class Remote:
        def read_bounded(self, most_bytes: int) -> bytes:
            raise error

        def __str__(self) -> str:
            return "s3://bucket/a.names"

    address: Any = Remote()
    with pytest.raises(DataError) as raised:
        read_names(address)
    assert str(raised.value).startswith(f"s3://bucket/a.names: {said}")
