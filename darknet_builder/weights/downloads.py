"""Download a file so that only a complete, checked one gets its name.

A download goes to ``NAME.part`` in the same folder and is renamed when its size and checksum are
right. Interrupted downloads are resumed from that file. ``NAME.part.tag`` stores the address and
the version that it came from.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from darknet_builder.errors import DownloadError, InputError
from darknet_builder.support.web.requests import WebError, open_address, reason_of

CHECKSUMS = ("sha256", "sha1", "md5")
"""The kinds of checksums, strongest first."""
Progress = Callable[[int, int], None]
"""Called with the number of bytes so far and the total number of bytes."""

_CHUNK = 2**20
_MAX_INTERRUPTIONS = 10
_PARTIAL_CONTENT = 206
_RANGE_NOT_SATISFIABLE = 416


@dataclass(frozen=True)
class Expected:
    """Size and checksums of a file, known before it is downloaded.

    Attributes:
        sizes: sizes in bytes; the file must have one of them.
        checksums: known checksums by kind, one of ``CHECKSUMS``; any one of them must match. There
            are several if a file was replaced at its address, or if several sources publish
            checksums.
    """

    sizes: tuple[int, ...]
    checksums: Mapping[str, tuple[str, ...]]

    def is_known(self, path: Path) -> bool:
        """Return whether a file has one of the sizes and a known checksum."""
        try:
            return bool(_check(self, path))
        except (_WrongFileError, OSError):
            return False

    @property
    def strongest_checksum(self) -> str:
        """The strongest kind of ``CHECKSUMS`` that is known, or an empty string."""
        return next((kind for kind in CHECKSUMS if self.checksums.get(kind)), "")


@dataclass(frozen=True)
class Download:
    """A file that is present and checked.

    Attributes:
        path: path of the file.
        size: size of the file in bytes.
        checksum: the kind of checksum that was compared; empty if none is known and only the size
            was compared.
        fetched: whether it was downloaded now; False if it was present before.
        sha256: the file's SHA-256 if no checksum is known, to compare a later download with; empty
            otherwise.
    """

    path: Path
    size: int
    checksum: str
    fetched: bool
    sha256: str = field(default="", compare=False)

    @classmethod
    def of(cls, path: Path, checksum: str, *, fetched: bool) -> Download:
        """Describe a file that has been checked."""
        sha256 = "" if checksum else _digest(path, "sha256")
        return cls(path, path.stat().st_size, checksum, fetched, sha256)


class _AddressError(Exception):
    """This address does not give the file; another one may."""


class _WrongFileError(_AddressError):
    """The received file is not the expected one."""


class _InterruptedError(_AddressError):
    """The connection was lost; resuming may succeed."""


# ---- the download --------------------------------------------------------------------------------


def download(
    urls: Sequence[str], target: str | Path, expected: Expected, progress: Progress | None = None
) -> Download:
    """Download a file, unless it is already present.

    Args:
        urls: http(s) addresses, tried in order until one gives the right file.
        target: path of the file; its folder is created if needed.
        expected: size and checksums that it must have.
        progress: called after each chunk; None for no report.

    Raises:
        InputError: if another file is at ``target``, or the folder cannot be created.
        DownloadError: if no address gave the right file, or it cannot be written. ``target`` does
            not exist then; ``NAME.part`` keeps what can be resumed.
    """
    target = Path(target)
    present = _already_there(expected, target)
    if present is not None:
        return present
    _make_folder(target.parent)
    part = _Part(target.with_name(target.name + ".part"))
    failures: dict[str, list[str]] = {}  # addresses by reason: without a network, all have the same
    try:
        for url in urls:
            try:
                checksum = _fetch_checked(expected, url, part, progress)
            except _AddressError as error:
                failures.setdefault(str(error), []).append(url)
            else:
                part.become(target)
                return Download.of(target, checksum, fetched=True)
    except OSError as error:
        raise DownloadError(
            f"cannot be written: {reason_of(error)}{part.kept()}", path=part.path
        ) from None
    reasons = (f"{', '.join(places)}: {reason}" for reason, places in failures.items())
    raise DownloadError(f"{'; '.join(reasons)}{part.kept()}")


def _already_there(expected: Expected, target: Path) -> Download | None:
    try:
        if not target.exists():
            return None
        checksum = _check(expected, target)
    except _WrongFileError as error:
        raise InputError(
            f"exists and is not the expected file: {error}; move it away, or choose another folder",
            path=target,
        ) from None
    except OSError as error:
        raise InputError(f"cannot be read: {reason_of(error)}", path=target) from None
    return Download.of(target, checksum, fetched=False)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot be created: {reason_of(error)}", path=folder) from None


# ---- unfinished downloads ------------------------------------------------------------------------


class _Part:
    """``NAME.part``, and its tag, a file with the address and the version to resume."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tag = path.with_name(path.name + ".tag")

    @property
    def size(self) -> int:
        """Number of bytes received so far."""
        return self.path.stat().st_size if self.path.exists() else 0

    def kept(self) -> str:
        """Return the end of an error message: how much is kept for the next attempt."""
        if not self.size:
            return ""
        return f"; {self.size:,} bytes are kept in {self.path}, run the same command to resume"

    def version_at(self, url: str) -> str:
        """Return the version of the bytes; empty if unknown, or if from another address."""
        if not self._tag.exists():
            return ""
        lines = self._tag.read_text(encoding="utf-8", errors="replace").splitlines()
        return lines[1] if len(lines) == 2 and lines[0] == url else ""

    def begin(self, url: str, version: str) -> None:
        """Empty the file and note where the next bytes come from."""
        # Emptied first, so that the tag never describes bytes of another version.
        self.path.write_bytes(b"")
        self._tag.write_text(f"{url}\n{version}\n", encoding="utf-8")

    def discard(self) -> None:
        """Remove both files."""
        self.path.unlink(missing_ok=True)
        self._tag.unlink(missing_ok=True)

    def become(self, target: Path) -> None:
        """Rename to the final name, once every byte is on the disk."""
        with self.path.open("rb+") as file:
            # Without it, a power failure may leave an empty file under the final name.
            os.fsync(file.fileno())
        self.path.replace(target)
        self._tag.unlink(missing_ok=True)


