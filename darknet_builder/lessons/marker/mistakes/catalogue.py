"""All mistakes, by chapter."""

from __future__ import annotations

from darknet_builder.lessons.marker.mistakes import (
    cfg,
    decoding,
    forward,
    losses,
    modules,
    pictures,
    weights,
)
from darknet_builder.lessons.marker.mistakes.mistake import Mistake

_ALL = (cfg, modules, forward, weights, decoding, pictures, losses)


def mistakes_until(chapter: int) -> list[Mistake]:
    """Return the mistakes of a chapter, then those of the earlier ones.

    Args:
        chapter: a key of ``CHAPTERS``.

    Example:
        >>> {mistake.chapter for mistake in mistakes_until(2)}
        {1, 2}
    """
    found = [mistake for group in _ALL for mistake in group.MISTAKES if mistake.chapter <= chapter]
    return sorted(found, key=lambda mistake: -mistake.chapter)
