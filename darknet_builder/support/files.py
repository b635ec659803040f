"""Write files so that nobody ever sees half of one, and check paths before a long computation."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from darknet_builder.errors import DarknetError, InputError

_WEB_PAGE = ("<!doctype", "<html", "<?xml", "<head")
_LONGEST_TAG = max(map(len, _WEB_PAGE))


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path in the target's folder, renamed to ``path`` when the block ends well,
    removed otherwise.

    Raises:
        OSError: when the folder cannot be written to.
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
        temporary.chmod(0o666 & ~_umask())
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
        path: of the file that the block writes.
        kind: of the error to raise.
        cure: what the user can do: the error's hint.
        argument: the library argument that would help.

    Raises:
        DarknetError: of that kind, when the file cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise kind(
            f"cannot be written: {error.strerror or error}", path=path, hint=cure, argument=argument
        ) from None


def write_text(path: str | Path, text: str) -> None:
    """Write a whole text file, or nothing."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def check_folder(path: str | Path | None) -> None:
    """Check that the folder of a file to be written exists; None passes.

    Raises:
        InputError: naming the missing folder.
    """
    if path is not None and not Path(path).absolute().parent.is_dir():
        raise InputError(f"there is no folder {Path(path).absolute().parent}", path=path)


def refuse_overwriting(path: Path, kept: Iterable[str | Path | None], advice: str) -> None:
    """Check that a file to be written replaces none of those that matter.

    Args:
        path: of the file to be written.
        kept: paths of the files that matter; None entries are ignored.
        advice: what the user should do instead.

    Raises:
        InputError: naming the file.
    """
    if path.exists() and path.resolve() in {Path(one).resolve() for one in kept if one is not None}:
        raise InputError("would be overwritten", path=path, hint=advice)


def is_web_page(start: str | bytes) -> bool:
    """Return whether a file begins as a web page, such as the error page that a download saved in
    its place.

    Args:
        start: the beginning of the file, some dozens of characters or more.
    """
    text = start.decode("latin-1") if isinstance(start, bytes) else start
    return text.lstrip()[:_LONGEST_TAG].lower().startswith(_WEB_PAGE)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
