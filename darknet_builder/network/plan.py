"""Which layers to run for some wanted outputs, and when each output is released."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Plan:
    """Which layers to run for some wanted outputs, and which outputs nobody reads after each
    step.
    """

    steps: tuple[int, ...]
    released: tuple[tuple[int, ...], ...]

    @classmethod
    def of(
        cls, steps: tuple[int, ...], sources: Sequence[Sequence[int]], wanted: Sequence[int]
    ) -> Plan:
        """The plan of ``steps`` that read ``sources``: each output but those ``wanted`` goes after
        its last reader.
        """
        last_reader = {
            source: index for index, own in zip(steps, sources, strict=True) for source in own
        }
        return cls(
            steps,
            tuple(
                tuple(
                    source
                    for source in dict.fromkeys(own)
                    if last_reader[source] == index and source not in wanted
                )
                for index, own in zip(steps, sources, strict=True)
            ),
        )
