"""The ten exercises: their files and texts. ``judging`` checks what a reader made of them.

The title and the task of an exercise are the docstring of its broken file, and the explanation is
the docstring of the solved one.
"""

from __future__ import annotations

import ast
import difflib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from darknet_builder.errors import InputError, did_you_mean
from darknet_builder.support.files import write_text


@dataclass(frozen=True)
class Exercise:
    """A broken module and its solution.

    Attributes:
        name: of its file, without ``.py``.
        lesson: number of the lesson of docs/lessons.md that explains the fault.

    Example:
        >>> exercise = find_exercise("best_is_last")
        >>> print(exercise.title)
        The weights that were kept as the best are always those of the last step.
    """

    name: str
    lesson: int

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

    def _source(self, room: str) -> str:
        folder = files("darknet_builder.lessons.faults")
        return (folder / room / f"{self.name}.py").read_text(encoding="utf-8")


_LESSONS = {
    "never_learns": 3,
    "wrong_after_moving": 2,
    "never_the_same_twice": 1,
    "head_stays_behind": 3,
    "too_many_weights": 4,
    "weak_gradient": 9,
    "rate_falls_too_fast": 8,
    "frozen_but_moving": 7,
    "forgets_its_head": 10,
    "best_is_last": 10,
}
EXERCISES = {name: Exercise(name, lesson) for name, lesson in _LESSONS.items()}
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


def _docstring(source: str) -> str:
    return ast.get_docstring(ast.parse(source)) or ""


def _without_docstring(source: str) -> list[str]:
    """Return the lines of a module after its docstring."""
    end = ast.parse(source).body[0].end_lineno or 0
    return source.splitlines(keepends=True)[end:]
