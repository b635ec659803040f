"""Run a reader's file and check what it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

from darknet_builder.errors import InputError
from darknet_builder.layers.plugins import describe_exception, line_in, run_file
from darknet_builder.lessons.faults import behaviour, registration
from darknet_builder.lessons.faults.exercises import find_exercise
from darknet_builder.lessons.measurement import seeded
from darknet_builder.support.files import read_bounded

_CHECKS: tuple[Callable[[ModuleType], Iterator[str]], ...] = (
    registration.never_learns,
    registration.wrong_after_moving,
    registration.head_stays_behind,
    registration.too_many_weights,
    behaviour.never_the_same_twice,
    behaviour.weak_gradient,
    behaviour.rate_falls_too_fast,
    behaviour.frozen_but_moving,
    behaviour.forgets_its_head,
    behaviour.best_is_last,
)
CHECKS = {check.__name__: check for check in _CHECKS}
"""The check of each exercise, by the name of the exercise."""


def judge(name: str, path: str | Path) -> list[str]:
    """Run a reader's file, and return one sentence for each thing that is not right.

    Args:
        name: name of the exercise.
        path: the file; its code runs in this process.

    Raises:
        InputError: if there is no such exercise, or the file cannot be read or fails before it can
            be checked.

    Example:
        >>> import tempfile
        >>> from darknet_builder.lessons.faults.exercises import EXERCISES
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "best_is_last.py"
        ...     _ = path.write_text(EXERCISES["best_is_last"].solved)
        ...     judge("best_is_last", path)
        []
    """
    check = CHECKS[find_exercise(name).name]
    file = Path(path)
    code = _load(file)
    try:
        return seeded(lambda: list(check(code)))
    except (Exception, SystemExit) as error:
        line = line_in(error, file)
        place = str(file) if line is None else f"{file}:{line}"
        return [f"{place}: {describe_exception(error)}"]


def _load(path: Path) -> ModuleType:
    """Run a file and return its names as a module."""
    try:
        source = read_bounded(path)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from None
    return run_file(source, path, f"darknet_builder_exercise_{path.stem}")