# ---- requests ------------------------------------------------------------------------------------


def _fetch_checked(expected: Expected, url: str, part: _Part, progress: Progress | None) -> str:
    """Download everything and return the kind of checksum that it matched.

    If a resumed file is wrong, it is downloaded again from the start.
    """
    # A wrong file may be the fault of an old part, so a resumed one gets a second pass.
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
    """Download until complete, resuming after lost connections as long as each brings new bytes."""
    for _ in range(_MAX_INTERRUPTIONS):
        before = part.size
        try:
            return _request(expected, url, part, progress)
        except _InterruptedError:
            if part.size <= before:
                raise
    raise _InterruptedError(f"the connection was lost {_MAX_INTERRUPTIONS} times")


def _request(expected: Expected, url: str, part: _Part, progress: Progress | None) -> None:
    """Send one request: for the missing bytes if that is safe, or else for all of them."""
    version = part.version_at(url)
    # Without a version or a checksum nobody would notice two halves of different files. The last
    # byte is requested again, so that a complete part still gives a non-empty range.
    start = max(part.size - 1, 0) if version or expected.strongest_checksum else 0
    _check_space(expected, part, start)
    with _open(url, start, version) as response:
        # The server ignores ranges, or its file has changed since (If-Range): it sends everything.
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
                    raise _WrongFileError(f"the file is longer than {_sizes(expected)} bytes")
                file.write(chunk)
                if progress is not None:
                    progress(done, total or max(expected.sizes))
    # Without Content-Length, the expected sizes decide whether the file is complete.
    if done != total and (total or done not in expected.sizes):
        raise _InterruptedError(
            f"the connection ended after {part.size:,} of {total or max(expected.sizes):,} bytes"
        )


def _open(url: str, start: int, version: str) -> http.client.HTTPResponse:
    """Send a request for the bytes from ``start`` on, and return the response.

    If the server does not support that, request everything.
    """
    headers = {}
    if start:
        headers["Range"] = f"bytes={start}-"
        if version:
            headers["If-Range"] = version
    try:
        response = open_address(url, headers)
    except WebError as error:
        if error.status == _RANGE_NOT_SATISFIABLE and start:
            return _open(url, 0, "")
        raise _AddressError(str(error)) from None
    partial = response.status == _PARTIAL_CONTENT
    if partial and not _content_range(response).startswith(f"bytes {start}-"):
        # The server answers with another part than the one requested.
        response.close()
        return _open(url, 0, "")
    return response


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            chunk = response.read1(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise _InterruptedError(f"the connection was lost: {reason_of(error)}") from None
        if not chunk:
            return
        yield chunk


def _announced_size(expected: Expected, response: http.client.HTTPResponse) -> int | None:
    """Return the total size that the server announces, or None."""
    # "Content-Range: bytes 100-199/200" names the total; Content-Length is that of the part.
    text = response.headers.get("Content-Length", "")
    if response.status == _PARTIAL_CONTENT:
        text = _content_range(response).rpartition("/")[2]
    if not text.isdigit():
        return None
    if int(text) not in expected.sizes:
        raise _AddressError(f"offers a file of {int(text):,} bytes; expected {_sizes(expected)}")
    return int(text)


def _content_range(response: http.client.HTTPResponse) -> str:
    return str(response.headers.get("Content-Range", ""))


def _version_of(response: http.client.HTTPResponse) -> str:
    """Return what ``If-Range`` accepts: a strong ETag, or the date of the last change."""
    tag = str(response.headers.get("ETag", ""))
    # A weak ETag promises equal meaning, not equal bytes.
    if tag and not tag.startswith("W/"):
        return tag
    return str(response.headers.get("Last-Modified", ""))


def _check_space(expected: Expected, part: _Part, start: int) -> None:
    # Bytes after ``start`` are overwritten, so their space counts as free.
    free = shutil.disk_usage(part.path.parent).free + part.size - start
    needed = max(expected.sizes) - start
    if free < needed:
        raise DownloadError(
            f"{needed:,} bytes are needed, but {free:,} are free{part.kept()}",
            path=part.path.parent,
        )


# ---- checking ------------------------------------------------------------------------------------


def _check(expected: Expected, path: Path) -> str:
    """Return the kind of checksum that matches, or an empty string if none is known.

    Any known checksum is enough: they come from several sources, and some files were replaced.
    """
    if not path.is_file():
        raise _WrongFileError("it is not a regular file")
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
    # usedforsecurity=False: md5 and sha1 are refused otherwise where FIPS mode is on.
    digest = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _sizes(expected: Expected) -> str:
    return " or ".join(f"{size:,}" for size in expected.sizes)
