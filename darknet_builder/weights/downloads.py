"""Fetching a file so that only a whole, checked one takes its name.

A download goes to ``NAME.part`` beside its place and is renamed when its size and checksum are
right. What an interrupted one leaves there is gone on from. ``NAME.part.tag`` says from which
version of which address it came.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darknet_builder.errors import DownloadError, InputError
from darknet_builder.support.version import VERSION

CHECKSUMS = ("sha256", "sha1", "md5")
"""From the strongest down."""
Progress = Callable[[int, int], None]
"""Called with the bytes that are there and the bytes of the whole."""

_CHUNK = 2**20
_TIMEOUT = 30.0
_MOST_INTERRUPTIONS = 10
_PARTIAL_CONTENT = 206
_RANGE_NOT_SATISFIABLE = 416


@dataclass(frozen=True)
class Expected:
    """What is known of a file before it is fetched.

    Attributes:
        sizes: in bytes; it must have one of them.
        checksums: what is known of each of ``CHECKSUMS``; it must have any one. Several are known
            where a file was replaced at its address, or where the checksums come from several
            sources.
    """

    sizes: tuple[int, ...]
    checksums: Mapping[str, tuple[str, ...]]

    @property
    def strongest_checksum(self) -> str:
        """Which of ``CHECKSUMS`` is known, or an empty string."""
        return next((kind for kind in CHECKSUMS if self.checksums.get(kind)), "")


@dataclass(frozen=True)
class Download:
    """A file that is there and right.

    Attributes:
        path: where.
        size: in bytes.
        checksum: by which of ``CHECKSUMS`` it was checked; empty where none is known, and only the
            size was.
        fetched: False where it was there already.
    """

    path: Path
    size: int
    checksum: str
    fetched: bool


class _AddressError(Exception):
    """This address does not give the file; another one may."""


class _WrongFileError(_AddressError):
    """What came is not the file."""


class _InterruptedError(_AddressError):
    """The connection was lost on the way; going on from there may work."""


# ---- the whole of it -----------------------------------------------------------------------------


def download(
    urls: Sequence[str], target: str | Path, expected: Expected, progress: Progress | None = None
) -> Download:
    """Fetch a file, or see that it is there already.

    Args:
        urls: http(s) addresses, tried in order until one gives the right file.
        target: the file's place; its folder is made if need be.
        expected: what it must be.
        progress: told how far it is.

    Raises:
        InputError: when something else is in its place, or its folder cannot be made.
        DownloadError: when no address gave the right file, or it cannot be written. Nothing is
            under the file's name then; what can be gone on from is kept in ``NAME.part``.
    """
    target = Path(target)
    present = _already_there(expected, target)
    if present is not None:
        return present
    _make_folder(target.parent)
    part = _Part(target.with_name(target.name + ".part"))
    failures: list[str] = []
    try:
        for url in urls:
            try:
                checksum = _fetch_checked(expected, url, part, progress)
            except _AddressError as error:
                failures.append(f"{url}: {error}")
            else:
                part.become(target)
                return Download(target, target.stat().st_size, checksum, fetched=True)
    except OSError as error:
        raise DownloadError(
            f"cannot be written: {_reason(error)}{part.kept()}", path=part.path
        ) from None
    raise DownloadError(f"{'; '.join(failures)}{part.kept()}")


def _already_there(expected: Expected, target: Path) -> Download | None:
    try:
        if not target.exists():
            return None
        checksum = _check(expected, target)
    except _WrongFileError as error:
        raise InputError(
            f"is there already and is another file: {error}; "
            "move it away, or choose another folder",
            path=target,
        ) from None
    except OSError as error:
        raise InputError(f"is in the way: {_reason(error)}", path=target) from None
    return Download(target, target.stat().st_size, checksum, fetched=False)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot be made: {_reason(error)}", path=folder) from None


# ---- what is kept of an unfinished download ------------------------------------------------------


class _Part:
    """``NAME.part`` and the tag beside it, which says what to go on with: an address and its
    version there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tag = path.with_name(path.name + ".tag")

    @property
    def size(self) -> int:
        """How many bytes are there."""
        return self.path.stat().st_size if self.path.exists() else 0

    def kept(self) -> str:
        """What to tell the user of it."""
        return (
            f"; {self.size:,} bytes are kept in {self.path}, and the same command goes on from"
            " there"
            if self.size
            else ""
        )

    def version_at(self, url: str) -> str:
        """The version that the bytes are of, if they came from this address and it named one."""
        lines = (
            self._tag.read_text(encoding="utf-8", errors="replace").splitlines()
            if self._tag.exists()
            else []
        )
        return lines[1] if len(lines) == 2 and lines[0] == url else ""

    def begin(self, url: str, version: str) -> None:
        """Forget what is there and remember where the next bytes come from."""
        self.path.write_bytes(b"")  # first, so that the tag never speaks of bytes of something else
        self._tag.write_text(f"{url}\n{version}\n", encoding="utf-8")

    def discard(self) -> None:
        """Remove both files."""
        self.path.unlink(missing_ok=True)
        self._tag.unlink(missing_ok=True)

    def become(self, target: Path) -> None:
        """Take the name that it was made for, once every byte is on the disk."""
        with self.path.open("rb+") as file:
            os.fsync(file.fileno())
        self.path.replace(target)
        self._tag.unlink(missing_ok=True)


# ---- requests ------------------------------------------------------------------------------------


