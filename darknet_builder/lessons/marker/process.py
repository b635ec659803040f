"""Run the marker in a child process with a time limit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from darknet_builder.errors import InputError

_MOST_LINES = 20
"""Lines of the reader's own output that are shown."""
_START = "import sys; sys.path[:] = {path!r}; from {module} import main; main({arguments!r})"
_CHILD = "darknet_builder.lessons.marker.child"


@dataclass(frozen=True)
class Answer:
    """The marker's answer.

    Attributes:
        text: the report, with the output of the reader's code above it.
        is_right: whether everything that was checked is right.
        wrong_chapter: the chapter that is not yet right; None if there is none, or if the file
            could not be run to its end.

    Example:
        >>> Answer("chapter 1: right", True).is_right
        True
    """

    text: str
    is_right: bool
    wrong_chapter: int | None = None


def check_file(path: str | Path, chapter: int | None, time_limit: float) -> Answer:
    """Check a reader's file in a process of its own.

    Args:
        path: the file.
        chapter: a key of ``CHAPTERS``; None for all, up to the first that is not right.
        time_limit: seconds after which the process is ended.

    Raises:
        InputError: if the file cannot be read, or the limit is not above 0.
    """
    if not os.path.isfile(path):
        raise InputError("no such file; expected the file with your code", path=path)
    if not time_limit > 0:
        raise InputError(f"time_limit={time_limit:g}: expected seconds above 0")
    with tempfile.TemporaryDirectory() as folder:
        status, output = _run(str(path), chapter, time_limit, folder)
        answer = Path(folder) / "answer"
        if answer.is_file():
            found = json.loads(answer.read_text(encoding="utf-8"))
            wrong = found["wrong_chapter"]
            return Answer(_above(output) + found["text"], wrong is None, wrong or None)
        return Answer(_above(output) + _without_answer(status, time_limit, folder), False)


def _run(
    path: str, chapter: int | None, time_limit: float, folder: str
) -> tuple[int | None, list[str]]:
    """Return the exit status (None if it was ended) and the lines that the reader's code wrote."""
    arguments = [path, "all" if chapter is None else str(chapter), folder]
    code = _START.format(path=sys.path, module=_CHILD, arguments=arguments)
    with open(Path(folder) / "output", "w+b") as output:
        child = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            status: int | None = child.wait(time_limit)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            child.kill()
            child.wait()
        output.seek(0)
        return status, output.read(2**20).decode("utf-8", "replace").splitlines()


def _above(output: list[str]) -> str:
    """Return the lines that the reader's code wrote, under a heading."""
    if not output:
        return ""
    lines = [f"  {line}" for line in output[:_MOST_LINES]]
    if len(output) > _MOST_LINES:
        lines.append(f"  ... ({len(output) - _MOST_LINES} more lines)")
    return "\n".join(["your code wrote:", *lines, ""]) + "\n"


def _without_answer(status: int | None, time_limit: float, folder: str) -> str:
    """Return the answer for a process that gave none."""
    progress = Path(folder) / "progress"
    title = progress.read_text(encoding="utf-8") if progress.is_file() else ""
    during = f" during this check: {title}" if title else ""
    if status is None:
        return (
            f"your code was stopped after {time_limit:g} seconds{during}\n"
            "cause: probably a loop that never ends\n"
        )
    if status < 0:
        name = signal.Signals(-status).name
        return f"Python itself crashed ({name}){during}\n"
    return f"your code ended Python (exit status {status}){during}\n"
