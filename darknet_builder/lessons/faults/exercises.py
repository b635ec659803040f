"""The ten exercises: their files, and what is said about a reader's file.

The title and the task of an exercise are the docstring of its broken file, and the explanation is
the docstring of the solved one.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from types import ModuleType

from darknet_builder.errors import InputError, did_you_mean
from darknet_builder.layers.plugins import describe_exception, line_in, run_file
from darknet_builder.lessons.faults import behaviour, registration
from darknet_builder.lessons.measurement import seeded
from darknet_builder.support.files import read_bounded, write_text

Check = Callable[[ModuleType], Iterator[str]]
_CHECKS: tuple[tuple[Check, int], ...] = (
    (registration.never_learns, 3),
    (registration.wrong_after_moving, 2),
    (behaviour.never_the_same_twice, 1),
    (registration.head_stays_behind, 3),
    (registration.too_many_weights, 4),
    (behaviour.weak_gradient, 9),
    (behaviour.rate_falls_too_fast, 8),
    (behaviour.frozen_but_moving, 7),
    (behaviour.forgets_its_head, 10),
    (behaviour.best_is_last, 10),
)
"""The check of each exercise, and the lesson that explains its fault."""


@dataclass(frozen=True)
class Exercise:
    """A broken module, its solution, and the check that tells them apart.

    Attributes:
        name: of its file, without ``.py``.
        lesson: number of the lesson of docs/lessons.md that explains the fault.
        check: yields what is not right in a module.

    Example:
        >>> exercise = find_exercise("best_is_last")
        >>> print(exercise.title)
        The weights that were kept as the best are always those of the last step.
    """

    name: str
    lesson: int
    check: Check

    @property
    def broken(self) -> str:
        """The source of the broken module."""
        return self._source("broken")

    @property
    def solved(self) -> str:
        """The source of the solution."""
        return self._source("solved")

    @property
    def title(self) -> str:
        """The symptom, in one sentence."""
        return _docstring(self.broken).partition("\n")[0]

    def solution(self) -> str:
        """Return the explanation, and the lines that differ from the broken module."""
        lines = difflib.unified_diff(
            _without_docstring(self.broken),
            _without_docstring(self.solved),
            f"{self.name}.py",
            f"{self.name}.py, mended",
            n=2,
        )
        return f"{_docstring(self.solved)}\n\n{''.join(lines)}"

    def judge(self, path: str | Path) -> list[str]:
        """Run a reader's file, and return one sentence for each thing that is not right.

        Args:
            path: the file; its code is run in this process.

        Raises:
            InputError: if it cannot be read, or fails before it can be checked.
        """
        code = _load(Path(path))
        try:
            return seeded(lambda: list(self.check(code)))
        except (Exception, SystemExit) as error:
            line = line_in(error, Path(path))
            place = str(path) if line is None else f"{path}:{line}"
            return [f"{place}: {describe_exception(error)}"]

    def _source(self, room: str) -> str:
        folder = files("darknet_builder.lessons.faults")
        return (folder / room / f"{self.name}.py").read_text(encoding="utf-8")


EXERCISES = {check.__name__: Exercise(check.__name__, lesson, check) for check, lesson in _CHECKS}
"""All exercises by name, in the order in which they are listed."""


def find_exercise(name: str) -> Exercise:
    """Return an exercise.

    Args:
        name: its name.

    Raises:
        InputError: if there is no such exercise.

    Example:
        >>> find_exercise("never_learns").lesson
        3
    """
    if name not in EXERCISES:
        raise InputError(f"unknown exercise {name!r}", hint=did_you_mean(name, list(EXERCISES)))
    return EXERCISES[name]


def start_exercises(folder: str | Path) -> list[Path]:
    """Copy the broken modules into a new folder.

    Args:
        folder: to make.

    Returns:
        The files, in the order of ``EXERCISES``.

    Raises:
        InputError: if the folder exists or cannot be made.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise InputError("already exists; choose another folder", path=folder) from None
    except OSError as error:
        raise InputError(f"cannot be made: {error.strerror}", path=folder) from None
    paths = [folder / f"{name}.py" for name in EXERCISES]
    for path, exercise in zip(paths, EXERCISES.values(), strict=True):
        write_text(path, exercise.broken)
    return paths


def _load(path: Path) -> ModuleType:
    """Run a reader's file and return its names as a module."""
    try:
        source = read_bounded(path)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from None
    return run_file(source, path, f"darknet_builder_exercise_{path.stem}")


def _docstring(source: str) -> str:
    return ast.get_docstring(ast.parse(source)) or ""


def _without_docstring(source: str) -> list[str]:
    """Return the lines of a module after its docstring."""
    end = ast.parse(source).body[0].end_lineno or 0
    return source.splitlines(keepends=True)[end:]