def _fetch_checked(expected: Expected, url: str, part: _Part, progress: Progress | None) -> str:
    """Fetch all of it and say by which checksum it is right; a file of which an old part was wrong
    is fetched anew.
    """
    for resumed in (part.size > 0, False):
        try:
            _fetch(expected, url, part, progress)
            return _check(expected, part.path)
        except _WrongFileError as error:
            part.discard()
            if not resumed:
                raise _AddressError(f"{error}; it was removed") from None
    raise AssertionError("the second pass returns or raises")


def _fetch(expected: Expected, url: str, part: _Part, progress: Progress | None) -> None:
    """Go on until the part is whole, over as many lost connections as still brought something."""
    for _ in range(_MOST_INTERRUPTIONS):
        before = part.size
        try:
            return _request(expected, url, part, progress)
        except _InterruptedError:
            if part.size <= before:
                raise
    raise _InterruptedError(f"the connection was lost {_MOST_INTERRUPTIONS} times")


def _request(expected: Expected, url: str, part: _Part, progress: Progress | None) -> None:
    """One request: for what is missing where that is safe, for everything otherwise."""
    version = part.version_at(url)
    # Two halves of different files would not be noticed without a version or a checksum. The last
    # byte is asked for again, so that a part that is whole already needs no rule of its own.
    start = max(part.size - 1, 0) if version or expected.strongest_checksum else 0
    _check_space(expected, part, start)
    with _open(url, start, version) as response:
        if response.status != _PARTIAL_CONTENT:
            start = 0
        total = _announced_size(expected, response)
        if start == 0:
            part.begin(url, _version_of(response))
        done = start
        with part.path.open("r+b") as file:
            file.seek(start)
            for chunk in _chunks(response):
                done += len(chunk)
                if done > max(expected.sizes):
                    raise _WrongFileError(f"the file goes on after {_sizes(expected)} bytes")
                file.write(chunk)
                if progress is not None:
                    progress(done, total or max(expected.sizes))
    if done != total and (total or done not in expected.sizes):
        raise _InterruptedError(
            f"the connection ended after {part.size:,} of {total or max(expected.sizes):,} bytes"
        )


def _open(url: str, start: int, version: str) -> http.client.HTTPResponse:
    """The answer to a request from byte ``start`` on; to one for everything where the server knows
    no such part.
    """
    headers = {"User-Agent": f"darknet-builder/{VERSION}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if version:
            headers["If-Range"] = version
    request = urllib.request.Request(url, headers=headers)
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == _RANGE_NOT_SATISFIABLE and start:
                return _open(url, 0, "")
            raise _AddressError(" ".join(f"HTTP {error.code} {error.reason}".split())) from None
    except urllib.error.URLError as error:
        raise _AddressError(f"cannot be reached: {_reason(error.reason)}") from None
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        raise _AddressError(f"cannot be reached: {_reason(error)}") from None
    if response.status == _PARTIAL_CONTENT and not _content_range(response).startswith(
        f"bytes {start}-"
    ):
        response.close()
        return _open(url, 0, "")
    return response


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            chunk = response.read1(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise _InterruptedError(f"the connection was lost: {_reason(error)}") from None
        if not chunk:
            return
        yield chunk


def _announced_size(expected: Expected, response: http.client.HTTPResponse) -> int | None:
    """What the server says that the whole file has, if it says anything."""
    partial = response.status == _PARTIAL_CONTENT
    text = (
        _content_range(response).rpartition("/")[2]
        if partial
        else response.headers.get("Content-Length", "")
    )
    if not text.isdigit():
        return None
    if int(text) not in expected.sizes:
        raise _AddressError(f"offers a file of {int(text):,} bytes; expected {_sizes(expected)}")
    return int(text)


def _content_range(response: http.client.HTTPResponse) -> str:
    return str(response.headers.get("Content-Range", ""))


def _version_of(response: http.client.HTTPResponse) -> str:
    """What ``If-Range`` may name: a strong ETag, or the date of the last change."""
    tag = response.headers.get("ETag", "")
    return (
        tag if tag and not tag.startswith("W/") else str(response.headers.get("Last-Modified", ""))
    )


def _check_space(expected: Expected, part: _Part, start: int) -> None:
    free = shutil.disk_usage(part.path.parent).free + part.size - start
    needed = max(expected.sizes) - start
    if free < needed:
        raise DownloadError(
            f"{needed:,} bytes are needed, {free:,} are free{part.kept()}", path=part.path.parent
        )


# ---- checking ------------------------------------------------------------------------------------


def _check(expected: Expected, path: Path) -> str:
    """The checksum by which the file is right, or an empty string where none is known.

    Any known one will do: they come from several sources, and some files were replaced.
    """
    if not path.is_file():
        raise _WrongFileError("it is no regular file")
    size = path.stat().st_size
    if size not in expected.sizes:
        raise _WrongFileError(f"the file has {size:,} bytes; expected {_sizes(expected)}")
    wrong: list[str] = []
    for kind in CHECKSUMS:
        if known := expected.checksums.get(kind):
            digest = _digest(path, kind)
            if digest in known:
                return kind
            wrong.append(f"the file's {kind} is {digest}; expected {' or '.join(known)}")
    if wrong:
        raise _WrongFileError(wrong[0])
    return ""


def _digest(path: Path, kind: str) -> str:
    digest = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _sizes(expected: Expected) -> str:
    return " or ".join(f"{size:,}" for size in expected.sizes)


def _reason(error: Any) -> str:
    """The system's own words of an error, without its number."""
    return str(getattr(error, "strerror", None) or error) or type(error).__name__
