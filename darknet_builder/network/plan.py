"""Decide which layers to run for some outputs, and when each output can be freed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """The layers to run, in order, and the outputs that can be freed after each of them.

    Attributes:
        steps: indices of the layers to run.
        released: for each step, indices of the outputs that no later step reads.

    Example:
        >>> Plan.of((0, 1, 2), [(-1,), (0,), (0, 1)], wanted=(2,)).released
        ((-1,), (), (0, 1))
    """

    steps: tuple[int, ...]
    released: tuple[tuple[int, ...], ...]

    @classmethod
    def of(
        cls, steps: tuple[int, ...], sources: Sequence[Sequence[int]], wanted: Sequence[int]
    ) -> Plan:
        """Make the plan of some steps: every output is freed after its last reader.

        Args:
            steps: indices of the layers to run, in order.
            sources: for each step, the indices that it reads.
            wanted: indices of the outputs to keep.
        """
        # Steps are in order, so a later reader of the same source replaces an earlier one.
        last_reader: dict[int, int] = {}
        for index, read in zip(steps, sources, strict=True):
            last_reader.update(dict.fromkeys(read, index))
        released = []
        for index, read in zip(steps, sources, strict=True):
            done = [source for source in dict.fromkeys(read) if last_reader[source] == index]
            released.append(tuple(source for source in done if source not in wanted))
        return cls(steps, tuple(released))
