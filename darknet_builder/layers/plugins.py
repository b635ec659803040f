"""Load sections from outside the package: a Python file, or the entry points of installed packages.

Both register their layers with ``@register``, as the files of this folder do. A file is loaded only
if the caller names it; no option of a cfg loads code.
"""

from __future__ import annotations

import sys
import traceback
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from darknet_builder.errors import InputError
from darknet_builder.layers.base import Layer
from darknet_builder.layers.registry import (
    forget_sections,
    registered_sections,
    restore_sections,
)
from darknet_builder.support.files import read_bounded

ENTRY_POINTS = "darknet_builder.layers"
"""The group of entry points under which a package names its module of sections."""


def load_plugin(path: str | Path) -> list[str]:
    """Run a Python file that registers sections with ``@register``.

    Loading a file again replaces the sections that it registered before. Networks that were built
    before keep theirs.

    Args:
        path: the file. It runs with all rights of this process: load only code that you trust.

    Returns:
        The names of the sections that it registered.

    Raises:
        InputError: for a file that cannot be read, fails or registers no section, with the line of
            the failure. The registry is then as it was before.
    """
    file = Path(path)
    try:
        source = read_bounded(file)
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}", path=path, hint="a Python file is expected"
        ) from None
    name = f"darknet_builder_plugin_{file.stem}_{zlib.crc32(str(file.resolve()).encode()):08x}"
    with _all_or_nothing(name):
        run_file(source, file, name)
        added = [key for key, kind in registered_sections().items() if kind.__module__ == name]
        if not added:
            raise InputError(
                "registers no section",
                path=path,
                hint="decorate a subclass of Layer with @register('name')",
            )
        for section in added:
            _check_contract(section, file)
    return added


@lru_cache(maxsize=1)
def load_installed() -> tuple[str, ...]:
    """Load the entry points of the group ``darknet_builder.layers``, once in a process.

    Returns:
        Their names.

    Raises:
        InputError: naming the first that cannot be loaded. The next call tries again.
    """
    found = tuple(entry_points(group=ENTRY_POINTS))
    for entry in found:
        with _all_or_nothing():
            try:
                entry.load()
            except (Exception, SystemExit) as error:
                raise InputError(
                    f"the installed plugin {entry.name!r} ({entry.value}) cannot be loaded:"
                    f" {describe_exception(error)}",
                    hint="update its package, or remove it",
                ) from error
    return tuple(entry.name for entry in found)


@contextmanager
def _all_or_nothing(module: str = "") -> Iterator[None]:
    """Undo what the block registers if it fails; forget first what ``module`` registered before."""
    before, old = registered_sections(), sys.modules.get(module)
    forget_sections(module)
    try:
        yield
    except BaseException:
        restore_sections(before)
        sys.modules.pop(module, None)
        if old is not None:
            sys.modules[module] = old
        raise


def run_file(source: str | bytes, file: Path, name: str) -> ModuleType:
    """Run a user's Python file as a module.

    Not through an import loader: its cache would miss an edit within the same second.

    Args:
        source: the text of the file.
        file: its path, for messages.
        name: the module's name in ``sys.modules``.

    Raises:
        InputError: if it cannot be compiled or fails, with the line.
    """
    module = ModuleType(name)
    module.__file__ = str(file)
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        exec(compile(source, str(file), "exec"), module.__dict__)  # noqa: S102  (what load means)
    except (Exception, SystemExit) as error:
        raise InputError(
            f"cannot be loaded: {describe_exception(error)}", path=file, line=line_in(error, file)
        ) from error
    return module


def line_in(error: BaseException, file: Path) -> int | None:
    """Return the line of a file at which an exception left it, or at which it cannot be compiled.

    Args:
        error: with its traceback.
        file: the path under which ``run_file`` ran it.
    """
    if isinstance(error, SyntaxError) and error.filename == str(file):
        return error.lineno
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(file)]
    return lines[-1] if lines else None


def describe_exception(error: BaseException) -> str:
    """Return the kind and the first line of an exception.

    Args:
        error: any exception.

    Example:
        >>> describe_exception(ValueError("too large"))
        'ValueError: too large'
    """
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    first = text.strip().split("\n")[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _check_contract(section: str, file: Path) -> None:
    """Check what a network needs of the class of a section.

    Raises:
        InputError: naming the section and its class.
    """
    kind: type = registered_sections()[section]
    if not issubclass(kind, Layer):
        raise InputError(f"{kind.__name__} is not a subclass of Layer", path=file, section=section)
    if kind.from_block.__func__ is Layer.from_block.__func__:  # type: ignore[attr-defined]
        raise InputError(
            f"{kind.__name__} has no from_block",
            path=file,
            section=section,
            hint="write the class method that reads the section's options",
        )
