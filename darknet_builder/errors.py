"""Exceptions and warnings for every mistake that a user can correct, each with one line of text.

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
    ├── CfgWarning              a .cfg that works but probably contains a mistake
    └── DataWarning             a .data file that works but probably contains a mistake
        ├── TruncatedImageWarning   an image file with a missing end, read up to there
        └── LabelWarning    labels of a list that training changes or leaves out

Raise them with separate parts (``path``, ``line``, ``section``, ``key``, ``hint``, ``argument``).
``Located`` builds the text from these parts, in one place for all of them.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from itertools import islice
from typing import ClassVar

_LONGEST_QUOTE = 80
"""Number of characters of a text from a file that a message repeats."""
_MOST_CANDIDATES = 5000
"""Maximum number of known words with which a misspelt word is compared."""
Spell = Callable[[str], "str | None"]
"""Map the name of a library argument to the command's option for it; None if it has none."""


class Located(Exception):
    """An exception whose text is built from its parts.

    The text reads ``path:line: [section] key=value: message; hint``, without the parts that are
    unknown.

    Args:
        message: what is wrong, without the location.
        path: the file that contains the mistake, as anything whose text is its name; ``<text>``
            for a cfg that was passed as text.
        line: line number in that file, counted from 1.
        section: section of the cfg, without brackets.
        key: the option that is wrong or missing.
        value: the value of ``key`` in the file or, without ``key``, the value that was passed for
            ``argument``; None leaves it out.
        hint: what the user can do about it. A leading ``"; "`` is removed, so that the result of
            ``did_you_mean`` can be passed as it is.
        argument: the library argument that is wrong or, without ``value``, the arguments that
            would help.

    Attributes:
        message: what is wrong, without the location.
        path: as text; None if unknown.
        line: counted from 1; None if unknown.
        section: without brackets; None if unknown.
        key: the option's name; None if unknown.
        value: as text; None if unknown.
        hint: without a leading ``"; "``; None without a hint.
        argument: one name, several names, or None.

    Example:
        >>> error = CfgError("unknown option", path="a.cfg", line=3, section="net", key="widht")
        >>> print(error)
        a.cfg:3: [net]: unknown option
        >>> error.line
        3
    """

    def __init__(
        self,
        message: str,
        *,
        path: object = None,
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
        """Return the text of the exception in one line; without ``spell`` it equals ``str(error)``.

        Args:
            spell: maps argument names to the options of a command, which then replace them.

        Example:
            >>> error = InputError("expected 1 or more", argument="batch", value=0)
            >>> error.describe()
            'batch=0: expected 1 or more'
        """
        names = (self.argument,) if isinstance(self.argument, str) else self.argument or ()
        options = [option for name in names if spell is not None and (option := spell(name))]
        parts = [self._place(), self._option(), self.message]
        # An argument with a value is the subject and comes first; without one it is a suggestion
        # and comes last.
        if self.key is None and self.value is not None and names:
            parts.insert(0, f"{options[0]} {self.value}" if options else f"{names[0]}={self.value}")
            options = []
        text = ": ".join(part for part in parts if part)
        hint = f"; {self.hint}" if self.hint else ""
        whole = text + hint + (f" ({', '.join(options)})" if options else "")
        return whole.replace("\n", r"\u000a")  # a name of a file may have one

    def _place(self) -> str:
        """Return ``path`` or ``path:line``."""
        return (self.path or "") + ("" if self.line is None else f":{self.line}")

    def _option(self) -> str:
        """Return ``[section] key=value``, without the parts that are unknown."""
        section = "" if self.section is None else f"[{shorten(self.section)}]"
        has_option = self.key is not None and self.value is not None
        option = f"{shorten(self.key or '')}={shorten(self.value or '')}" if has_option else ""
        return f"{section} {option}".strip()


class DarknetError(Located, ValueError):
    """A mistake that the user can correct; ``str(error)`` is one line that says how.

    Attributes:
        exit_status: the exit status of a command that ends with this error.
    """

    exit_status: ClassVar[int] = 2


class CfgError(DarknetError):
    """A ``.cfg`` text that cannot be read or built; the message begins with file and line.

    Attributes:
        expected: what the option ``key`` must be for the sizes to fit; None where unknown.
    """

    expected: int | None = None


class ShapeError(DarknetError):
    """Sizes that do not fit together; the factory adds the cfg's file and line.

    Args:
        message: what does not fit.
        source_key: the option to change in the preceding layer, if the mistake is there.
        source_value: what that option must be.
        hint: what the user can do about it.

    Attributes:
        source_key: the option to change in the preceding layer; None if the mistake is here.
        source_value: what that option must be; None if the mistake is here.
    """

    def __init__(
        self,
        message: str,
        *,
        source_key: str | None = None,
        source_value: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.source_key, self.source_value = source_key, source_value


class WeightsError(DarknetError):
    """A ``.weights`` file that does not fit its network."""


class InputError(DarknetError):
    """A tensor or an argument of the wrong shape, type or value."""


class ImageError(DarknetError):
    """An image or a video that cannot be read."""


class DataError(DarknetError):
    """A data set, a list of images, a label or a names file that cannot be used."""


class MissingExtraError(DarknetError):
    """An optional package is needed and not installed."""


class DownloadError(DarknetError):
    """A file could not be fetched, through no fault of the user; trying again later may help."""

    exit_status = 1


class ExportError(DarknetError):
    """An exported file gives other outputs than the network; the file has been removed."""

    exit_status = 1


class CfgWarning(Located, UserWarning):
    """A ``.cfg`` that Darknet accepts silently but that probably contains a mistake."""


class DataWarning(Located, UserWarning):
    """A ``.data`` file that can be used but probably contains a mistake."""


class TruncatedImageWarning(DataWarning):
    """An image whose file ends too early; it was read up to there."""


class LabelWarning(DataWarning):
    """Labels of a list that Darknet's training changes or leaves out; mAP uses them unchanged.

    Args:
        message: what is wrong, without the location.
        path: the list of images.
        num_labels: number of labels in the list.
        num_clipped: number of labels that training clips at the edge of the image.
        num_dropped: number of labels that training leaves out, because their centre is 0, 0.
        label_path: label file of the first of these labels.
        label_line: its line, counted from 1.

    Attributes:
        num_labels: number of labels in the list.
        num_clipped: number of labels that training clips at the edge of the image.
        num_dropped: number of labels that training leaves out, because their centre is 0, 0.
        label_path: as text.
        label_line: counted from 1.

    Example:
        >>> warning = LabelWarning(
        ...     "1 of 3 labels reaches over the edge of its image (a.txt:2)",
        ...     path="train.txt",
        ...     num_labels=3,
        ...     num_clipped=1,
        ...     num_dropped=0,
        ...     label_path="a.txt",
        ...     label_line=2,
        ... )
        >>> print(warning)
        train.txt: 1 of 3 labels reaches over the edge of its image (a.txt:2)
    """

    def __init__(
        self,
        message: str,
        *,
        path: object,
        num_labels: int,
        num_clipped: int,
        num_dropped: int,
        label_path: object,
        label_line: int,
    ) -> None:
        super().__init__(message, path=path)
        self.num_labels, self.num_clipped, self.num_dropped = num_labels, num_clipped, num_dropped
        self.label_path, self.label_line = str(label_path), label_line


def shorten(text: str) -> str:
    """Return a text to be quoted in a message, cut to 80 characters.

    Example:
        >>> shorten("a" * 100) == "a" * 77 + "..."
        True
    """
    return text if len(text) <= _LONGEST_QUOTE else f"{text[: _LONGEST_QUOTE - 3]}..."


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the most similar known word, or an empty string.

    Args:
        word: the word that was not recognised.
        known: the valid words to compare it with.

    Example:
        >>> did_you_mean("leakey", ["leaky", "linear", "mish"])
        "; did you mean 'leaky'?"
        >>> did_you_mean("xyz", ["leaky", "linear", "mish"])
        ''
    """
    near = nearest(word, known)
    return f"; did you mean {near!r}?" if near else ""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that is most similar to ``word``; None if none is similar.

    Args:
        word: the word that was not recognised.
        known: the valid words. Their case is ignored if nothing is similar otherwise.
    """
    if len(word) > _LONGEST_QUOTE:
        return None
    # difflib compares with each of them, and a file may hold any number of names.
    candidates = list(islice(known, _MOST_CANDIDATES))
    matches = difflib.get_close_matches(word, candidates, n=1, cutoff=0.6)
    if not matches:
        # difflib compares letters exactly: to it, CPU and cpu have nothing in common.
        lowered = {candidate.lower(): candidate for candidate in candidates}
        matches = [
            lowered[match]
            for match in difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
        ]
    return matches[0] if matches else None
