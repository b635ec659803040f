"""Load a reader's file and call its functions; an error becomes a value."""

from __future__ import annotations

import linecache
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch

from darknet_builder.lessons.marker.values import Raised


def load_code(path: str | Path) -> ModuleType | Raised:
    """Run a reader's file and return it as a module, or the error that it raised.

    Args:
        path: a Python file. Files beside it can be imported from it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "my_yolo.py"
        ...     _ = path.write_text("x = 1")
        ...     load_code(path).x
        1
    """
    path = Path(path).resolve()
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    sys.modules[path.stem] = module  # dataclasses and pickle look their module up there
    result = attempt(lambda: _execute(path, module), str(path))
    return result if isinstance(result, Raised) else module


def _execute(path: Path, module: ModuleType) -> None:
    linecache.checkcache(str(path))
    exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)  # noqa: S102


def attempt(call: Callable[[], object], filename: str) -> object:
    """Return what a call returns, or the error that it raised.

    Random numbers are the same in every call.

    Args:
        call: the function.
        filename: the reader's file, whose last line in the traceback is the place of the error.

    Example:
        >>> attempt(lambda: 1 / 0, "my_yolo.py").kind
        'ZeroDivisionError'
    """
    torch.manual_seed(0)
    try:
        return call()
    except KeyboardInterrupt:
        raise
    except SyntaxError as error:
        place = f"line {error.lineno}: {(error.text or '').strip()}"
        return Raised(type(error).__name__, error.msg, place)
    except BaseException as error:
        place, function = _place_of(error, filename)
        return Raised(type(error).__name__, str(error), place, function)


def _place_of(error: BaseException, filename: str) -> tuple[str, str]:
    """Return the last line of the reader's file in a traceback, as text, and its function."""
    if not filename:
        return "", ""  # reading the lines of a traceback takes time
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == filename
    ]
    if not frames:
        return "", ""
    last = frames[-1]
    inside = "" if last.name.startswith("<") else f", in {last.name}"
    return f"line {last.lineno}{inside}: {last.line}", last.name
