"""Lay out the folder in which a reader works."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from darknet_builder.errors import InputError
from darknet_builder.lessons.scratch.chapters import READERS_FILE
from darknet_builder.lessons.scratch.stubs import stub_text
from darknet_builder.support.bundled import bundled_file
from darknet_builder.support.files import current_umask, writing

_TEXTS = {"run.py": "run.txt", "README.md": "readme.txt"}
_COPIES = {
    "scratch.cfg": "lesson",
    "scratch.weights": "lesson",
    "scene.png": "lesson",
    "shapes.cfg": "cfg",
    "shapes.names": "cfg",
    "shapes.weights": "weights",
}
"""Name of a file -> the bundled folder that it comes from."""


def start_folder(folder: str | Path) -> Path:
    """Make a folder with stubs, a program that runs them, networks and a picture.

    The folder appears whole or not at all.

    Args:
        folder: path of the folder; its parent must exist.

    Returns:
        The path of the file with the stubs.

    Raises:
        InputError: if the folder exists already or cannot be made.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     stubs = start_folder(Path(parent) / "my-yolo")
        ...     stubs.name, stubs.is_file()
        ('my_yolo.py', True)
    """
    target = Path(folder)
    if os.path.lexists(target):
        raise InputError("exists already; choose a new folder", path=target)
    if not target.absolute().parent.is_dir():
        raise InputError(f"the folder {target.absolute().parent} does not exist", path=target)
    with writing(target):
        # A rename is atomic only within one file system, so the parts are made beside the target.
        parts = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.absolute().parent))
        try:
            _fill(parts)
            parts.chmod(0o777 & ~current_umask())
            parts.rename(target)
        except BaseException:
            shutil.rmtree(parts, ignore_errors=True)
            raise
    return target / READERS_FILE


def _fill(folder: Path) -> None:
    (folder / READERS_FILE).write_text(stub_text(), encoding="utf-8")
    for name, source in _TEXTS.items():
        shutil.copyfile(Path(__file__).with_name(source), folder / name)
    for name, bundle in _COPIES.items():
        shutil.copyfile(bundled_file(bundle, name), folder / name)
