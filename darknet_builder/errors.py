"""Every mistake that a user can make, as one kind of exception with one line of text."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class DarknetError(ValueError):
    """A mistake that the user can mend; ``str(error)`` is one line that says how.

    Attributes:
        exit_status: what a command that ends with it returns.
    """

    exit_status: ClassVar[int] = 2


class CfgError(DarknetError):
    """A ``.cfg`` text that cannot be read or built; the message begins with file and line.

    Args:
        message: what is wrong.
        key: the option that is, where it is one.
    """

    def __init__(self, message: str, *, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key


class ShapeError(DarknetError):
    """Sizes that do not fit together; the factory adds the cfg's file and line.

    Args:
        message: what does not fit.
        source_key: the option of the layer before that has to change, where the mistake is there.
    """

    def __init__(self, message: str, *, source_key: str | None = None) -> None:
        super().__init__(message)
        self.source_key = source_key


class WeightsError(DarknetError):
    """A ``.weights`` file that does not fit its network."""


class InputError(DarknetError):
    """A tensor or an argument of the wrong shape, type or value."""


class ImageError(DarknetError):
    """An image or a video that cannot be read."""


class DataError(DarknetError):
    """A data set, a list of images, a label or a names file that cannot be used."""


class MissingExtraError(DarknetError):
    """A function that needs an optional package which is not installed."""


class DownloadError(DarknetError):
    """A file that could not be fetched through no fault of the user's; trying again later may help."""

    exit_status = 1


class ExportError(DarknetError):
    """An exported file that does not answer as the network does; nothing was left behind."""

    exit_status = 1


class CfgWarning(UserWarning):
    """Something odd in a ``.cfg`` that Darknet takes without a word."""


class DataWarning(UserWarning):
    """Something odd in a ``.data`` file that does not keep it from being used."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` with the nearest of ``known``, or an empty string."""
    near = nearest(word, known)
    return f"; did you mean {near!r}?" if near else ""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The word of ``known`` that is most like another, if any is like it."""
    candidates = list(known)
    matches = difflib.get_close_matches(word, candidates, n=1, cutoff=0.6)
    if not matches:
        lowered = {candidate.lower(): candidate for candidate in candidates}
        matches = [lowered[match] for match in difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)]
    return matches[0] if matches else None
