"""Words on a command line: files, folders, globs."""

from __future__ import annotations

from pathlib import Path

import pytest

from darknet_builder.errors import InputError
from darknet_builder.images.sources import find_sources, is_video
from darknet_builder.images.sources.finding import without_repeats


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two images, a video, a text file, a hidden file and a subfolder."""
    for name in ("b.jpg", "a.PNG", "c.mp4", "notes.txt", ".d.jpg", "sub/e.jpg", "[x].jpg"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["in/b.jpg"], ["in/b.jpg"]),
        (["in/notes.txt"], ["in/notes.txt"]),  # named outright: reading it will tell
        (["in"], ["in/[x].jpg", "in/a.PNG", "in/b.jpg", "in/c.mp4"]),
        (["in/*"], ["in/[x].jpg", "in/a.PNG", "in/b.jpg", "in/c.mp4"]),
        (["in/**/?.jpg"], ["in/b.jpg", "in/sub/e.jpg"]),
        (["in/[x].jpg"], ["in/[x].jpg"]),  # a file before a glob
        (
            ["in/c.mp4", "in/sub/../b.jpg", "in"],
            ["in/c.mp4", "in/sub/../b.jpg", "in/[x].jpg", "in/a.PNG"],
        ),
    ],
)
def test_words(words: list[str], names: list[str]) -> None:
    """Files are returned in the given order, each once."""
    assert [str(path) for path in find_sources(words)] == names


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("none.jpg", "none.jpg: no such file or folder"),
        ("empty", "empty: no image or video in this folder"),
        ("in/*.txt", "in/*.txt: matches no image or video"),
    ],
)
def test_words_that_name_nothing(word: str, text: str) -> None:
    """One wrong word is an error, even if all others are right."""
    with pytest.raises(InputError) as raised:
        find_sources(["in", word])
    assert str(raised.value) == text


def test_videos_by_their_suffix() -> None:
    """The suffix counts in any case."""
    assert is_video(Path("a.MP4")) and not is_video(Path("mp4.jpg"))


def test_links_to_one_image(tmp_path: Path) -> None:
    """They have two names, so both are sources; the same name twice is one."""
    (tmp_path / "dog.jpg").touch()
    for name in ("monday.jpg", "tuesday.jpg"):
        (tmp_path / name).symlink_to(tmp_path / "dog.jpg")
    found = find_sources([str(tmp_path), f"{tmp_path}/./monday.jpg", str(tmp_path / "tuesday.jpg")])
    assert [path.name for path in found] == ["dog.jpg", "monday.jpg", "tuesday.jpg"]
    assert without_repeats([*found, tmp_path / "sub" / ".." / "dog.jpg"]) == found
