"""Hints for each chapter, from a gentle one to nearly the code."""

from __future__ import annotations

LEVELS = (1, 2, 3)


def hint(chapter: int, level: int) -> str:
    """Return a hint as lines of text.

    Args:
        chapter: a key of ``CHAPTERS``.
        level: one of ``LEVELS``; 3 is nearly the code.
    """
    return ""
