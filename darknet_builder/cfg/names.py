"""Read ``.names`` files, which have one class name per line."""

from __future__ import annotations

from pathlib import Path

from darknet_builder.errors import DataError
from darknet_builder.support.bundled import bundled_names, find_by_name, hint_at_bundled


def read_names(path: str | Path) -> list[str]:
    """Read a ``.names`` file: one class name per line, without blank lines at the end.

    Args:
        path: path of the file, or the name of a bundled one (``coco``).

    Raises:
        DataError: if the file cannot be read, is not text or has no names.

    Example:
        >>> read_names("coco")[:3]
        ['person', 'bicycle', 'car']
    """
    file = find_by_name(path, ".names")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        hint = hint_at_bundled(file, ".names") or (
            f"; bundled ones are {', '.join(bundled_names('.names'))}"
        )
        raise DataError("no such names file", path=path, hint=hint) from None
    except OSError as error:
        raise DataError(f"{error.strerror or error}", path=path) from None
    except UnicodeDecodeError:
        raise DataError(
            "is not UTF-8 text", path=path, hint="expected one class name a line"
        ) from None
    names = [line.strip() for line in text.rstrip().splitlines()]
    if not names:
        raise DataError("has no names", path=path, hint="expected one class name a line")
    return names
