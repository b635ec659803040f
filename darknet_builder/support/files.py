"""Write files atomically, and check paths before a long computation."""

from __future__ import annotations

import errno
import os
import select
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from darknet_builder.errors import DarknetError, InputError

if TYPE_CHECKING:
    from darknet_builder.support.web.remote import RemoteFile

_WEB_PAGE = ("<!doctype", "<html", "<?xml", "<head")
_MOST_BYTES, _PART_BYTES = 2**26, 2**20
_PIPE_SECONDS = 10.0
"""How long to wait for the first byte of a pipe, which may have no writer."""
_LONGEST_TAG = max(map(len, _WEB_PAGE))


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path that replaces ``path`` if the block succeeds.

    If the block fails, the temporary file is removed. It is in the same folder as ``path``, because
    a rename is atomic only within one file system.

    Args:
        path: the file to create or replace.

    Yields:
        The path to write to; it has the same suffix as ``path``.

    Raises:
        OSError: if the folder cannot be written to.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with atomic_path(Path(folder) / "a.txt") as temporary:
        ...         _ = temporary.write_text("whole")
        ...     (Path(folder) / "a.txt").read_text()
        'whole'
    """
    import tempfile  # not at the top: it costs every start of the program, which seldom writes

    target = Path(path)
    handle, name = tempfile.mkstemp(
        prefix=f".{target.stem}-", suffix=target.suffix, dir=target.parent
    )
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~current_umask())  # mkstemp lets only the owner read
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def writing(
    path: str | Path,
    kind: type[DarknetError] = InputError,
    *,
    cure: str | None = None,
    argument: str | None = None,
) -> Iterator[None]:
    """Turn an ``OSError`` within the block into ``PATH: cannot be written: REASON``.

    Args:
        path: the file that the block writes.
        kind: class of the error to raise.
        cure: what the user can do, used as the error's hint.
        argument: the library argument that would help.

    Raises:
        DarknetError: of class ``kind``, if the file cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise kind(
            f"cannot be written: {error.strerror or error}", path=path, hint=cure, argument=argument
        ) from None


def write_text(path: str | Path, text: str) -> None:
    r"""Write a text file in UTF-8, completely or not at all.

    A byte of a file name that is not UTF-8 becomes ``\udcXX``, because the file must be UTF-8.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", "backslashreplace"))


def read_bounded(path: str | Path | RemoteFile, most_bytes: int = _MOST_BYTES) -> bytes:
    """Read a file whole, if it is not too large.

    A file of settings or names is a few kilobytes long. A larger one is another kind of file, or a
    device that never ends.

    Args:
        path: the file; a pipe, as ``<(...)`` of a shell, is read to its end.
        most_bytes: the limit for a regular file. Devices and pipes are read up to 64 MiB, files at
            addresses up to 128 MiB.

    Raises:
        OSError: if it cannot be read or is larger, or if it is a pipe without a writer.
    """
    if not isinstance(path, str | Path):
        return path.read_bounded(most_bytes)
    data = bytearray()
    with _open(path) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            most_bytes = min(most_bytes, _MOST_BYTES)
        # In parts: read(n) takes memory for n bytes first.
        while part := file.read(_PART_BYTES):
            data += part
            if len(data) > most_bytes:
                raise OSError(errno.EFBIG, f"larger than {most_bytes >> 20} MiB")
    return bytes(data)


def check_regular(path: str | Path) -> None:
    """Check that a file can be read, and more than once, which a pipe or a device cannot.

    Raises:
        OSError: if not.
    """
    with open(path, "rb", opener=_open_at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")


def _open(path: str | Path) -> BinaryIO:
    """Open a file for reading; a pipe that nobody writes to is an OSError."""
    file = open(path, "rb", opener=_open_at_once)  # noqa: SIM115
    if os.name == "posix":
        number = file.fileno()
        is_pipe = stat.S_ISFIFO(os.fstat(number).st_mode)
        if is_pipe and not select.select([number], [], [], _PIPE_SECONDS)[0]:
            file.close()
            raise OSError(errno.ETIMEDOUT, f"a pipe without data for {_PIPE_SECONDS:g} seconds")
        os.set_blocking(number, True)
    return file


def _open_at_once(path: str, flags: int) -> int:
    """Open a file as ``os.open`` does, without waiting for the writer of a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def check_folder(path: str | Path | None) -> None:
    """Check that the folder of an output file exists, and that the file is not a folder.

    None stands for no file, and is accepted.

    Raises:
        InputError: if the folder is missing, which the message names, or ``path`` is a folder.
    """
    if path is None:
        return
    # os.path and not Path, whose is_dir raises for a name that is too long.
    if not os.path.isdir(Path(path).absolute().parent):
        raise InputError(f"the folder {Path(path).absolute().parent} does not exist", path=path)
    if os.path.isdir(path):
        raise InputError("is a folder; expected the path of a file", path=path)


def refuse_overwriting(path: Path, kept: Iterable[str | Path | None], advice: str) -> None:
    """Check that writing to ``path`` would not replace one of the given files.

    Args:
        path: the file to be written.
        kept: files that must not be replaced; None entries are ignored.
        advice: what the user should do instead.

    Raises:
        InputError: if ``path`` is one of them.
    """
    originals = {Path(one).resolve() for one in kept if one is not None}
    if os.path.exists(path) and path.resolve() in originals:
        raise InputError("would be overwritten", path=path, hint=advice)


def is_web_page(start: str | bytes) -> bool:
    """Return whether a file begins like a web page.

    Downloads sometimes save an error page in place of the file.

    Args:
        start: the beginning of the file, at least a few dozen characters or bytes.

    Example:
        >>> is_web_page(b"<!DOCTYPE html><html>"), is_web_page("[net]")
        (True, False)
    """
    text = start.decode("latin-1") if isinstance(start, bytes) else start
    return text.lstrip()[:_LONGEST_TAG].lower().startswith(_WEB_PAGE)


def current_umask() -> int:
    """Return the process's umask; the system reports it only while setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
