"""Pictures by matplotlib (the extra ``evaluate``), which draws without a screen."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from darknet_builder.errors import InputError
from darknet_builder.support.extras import load_extra
from darknet_builder.support.files import atomic_path, check_folder, writing

EXTRA = "evaluate"


def load_figures() -> ModuleType:
    """The module ``matplotlib.figure``.

    Raises:
        MissingExtraError: without matplotlib.
    """
    return load_extra("matplotlib.figure", EXTRA)


def check_plot(path: str | Path) -> None:
    """Check before the work whether the picture can be drawn after it.

    Raises:
        MissingExtraError: without matplotlib.
        InputError: for a suffix that it cannot write, or a folder that is not there.
    """
    known = load_figures().Figure().canvas.get_supported_filetypes()
    if Path(path).suffix.lower().lstrip(".") not in known:
        raise InputError(
            "cannot be drawn with this suffix; expected .png, or one of "
            f"{', '.join(f'.{suffix}' for suffix in sorted(known))}",
            path=path,
        )
    check_folder(path)


def save_figure(figure: Any, path: str | Path, **options: Any) -> None:
    """Write a picture, the whole file or nothing; the format follows the suffix.

    Args:
        figure: a ``matplotlib.figure.Figure``.
        path: of the picture.
        options: of ``Figure.savefig``.

    Raises:
        InputError: when the file cannot be written.
    """
    with writing(path), atomic_path(path) as temporary:
        figure.savefig(temporary, **options)
