"""Read the text files of a data set line by line, so that an error can name the line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from darknet_builder.errors import DataError


def numbered_lines(path: str | Path, kind: str) -> Iterator[tuple[int, str]]:
    """Yield the number and the stripped text of each line that is not blank.

    Args:
        path: the file, in UTF-8.
        kind: noun phrase that completes the error for a binary file, such as ``a label file``.

    Raises:
        DataError: for a file that cannot be read or is not UTF-8 text.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{error.strerror or error}", path=path) from None
    except UnicodeDecodeError:
        raise DataError("is not UTF-8 text", path=path, hint=f"expected {kind}") from None
    # Not splitlines, which also splits at form feeds and so counts other lines than an editor.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line.strip()


def either(paths: Sequence[Path]) -> str:
    """Join the paths at which a file was looked for, without repeats, for a message."""
    return " and ".join(dict.fromkeys(map(str, paths)))
