"""Judge a reader's file in a process of its own, so that its end or a crash harms nobody."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from darknet_builder.lessons.marker.judge import judge
from darknet_builder.lessons.marker.reader import load_code
from darknet_builder.lessons.marker.report import write_report
from darknet_builder.lessons.marker.values import Raised
from darknet_builder.lessons.scratch.chapters import CHAPTERS


def judge_file(path: str, chapter: int | None, progress: Path) -> tuple[str, int | None]:
    """Judge a file and return the report, and the chapter that is not yet right.

    Args:
        path: the reader's file.
        chapter: a key of ``CHAPTERS``; None for all, up to the first that is not right.
        progress: a file that gets the title of the check that runs.

    Returns:
        The second value is None if everything is right, and 0 if the file cannot be run.
    """
    full = str(Path(path).resolve())

    def note(title: str) -> None:
        progress.write_text(title, encoding="utf-8")

    note("the file itself")
    code = load_code(full)
    if isinstance(code, Raised):
        return f"{path} cannot be run: {code.kind}: {code.message}\n  {code.place}\n", 0
    reports = []
    for number in [chapter] if chapter is not None else CHAPTERS:
        verdict = judge(code, number, full, note)
        reports.append(write_report(verdict))
        if not verdict.is_right:
            return "".join(reports), number
    return "".join(reports), None


def main(arguments: list[str]) -> None:
    """Judge a file and write the answer as JSON.

    Args:
        arguments: path of the file, chapter or ``all``, folder for the answer.
    """
    path, chapter, folder = arguments
    number = None if chapter == "all" else int(chapter)
    text, wrong = judge_file(path, number, Path(folder) / "progress")
    answer = json.dumps({"text": text, "wrong_chapter": wrong})
    (Path(folder) / "answer").write_text(answer, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
