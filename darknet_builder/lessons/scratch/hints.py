"""Hints for each chapter, from a gentle one to nearly the code."""

from __future__ import annotations

from pathlib import Path

from darknet_builder.lessons.scratch.chapters import CHAPTERS

LEVELS = (1, 2, 3)
_TITLES = {1: "where to look", 2: "the steps", 3: "nearly the code"}


def hint(chapter: int, level: int) -> str:
    """Return a hint as lines of text.

    Args:
        chapter: a key of ``CHAPTERS``.
        level: one of ``LEVELS``; 3 is nearly the code.

    Example:
        >>> print(hint(1, 1).splitlines()[0])
        Chapter 1, read the cfg: where to look (level 1 of 3)
    """
    # The file has a line "# CHAPTER.LEVEL" above each hint.
    text = Path(__file__).with_name("hints.txt").read_text(encoding="utf-8")
    body = text.split(f"# {chapter}.{level}\n")[1].split("\n# ")[0].strip("\n")
    title = f"Chapter {chapter}, {CHAPTERS[chapter]}: {_TITLES[level]}"
    return f"{title} (level {level} of {len(LEVELS)})\n\n{body}\n"
