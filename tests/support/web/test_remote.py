"""Files at addresses behave like those of a folder, and fail in one line without a secret."""

from __future__ import annotations

import pickle
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from darknet_builder.errors import MissingExtraError
from darknet_builder.support import extras
from darknet_builder.support.web import remote, requests
from darknet_builder.support.web.remote import RemoteFile, file_at, find_members
from tests.helpers.web_server import serve

CONTENT = b"0123456789"


@pytest.fixture(autouse=True)
def _memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Files in memory, in a zip and in a tar archive, in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    memory = fsspec.filesystem("memory")
    names = ("images/a.jpg", "images/b.jpg", "images/more/c.jpg", "list.txt")
    with zipfile.ZipFile("all.zip", "w") as packed, tarfile.open("all.tar", "w") as shard:
        for name in names:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_bytes(CONTENT)
            packed.write(name)
            shard.add(name)
            memory.pipe_file(f"/data/{name}", CONTENT)
    memory.pipe_file("/all.zip", Path("all.zip").read_bytes())
    yield
    memory.rm("/", recursive=True)


FOLDERS = (
    "memory://data/", "zip://::all.zip", "tar://::all.tar", "zip://::memory://all.zip",
)  # fmt: skip
"""Addresses with a place for the name of a file after ``//`` or before ``::``."""


def within(folder: str, name: str) -> str:
    """The address of a file in one of ``FOLDERS``."""
    return folder.replace("//::", f"//{name}::", 1) if "::" in folder else folder + name


@pytest.mark.parametrize("folder", FOLDERS)
def test_read_and_find(folder: str) -> None:
    """The same in each kind of address."""
    image = file_at(within(folder, "images/a.jpg"))
    assert isinstance(image, RemoteFile) and pickle.loads(pickle.dumps(image)) == image
    assert image.read_bounded() == CONTENT and image.is_file()
    assert (image.stem, image.suffix, image.parts[-2:]) == ("a", ".jpg", ("images", "a.jpg"))
    assert (image.parent / "b.jpg").read_bounded() == CONTENT
    assert (image.parent.parent / "images/../list.txt").is_file()
    assert not image.parent.is_file() and not (image.parent / "none.jpg").is_file()
    for pattern, names in (("images/*.jpg", "ab"), ("**/*.jpg", "abc"), ("images/", "ab")):
        found = find_members(within(folder, pattern))
        assert [file.stem for file in found] == list(names)
        assert [file.read_bounded() for file in found] == [CONTENT] * len(found)


@pytest.mark.parametrize("folder", FOLDERS)
def test_missing_and_too_large(folder: str) -> None:
    """As for files of this machine."""
    with pytest.raises(FileNotFoundError, match="No such file or directory"):
        RemoteFile(within(folder, "none.jpg")).read_bounded()
    with pytest.raises(FileNotFoundError):
        find_members(within(folder, "none/"))
    with pytest.raises(OSError, match="larger than 0 MiB"):
        RemoteFile(within(folder, "images/a.jpg")).read_bounded(9)


def test_broken_archives() -> None:
    """A shard that ends early, an archive that is none, and an address without one."""
    Path("cut.tar").write_bytes(Path("all.tar").read_bytes()[:1100])
    Path("cut.zip").write_bytes(Path("all.zip").read_bytes()[:-40])
    for url, reason in (
        ("tar://images/a.jpg::cut.tar", "^the archive cannot be read: truncated header$"),
        ("zip://images/a.jpg::cut.zip", "^the archive cannot be read: File is not a zip file$"),
        ("zip://images/a.jpg::none.zip", "No such file or directory"),
        ("zip://images/a.jpg", "^the archive cannot be read: expected zip://MEMBER::ARCHIVE$"),
    ):
        with pytest.raises(OSError, match=reason):
            RemoteFile(url).read_bounded()


def test_what_a_server_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing, refused, cut and slow."""
    with serve() as site:
        site.files.update({"/a.jpg": CONTENT, "/slow.jpg": CONTENT})
        site.statuses["/no.jpg"] = 403
        image = RemoteFile(f"{site.url}/a.jpg?token=secret")
        assert image.name == f"{site.url}/a.jpg?token=..."
        image = RemoteFile(f"{site.url}/a.jpg")
        assert image.read_bounded() == CONTENT and image.is_file()
        assert not RemoteFile(f"{site.url}/none.jpg").is_file()
        with pytest.raises(FileNotFoundError, match="HTTP 404 Not Found"):
            RemoteFile(f"{site.url}/none.jpg").read_bounded()
        with pytest.raises(OSError, match="^HTTP 403 Forbidden$"):
            RemoteFile(f"{site.url}/no.jpg").is_file()
        site.cuts.append(4)
        with pytest.raises(OSError, match="^the connection ended 6 bytes too early$"):
            image.read_bounded()
        monkeypatch.setattr(requests, "TIMEOUT", 0.05)
        site.delay = 0.5
        with pytest.raises(OSError, match="timed out"):
            image.read_bounded()


def test_reasons_have_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a package raises is one line; the rights to a bucket are an error of their own."""

    def fail(error: Exception) -> Any:
        def cat_file(*_: object, **__: object) -> bytes:
            raise error

        monkeypatch.setattr(fsspec.filesystem("memory"), "cat_file", cat_file)
        return pytest.raises(OSError)

    with fail(ValueError("bad answer of https://ann:secret@a.org/x\nand more")) as caught:
        RemoteFile("memory://data/list.txt").read_bounded()
    assert str(caught.value) == "bad answer of https://a.org/x"
    with fail(PermissionError("Access Denied to AKIA0123")) as caught:
        RemoteFile("memory://data/list.txt").read_bounded()
    assert str(caught.value.strerror) == "Permission denied"
    with fail(RuntimeError()) as caught:
        RemoteFile("memory://data/list.txt").read_bounded()
    assert str(caught.value) == "RuntimeError"


def test_missing_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that names the package, before anything is read; paths need none of them."""
    remote._check_scheme.cache_clear()
    with pytest.raises(MissingExtraError, match="^s3: Install s3fs to access S3$"):
        file_at("s3://bucket/a.jpg")
    with pytest.raises(MissingExtraError, match="^gs: Please install gcsfs"):
        file_at("zip://a.jpg::gs://bucket/b.zip")

    def missing(module: str) -> Any:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr(extras, "import_module", missing)
    with pytest.raises(MissingExtraError) as caught:
        file_at("memory://data/list.txt")
    assert str(caught.value) == "fsspec is not installed: pip install 'darknet-builder[remote]'"
    assert file_at("list.txt") == Path("list.txt")
    assert file_at("ftp://a.org/b.jpg") == Path("ftp://a.org/b.jpg")
    remote._check_scheme.cache_clear()
