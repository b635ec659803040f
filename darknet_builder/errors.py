"""Every mistake that a user can make, as one kind of exception with one line of text.

::

    ValueError
    └── DarknetError            a mistake that the user can correct
        ├── CfgError            a .cfg that cannot be read or built
        ├── ShapeError          sizes that do not fit; the factory makes a CfgError of it
        ├── WeightsError        a .weights or model file that does not fit its network
        ├── InputError          an argument or a tensor of the wrong shape, type or value
        ├── ImageError          an image or a video that cannot be read
        ├── DataError           a data set, list of images, label file or names file
        ├── MissingExtraError   an optional package that is not installed
        ├── DownloadError       a download that failed (exit status 1)
        └── ExportError         an exported file that differs from the network (exit status 1)
    UserWarning
    ├── CfgWarning              a .cfg that works, but hardly as it was meant
    └── DataWarning             a .data file that works, but hardly as it was meant
        └── TruncatedImageWarning   an image whose file ends too early, read as far as it goes

Each is raised with its parts (``path``, ``line``, ``section``, ``key``, ``hint``, ``argument``);
``Located`` makes the text from them, once.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar

Spell = Callable[[str], "str | None"]
"""The name of a library argument -> the option by which the user gave it; None if there is no such
option."""


class Located(Exception):
    """A text that is made from its parts: ``path:line: [section] key=value: message; hint``.

    Args:
        message: what is wrong, in words, without the place.
        path: the file in which it is wrong; ``<text>`` for a cfg that was given as text.
        line: in that file, counted from 1.
        section: of a cfg, without its brackets.
        key: the option that is wrong or missing.
        value: what ``key`` says there, or, without a key, what ``argument`` was given as; None to
            leave it out.
        hint: what to do about it. A ``"; "`` before it, as ``did_you_mean`` gives it, is taken off.
        argument: the library argument that is wrong, or, without ``value``, the ones that would
            help.

    Attributes:
        message, path, line, section, key, value, hint, argument: as above; None where unknown.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | Path | None = None,
        line: int | None = None,
        section: str | None = None,
        key: str | None = None,
        value: object = None,
        hint: str | None = None,
        argument: str | tuple[str, ...] | None = None,
    ) -> None:
        self.message = message
        self.path = None if path is None else str(path)
        self.line = line
        self.section = section
        self.key = key
        self.value = None if value is None else str(value)
        self.hint = (hint or "").removeprefix("; ") or None
        self.argument = argument
        super().__init__(self.describe())

    def describe(self, spell: Spell | None = None) -> str:
        """The text; ``str(error)`` is the one without ``spell``.

        Args:
            spell: gives the option of a command for the name of an argument.
        """
        names = (self.argument,) if isinstance(self.argument, str) else self.argument or ()
        options = [option for name in names if spell is not None and (option := spell(name))]
        parts = [self._place(), self._option(), self.message]
        if self.key is None and self.value is not None and names:
            parts.insert(0, f"{options[0]} {self.value}" if options else f"{names[0]}={self.value}")
            options = []
        text = ": ".join(part for part in parts if part)
        hint = f"; {self.hint}" if self.hint else ""
        return text + hint + (f" ({', '.join(options)})" if options else "")

    def _place(self) -> str:
        """``path`` or ``path:line``."""
        return (self.path or "") + ("" if self.line is None else f":{self.line}")

    def _option(self) -> str:
        """``[section] key=value``, as far as it is known."""
        section = "" if self.section is None else f"[{self.section}]"
        option = "" if self.key is None or self.value is None else f"{self.key}={self.value}"
        return f"{section} {option}".strip()


class DarknetError(Located, ValueError):
    """A mistake that the user can correct; ``str(error)`` is one line that says how.

    Attributes:
        exit_status: what a command that ends with it returns.
    """

    exit_status: ClassVar[int] = 2


class CfgError(DarknetError):
    """A ``.cfg`` text that cannot be read or built; the message begins with file and line."""


class ShapeError(DarknetError):
    """Sizes that do not fit together; the factory adds the cfg's file and line.

    Args:
        message: what does not fit.
        source_key: the option of the layer before that has to change, where the mistake is there.
        hint: what to do about it.
    """

    def __init__(
        self, message: str, *, source_key: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
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
    """A file that could not be fetched through no fault of the user's; trying again later may
    help.
    """

    exit_status = 1


class ExportError(DarknetError):
    """An exported file that does not answer as the network does; nothing was left behind."""

    exit_status = 1


class CfgWarning(Located, UserWarning):
    """Something odd in a ``.cfg`` that Darknet takes without a word."""


class DataWarning(Located, UserWarning):
    """Something odd in a ``.data`` file that does not keep it from being used."""


class TruncatedImageWarning(DataWarning):
    """An image whose file ends too early; it was read as far as it goes."""


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
        matches = [
            lowered[match]
            for match in difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
        ]
    return matches[0] if matches else None
