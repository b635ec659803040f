"""Receivers of a cfg's mistakes: raise the first one, or collect all of them.

A reader calls ``diagnostics.report(error)`` and uses a default if that returns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from darknet_builder.errors import CfgError, DarknetError

if TYPE_CHECKING:
    from darknet_builder.cfg.block import Block

_Result = TypeVar("_Result")


class Diagnostics:
    """Raise the first mistake.

    Example:
        >>> Diagnostics().report(CfgError("expected 1 or more"))
        Traceback (most recent call last):
        darknet_builder.errors.CfgError: expected 1 or more
    """

    def report(self, error: DarknetError) -> None:
        """Raise the error.

        Args:
            error: a mistake in the cfg.

        Raises:
            DarknetError: always, the given error.
        """
        raise error


class Collector(Diagnostics):
    """Keep every mistake once, in the order in which they are reported.

    Example:
        >>> collector = Collector()
        >>> collector.report(CfgError("expected 1 or more"))
        >>> [str(error) for error in collector.errors]
        ['expected 1 or more']
    """

    def __init__(self) -> None:
        self._by_text: dict[str, DarknetError] = {}

    @property
    def errors(self) -> list[DarknetError]:
        """All mistakes reported so far."""
        return list(self._by_text.values())

    def report(self, error: DarknetError) -> None:
        """Keep a mistake and return."""
        self._by_text.setdefault(str(error), error)

    def read_past(self, block: Block, reader: Callable[[Block], _Result]) -> _Result | None:
        """Read a section and report all of its mistakes.

        An option that stops the reading is removed, and the section is read again, so that it
        does not hide other mistakes.

        Args:
            block: the section to read.
            reader: builds something from it; raises a located ``CfgError``.

        Returns:
            The reader's result, with defaults for wrong options; None if a mistake is not in an
            option of this section. Such an error is reported only if it cannot be the consequence
            of an earlier mistake.
        """
        before = len(self._by_text)
        attempt = block
        block.diagnostics = self
        try:
            while True:
                try:
                    return reader(attempt)
                except CfgError as error:
                    # An error can be located at an option of another section: a head blames
                    # filters= of the layer before it.
                    is_here = error.key in attempt and error.line == attempt.line_of(error.key)
                    if is_here or len(self._by_text) == before:
                        self.report(error)
                    if not is_here:
                        return None
                    attempt = attempt.changed(without=error.key)
        finally:
            block.diagnostics = Diagnostics()
