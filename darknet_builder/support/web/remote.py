"""Files at addresses: web servers, object stores and members of archives.

``http`` and ``https`` are read by this package itself, every other scheme by fsspec.
"""

from __future__ import annotations

import errno
import os
import posixpath
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from darknet_builder.errors import MissingExtraError
from darknet_builder.support.extras import load_extra
from darknet_builder.support.web.addresses import (
    ARCHIVES,
    file_stem,
    hide_secrets,
    last_part,
    printable_address,
    scheme_of,
    split_address,
)
from darknet_builder.support.web.requests import WebError, open_address, read_address

STORES = ("abfs", "az", "gs", "hf", "memory", "s3", *ARCHIVES)
"""Schemes that fsspec reads; it knows others, which are not accepted here."""
_WEB = ("http", "https")
_MOST_BYTES = 2**27
"""The largest file that is read: 128 MiB."""
_READING = threading.RLock()
"""Held while an archive is read, which has one position for all threads."""


@dataclass(frozen=True)
class RemoteFile:
    """A file at an address; it has the attributes of a ``Path`` that this package uses.

    Attributes:
        url: the address.

    Example:
        >>> image = RemoteFile("zip://images/a.jpg::photos.zip")
        >>> image.stem, image.suffix, str(image.parent / "a.txt")
        ('a', '.jpg', 'zip://images/a.txt::photos.zip')
    """

    url: str

    @property
    def name(self) -> str:
        """The address without user name, password and signatures."""
        return printable_address(self.url)

    @property
    def stem(self) -> str:
        """The last part of the address without its suffix, as a file name."""
        return file_stem(self.url)

    @property
    def suffix(self) -> str:
        """The suffix of the last part, such as ``.jpg``."""
        return os.path.splitext(last_part(self.url))[1]

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the path, without the host or the bucket."""
        return tuple(part for part in split_address(self.url)[1].split("/") if part)

    def with_parts(self, parts: tuple[str, ...]) -> RemoteFile:
        """Return the file at another path of the same host, bucket or archive."""
        start, _, end = split_address(self.url)
        path = posixpath.normpath(posixpath.join("/", *parts))  # a list may have ../images
        return RemoteFile(start + path.lstrip("/") + end)

    @property
    def parent(self) -> RemoteFile:
        """The folder of the file."""
        return self.with_parts(self.parts[:-1])

    def __truediv__(self, name: str) -> RemoteFile:
        return self.with_parts((*self.parts, name))

    def __str__(self) -> str:
        return self.name

    def is_file(self) -> bool:
        """Return whether there is such a file; a server is asked each time.

        Raises:
            OSError: if it does not answer, or refuses to.
        """
        with suppress(FileNotFoundError, IsADirectoryError):
            if scheme_of(self.url) in _WEB:
                with _open_web(self.url):
                    return True
            return bool(_call(self.url, "isfile"))
        return False

    def read_bounded(self, most_bytes: int = _MOST_BYTES) -> bytes:
        """Return the content, if it is not too large.

        Args:
            most_bytes: the limit; at most 128 MiB.

        Raises:
            OSError: if it cannot be read or is larger.
            MissingExtraError: if the package for this kind of address is not installed.
        """
        limit = min(most_bytes, _MOST_BYTES)
        if scheme_of(self.url) in _WEB:
            with _missing_as_usual():
                return read_address(self.url, limit)
        data = _call(self.url, "cat_file", end=limit + 1)
        if len(data) > limit:
            raise OSError(errno.EFBIG, f"larger than {limit >> 20} MiB")
        return bytes(data)


FilePath: TypeAlias = Path | RemoteFile
"""A file of this machine or one at an address."""


def is_address(word: str) -> bool:
    """Return whether a word is the address of a file that can be read.

    Example:
        >>> is_address("s3://bucket/a.jpg"), is_address("C:/a.jpg"), is_address("rtsp://camera/1")
        (True, False, False)
    """
    return scheme_of(word) in (*STORES, *_WEB)


def file_at(word: str | Path | RemoteFile) -> FilePath:
    """Return the file that a path or an address names; it is not looked for.

    Args:
        word: a path, or an address of one of the schemes that ``is_address`` accepts.

    Raises:
        MissingExtraError: if the package for this kind of address is not installed.

    Example:
        >>> file_at("a.jpg") == Path("a.jpg"), file_at("https://a.org/b.jpg").suffix
        (True, '.jpg')
    """
    if isinstance(word, str) and is_address(word):
        check_installed(word)
        return RemoteFile(word)
    return word if isinstance(word, RemoteFile) else Path(word)


def find_members(url: str) -> list[RemoteFile]:
    """Return the files that an address with a pattern matches, or those of a folder, sorted.

    Args:
        url: an address of an object store or an archive; ``*`` stands for any part of a name,
            ``**`` for any folders. Without a ``*``, a folder.

    Raises:
        OSError: if it cannot be read, or there is no such folder.
        MissingExtraError: if the package for this kind of address is not installed.
    """
    start, path, end = split_address(url)
    if "*" in path:
        found = _call(url, "glob")
    else:
        found = [row["name"] for row in _call(url, "ls", detail=True) if row["type"] == "file"]
    # fsspec gives names without the scheme, and begins those of a bucket with the bucket.
    host = start.partition("://")[2]
    names = [str(name).lstrip("/").removeprefix(host) for name in found]
    return [RemoteFile(start + name + end) for name in sorted(names)]


def check_installed(url: str) -> None:
    """Check that the packages for an address are there.

    Raises:
        MissingExtraError: if one is missing.
    """
    for part in url.split("::"):
        if scheme_of(part) in STORES:
            _check_scheme(scheme_of(part))


@lru_cache
def _check_scheme(scheme: str) -> None:
    fsspec = load_extra("fsspec", "remote")
    try:
        fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        raise MissingExtraError(f"{scheme}: {error}") from None


def _call(url: str, method: str, **options: Any) -> Any:
    """Call a method of the file system of an address with the path.

    Raises:
        OSError: whatever goes wrong; the text has no secret.
    """
    check_installed(url)
    try:
        if scheme_of(url) not in ARCHIVES:
            system, path = load_extra("fsspec", "remote").core.url_to_fs(url)
            return getattr(system, method)(path, **options)
        with _READING:
            member, _, archive = url.partition("::")
            if not archive:
                raise ValueError(f"expected {scheme_of(url)}://MEMBER::ARCHIVE")
            system = _open_archive(scheme_of(url), archive, _version_of(archive))
            return getattr(system, method)(member.partition("://")[2], **options)
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None
    except PermissionError:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None
    # Any exception: each package has its own, and those of zip and tar files are no OSErrors.
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        what = "the archive cannot be read: " if scheme_of(url) in ARCHIVES else ""
        raise WebError(what + hide_secrets(lines[0])) from None


# Opening an archive reads its table of contents, for a tar file all its headers.
@lru_cache(maxsize=8)
def _open_archive(scheme: str, archive: str, version: tuple[object, ...]) -> Any:
    """Return the file system of an archive; another ``version`` opens it again."""
    del version
    return load_extra("fsspec", "remote").core.url_to_fs(f"{scheme}://::{archive}")[0]


def _version_of(archive: str) -> tuple[object, ...]:
    # A process that was forked must not share the position in the file.
    process = os.getpid()
    if scheme_of(archive):
        return (process,)
    status = os.stat(archive)
    return process, os.path.abspath(archive), status.st_mtime_ns, status.st_size


def _open_web(url: str) -> Any:
    with _missing_as_usual():
        return open_address(url)


@contextmanager
def _missing_as_usual() -> Iterator[None]:
    """Turn the answer 404 into the error of a missing file."""
    try:
        yield
    except WebError as error:
        if error.status == 404:
            raise FileNotFoundError(errno.ENOENT, str(error)) from None
        raise
