"""Write files atomically, and check paths before a long computation."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from darknet_builder.errors import DarknetError, InputError

_WEB_PAGE = ("<!doctype", "<html", "<?xml", "<head")
_MOST_BYTES, _PART_BYTES = 2**26, 2**20
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
        temporary.chmod(0o666 & ~_umask())  # mkstemp lets only the owner read
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


def read_bounded(path: str | Path) -> bytes:
    """Read a file of settings or names whole, if it is not larger than 64 MiB.

    Such a file is a few kilobytes long. A larger one is another kind of file, or a device that
    never ends.

    Raises:
        OSError: if it cannot be read, or is larger.
    """
    data = bytearray()
    with open(path, "rb") as file:
        # In parts, because read(n) allocates memory for n bytes first.
        while part := file.read(_PART_BYTES):
            data += part
            if len(data) > _MOST_BYTES:
                raise OSError(errno.EFBIG, f"larger than {_MOST_BYTES >> 20} MiB")
    return bytes(data)


def check_folder(path: str | Path | None) -> None:
    """Check that the folder of an output file exists, and that the file is not a folder.

    None stands for no file, and is accepted.

    Raises:
        InputError: if the folder is missing, which the message names, or ``path`` is a folder.
    """
    if path is None:
        return
    if not Path(path).absolute().parent.is_dir():
        raise InputError(f"the folder {Path(path).absolute().parent} does not exist", path=path)
    if Path(path).is_dir():
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
    if path.exists() and path.resolve() in {Path(one).resolve() for one in kept if one is not None}:
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


def _umask() -> int:
    """Return the process's umask; the system reports it only while setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
