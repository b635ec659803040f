"""Where readers report what is wrong: the first mistake is raised, or all of them are collected.

A reader of a cfg calls ``diagnostics.report(error)`` and goes on with a default, should that
return.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from darknet_builder.errors import CfgError, DarknetError

if TYPE_CHECKING:
    from darknet_builder.cfg.block import Block

_Result = TypeVar("_Result")


class Diagnostics:
    """Raises the first mistake."""

    def report(self, error: DarknetError) -> None:
        """Take a mistake.

        Raises:
            DarknetError: the mistake itself.
        """
        raise error


class Collector(Diagnostics):
    """Keeps every mistake, once, in the order in which they were reported."""

    def __init__(self) -> None:
        self._by_text: dict[str, DarknetError] = {}

    @property
    def errors(self) -> list[DarknetError]:
        """All mistakes so far."""
        return list(self._by_text.values())

    def report(self, error: DarknetError) -> None:
        """Keep a mistake and return."""
        self._by_text.setdefault(str(error), error)

    def read_past(self, block: Block, reader: Callable[[Block], _Result]) -> _Result | None:
        """Read a section past its mistakes, each of which is reported.

        An option that ends the reading is left out, and the section is read again: it hides no
        other option.

        Args:
            block: the section.
            reader: builds something from it; raises a located ``CfgError``.

        Returns:
            What ``reader`` made, with defaults for what is wrong; None where no option of this
            section is to blame. Such an error is reported only if it does not follow from a mistake
            before it.
        """
        before = len(self._by_text)
        attempt = block
        block.diagnostics = self
        try:
            while True:
                try:
                    return reader(attempt)
                except CfgError as error:
                    own = error.key in attempt and error.line == attempt.line_of(error.key)
                    if own or len(self._by_text) == before:
                        self.report(error)
                    if not own:
                        return None
                    attempt = attempt.changed(without=error.key)
        finally:
            block.diagnostics = Diagnostics()
