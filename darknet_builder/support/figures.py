"""Load matplotlib (the extra ``evaluate``) without a screen, and save its figures."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from darknet_builder.errors import InputError
from darknet_builder.support.extras import load_extra
from darknet_builder.support.files import atomic_path, check_folder, writing

EXTRA = "evaluate"


def load_figures() -> ModuleType:
    """Return the module ``matplotlib.figure``.

    ``Figure`` alone, without pyplot, needs neither a screen nor global state.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    return load_extra("matplotlib.figure", EXTRA)


def plain_label(name: str) -> str:
    r"""Return a name that matplotlib shows as it is: between two ``$`` it would read formulas.

    Example:
        >>> print(plain_label("$5 note"))
        \$5 note
    """
    return name.replace("$", r"\$")


def check_plot(path: str | Path) -> None:
    """Check before a long computation that its figure can be saved afterwards.

    Args:
        path: path of the figure; the suffix selects the format.

    Raises:
        MissingExtraError: if matplotlib is not installed.
        InputError: if matplotlib cannot write this format, or the folder does not exist.
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
    """Write a figure completely or not at all; the suffix selects the format.

    Args:
        figure: the figure, a ``matplotlib.figure.Figure``.
        path: path of the file to write.
        **options: passed on to ``Figure.savefig``.

    Raises:
        InputError: if the file cannot be written.
    """
    with writing(path), atomic_path(path) as temporary:
        figure.savefig(temporary, **options)
