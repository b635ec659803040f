"""Where the files that come with the project are: in a checkout, or inside the installed package."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
DEFAULT_MODEL = "shapes"


def bundled_file(folder: str, name: str) -> Path:
    """A file of the checkout's ``cfg/`` or ``weights/``; a wheel has ``bundled_cfg/`` and ``bundled_weights/``.

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
    return (bundled_file("cfg", f"{DEFAULT_MODEL}.cfg"), bundled_file("weights", f"{DEFAULT_MODEL}.weights"),
            bundled_file("cfg", f"{DEFAULT_MODEL}.names"))
