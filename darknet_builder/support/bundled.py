"""Find the files that come with the project, in a checkout or in the installed package."""

from __future__ import annotations

import os
from pathlib import Path

from darknet_builder.errors import did_you_mean

_PACKAGE = Path(__file__).resolve().parent.parent
DEFAULT_MODEL = "shapes"
_CHECKOUT_FOLDERS = {"lesson": "tests/golden/lesson"}
"""Bundled folders that are not at the top of a checkout."""


def bundled_file(folder: str, name: str) -> Path:
    """Return the path of a bundled file.

    A checkout has the folders ``cfg/``, ``weights/`` and ``tests/golden/lesson/``, a wheel has
    ``bundled_cfg/``, ``bundled_weights/`` and ``bundled_lesson/``.

    Args:
        folder: ``cfg``, ``weights`` or ``lesson``.
        name: name of the file, with its suffix.

    Returns:
        The path; the file itself may be missing.

    Example:
        >>> bundled_file("cfg", "shapes.cfg").name
        'shapes.cfg'
    """
    checkout = _PACKAGE.parent / _CHECKOUT_FOLDERS.get(folder, folder) / name
    return checkout if os.path.isfile(checkout) else _PACKAGE / f"bundled_{folder}" / name


def default_model() -> tuple[Path, Path, Path]:
    """Return the paths of cfg, weights and names of the bundled detector."""
    return (
        bundled_file("cfg", f"{DEFAULT_MODEL}.cfg"),
        bundled_file("weights", f"{DEFAULT_MODEL}.weights"),
        bundled_file("cfg", f"{DEFAULT_MODEL}.names"),
    )


def find_by_name(path: str | Path, suffix: str) -> Path:
    """Resolve a bare name such as ``yolov4-tiny`` to the bundled file of that name.

    Args:
        path: a path, or a name without folder and suffix.
        suffix: suffix to add: ``.cfg`` or ``.names``.

    Returns:
        The bundled file, if ``path`` is a bare name and no file of exactly that name exists in the
        current folder; otherwise ``path`` itself.

    Example:
        >>> find_by_name("shapes", ".cfg").is_file()
        True
        >>> find_by_name("other.cfg", ".cfg").name
        'other.cfg'
    """
    path = Path(path)
    if path.suffix != suffix and path.name == str(path) and not os.path.isfile(path):
        bundled = bundled_file("cfg", f"{path}{suffix}")
        if os.path.isfile(bundled):
            return bundled
    return path


def bundled_names(suffix: str) -> list[str]:
    """Return all names that ``find_by_name`` can resolve, sorted."""
    return sorted(
        {
            path.stem
            for folder in (_PACKAGE.parent / "cfg", _PACKAGE / "bundled_cfg")
            for path in folder.glob(f"*{suffix}")
        }
    )


def hint_at_bundled(path: Path, suffix: str) -> str:
    """Return a hint for a missing file: the bundled file of the same name, or a similar name.

    Args:
        path: the file that does not exist.
        suffix: suffix to look for: ``.cfg`` or ``.names``.

    Returns:
        Text that begins with ``"; "``; empty if no name is similar.
    """
    known = bundled_names(suffix)
    if path.suffix == suffix and path.stem in known:
        return f"; to use the file bundled with the project, give its name alone: {path.stem}"
    return did_you_mean(path.name, known)
