"""Where the files that come with the project are: in a checkout, or inside the installed
package.
"""

from __future__ import annotations

from pathlib import Path

from darknet_builder.errors import did_you_mean

_PACKAGE = Path(__file__).resolve().parent.parent
DEFAULT_MODEL = "shapes"


def bundled_file(folder: str, name: str) -> Path:
    """A file of the checkout's ``cfg/`` or ``weights/``; a wheel has ``bundled_cfg/`` and
    ``bundled_weights/``.

    Args:
        folder: ``cfg`` or ``weights``.
        name: the file's name.

    Returns:
        Its path; whether the file exists is for the caller to find out.
    """
    checkout = _PACKAGE.parent / folder / name
    return checkout if checkout.is_file() else _PACKAGE / f"bundled_{folder}" / name


def default_model() -> tuple[Path, Path, Path]:
    """cfg, weights and names of the bundled detector."""
    return (
        bundled_file("cfg", f"{DEFAULT_MODEL}.cfg"),
        bundled_file("weights", f"{DEFAULT_MODEL}.weights"),
        bundled_file("cfg", f"{DEFAULT_MODEL}.names"),
    )


def find_by_name(path: str | Path, suffix: str) -> Path:
    """What a path or a bare name means: ``yolov4-tiny`` is the cfg that comes with the project,
    ``coco`` its names.

    Args:
        path: a path; a word without folder and suffix may be such a name.
        suffix: ``.cfg`` or ``.names``.

    Returns:
        The file that comes with the project, where there is no file of that very name here; else
        the path itself.
    """
    path = Path(path)
    if path.suffix != suffix and path.name == str(path) and not path.is_file():
        bundled = bundled_file("cfg", f"{path}{suffix}")
        if bundled.is_file():
            return bundled
    return path


def bundled_names(suffix: str) -> list[str]:
    """The names that ``find_by_name`` knows."""
    return sorted(
        {
            path.stem
            for folder in (_PACKAGE.parent / "cfg", _PACKAGE / "bundled_cfg")
            for path in folder.glob(f"*{suffix}")
        }
    )


def hint_at_bundled(path: Path, suffix: str) -> str:
    """Where nothing is at a path, the file of that name that comes with the project, or the nearest
    one.

    Args:
        path: where nothing is.
        suffix: as for ``find_by_name``.
    """
    known = bundled_names(suffix)
    if path.suffix == suffix and path.stem in known:
        return f"; the one that comes with the project goes by its name, {path.stem}"
    return did_you_mean(path.name, known)
