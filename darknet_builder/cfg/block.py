"""One section of a cfg: its options as text, and located readers for their values."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

from darknet_builder.cfg.c_numbers import LARGEST_INT, read_float, read_int
from darknet_builder.cfg.diagnostics import Diagnostics
from darknet_builder.cfg.synonyms import meant_for, suggest
from darknet_builder.errors import CfgError, CfgWarning, shorten

_Number = TypeVar("_Number", int, float)
_Value = TypeVar("_Value")

NET_SECTIONS = ("net", "network")
TEXT_SOURCE = "<text>"


class _Required:
    """The type of ``REQUIRED``, the default of an option that must be given."""


REQUIRED = _Required()


class Block(Mapping[str, str]):
    """One section: its options as text, in file order, with located readers for their values.

    ``dict(block)`` is a plain dictionary of the options. Every reader remembers the key it was
    called with, so that ``unread()`` can name the options that nothing has read.

    Attributes:
        name: the section's name as written, without the brackets.
        line: the line of ``[name]``, counted from 1.
        source: the file's path, or ``<text>``.
        diagnostics: receives mistakes. If ``diagnostics.report`` returns, the reader returns the
            default.

    Example:
        >>> block = Block("convolutional", {"filters": "32", "activation": "leaky"})
        >>> block.get_int("filters"), block.get_int("size", 1)
        (32, 1)
        >>> block.unread()
        {'activation': ''}
    """

    def __init__(
        self,
        name: str,
        options: Mapping[str, str] | None = None,
        *,
        line: int = 0,
        source: str = TEXT_SOURCE,
        lines: Mapping[str, int] | None = None,
    ) -> None:
        self.name = name
        self.line = line
        self.source = source
        self._options = dict(options or {})
        self._lines = dict(lines or {})
        self._asked: set[str] = set()
        self.diagnostics = Diagnostics()

    def __getitem__(self, key: str) -> str:
        return self._options[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._options)

    def __len__(self) -> int:
        return len(self._options)

    def __eq__(self, other: object) -> bool:
        """Compare name and options in order; file and line do not count."""
        if not isinstance(other, Block):
            return NotImplemented
        return self.name == other.name and list(self.items()) == list(other.items())

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Block({self.name!r}, {self._options!r}, line={self.line})"

    def with_option(self, key: str, value: str) -> Block:
        """Return a copy with one option set."""
        return Block(
            self.name, {**self, key: value}, line=self.line, source=self.source, lines=self._lines
        )

    # ---- locations -------------------------------------------------------------------------------

    def line_of(self, key: str | None) -> int:
        """Return the line of an option, or of the section if it has no such option."""
        return self._lines.get(key, self.line) if key is not None else self.line

    def where(self, key: str | None = None) -> str:
        """Return ``file:line: [section]`` or ``file:line: [section] key=value``."""
        option = f" {key}={self._options[key]}" if key in self._options else ""
        return f"{self.source}:{self.line_of(key)}: [{self.name}]{option}"

    def place(self, key: str | None = None) -> dict[str, Any]:
        """Return the location as keyword arguments for an error or a warning.

        These are ``path``, ``line``, ``section``, ``key`` and ``value``.
        """
        value = None if key is None else self._options.get(key)
        return {
            "path": self.source,
            "line": self.line_of(key),
            "section": self.name,
            "key": key,
            "value": value,
        }

    def error(
        self,
        message: str,
        key: str | None = None,
        *,
        hint: str | None = None,
        argument: str | None = None,
    ) -> CfgError:
        """Return a located error for the caller to raise.

        Args:
            message: what is wrong, without the location.
            key: the option concerned; None for the whole section.
            hint: what to do about it.
            argument: the library argument concerned, if any.
        """
        return CfgError(message, **self.place(key), hint=hint, argument=argument)

    def warning(
        self, message: str, key: str | None = None, *, hint: str | None = None
    ) -> CfgWarning:
        """Return a located warning; ``warn`` also issues it."""
        return CfgWarning(message, **self.place(key), hint=hint)

    def warn(self, message: str, key: str | None = None) -> None:
        """Issue a located ``CfgWarning``."""
        warnings.warn(self.warning(message, key), stacklevel=3)

    def changed(self, without: str | None = None, **options: str) -> Block:
        """Return a copy without an option, or with others.

        Options read from the copy count as read from this section, too.
        """
        kept = {key: value for key, value in self._options.items() if key != without} | options
        other = Block(self.name, kept, line=self.line, source=self.source, lines=self._lines)
        other._asked, other.diagnostics = self._asked, self.diagnostics
        return other

    def unread(self) -> dict[str, str]:
        """Return the options that nothing has read.

        Returns:
            key -> ``"; did you mean 'known'?"``, or an empty string if no known key is similar.
        """
        known = self._asked - set(self._options)
        return {key: suggest(key, known) for key in self._options if key not in self._asked}

    def misspelt(self, key: str) -> str:
        """Return ``"; is 'widht' meant for it?"`` if an unread option is similar to ``key``.

        Otherwise, return an empty string.
        """
        near = meant_for(key, [option for option in self._options if option not in self._asked])
        return f"; is {near!r} meant for it?" if near else ""

    # ---- typed readers ---------------------------------------------------------------------------

    def get_str(self, key: str, default: str | None | _Required = REQUIRED) -> str:
        """Return the option's text.

        Args:
            key: name of the option, as the cfg spells it.
            default: used if the option is absent; None gives an empty string. Without a default
                the option is required.

        Raises:
            CfgError: located, if a required option is absent.
        """
        self._asked.add(key)
        if key in self._options:
            return self._options[key]
        if isinstance(default, _Required):
            raise self.error(f"needs {key}=, which is missing", key, hint=self.misspelt(key))
        return default or ""

    def get_int(
        self,
        key: str,
        default: int | _Required = REQUIRED,
        *,
        minimum: int | None = None,
        maximum: int | None = None,
    ) -> int:
        """Return an integer of 32 bits, read as C does: ``180 ###P6`` is 180.

        Args:
            key: name of the option, as the cfg spells it.
            default: used if the option is absent. Without a default the option is required.
            minimum: smallest allowed value; None for no limit.
            maximum: largest allowed value; None for no limit.

        Raises:
            CfgError: located, for a wrong value.
        """
        number = self._number(key, default, minimum, self._to_int)
        if maximum is not None and number > maximum:
            return self._settle(self.error(f"expected {maximum} or less", key), default)
        return number

    def get_float(
        self, key: str, default: float | _Required = REQUIRED, *, minimum: float | None = None
    ) -> float:
        """Return a number, read as C does: ``0.7#x`` is 0.7.

        Args:
            key: name of the option, as the cfg spells it.
            default: used if the option is absent. Without a default the option is required.
            minimum: smallest allowed value; None for no limit.

        Raises:
            CfgError: located, for a wrong value.
        """
        return self._number(key, default, minimum, self._to_float)

    def get_flag(self, key: str, default: bool = False) -> bool:
        """Return whether an integer option is not zero."""
        return self.get_int(key, int(default)) != 0

    def get_ints(
        self, key: str, default: Sequence[int] | _Required = REQUIRED, *, hash_ends: bool = True
    ) -> list[int]:
        """Return the integers of a comma-separated list.

        Darknet counts the commas and reads one number more than that, so an empty item is a 0, at
        the list's end too (parser.c:402).

        Args:
            key: name of the option, as the cfg spells it.
            default: used if the option is absent. Without a default the option is required.
            hash_ends: whether Darknet stops counting at ``#``. It does in mask, counters_per_class,
                steps and the anchors of [yolo]; it does not in layers, from and the anchors of
                [region] and [Gaussian_yolo].

        Raises:
            CfgError: located, for a wrong value.
        """
        return self._numbers(key, default, self._to_int, hash_ends, 0)

    def get_floats(
        self,
        key: str,
        default: Sequence[float] | _Required = REQUIRED,
        *,
        hash_ends: bool = True,
        empty: float = 0.0,
    ) -> list[float]:
        """Return the numbers of a comma-separated list; see ``get_ints``.

        Args:
            key: name of the option, as the cfg spells it.
            default: used if the option is absent. Without a default the option is required.
            hash_ends: whether Darknet stops counting at ``#``.
            empty: value of an empty item; NaN lets the caller find these.

        Raises:
            CfgError: located, for a wrong value.
        """
        return self._numbers(key, default, self._to_float, hash_ends, empty)

    def get_choice(self, key: str, default: str, choices: Sequence[str]) -> str:
        """Return an option whose value must be one of ``choices``.

        Raises:
            CfgError: located, for any other value.
        """
        text = self.get_str(key, default)
        if text not in choices:
            error = self.error(
                f"expected one of {', '.join(choices)}", key, hint=suggest(text, choices)
            )
            return self._settle(error, default)
        return text

    def ignore(self, *keys: str) -> None:
        """Mark options as read that Darknet knows but that change nothing here."""
        self._asked.update(keys)

    def refuse(self, *keys: str) -> None:
        """Raise an error if one of these unsupported options is set and not 0.

        Raises:
            CfgError: located, with the advice to remove the option.
        """
        for key in keys:
            if self.get_float(key, 0.0) != 0:
                raise self.error(
                    f"the option {key} is not supported", key, hint="remove it or set it to 0"
                )

    def warn_of_training(self, *keys: str) -> None:
        """Warn if one of these options is set and not 0: they change only Darknet's training."""
        for key in keys:
            if self.get_float(key, 0.0) != 0:
                self.warn(
                    "ignored: Darknet uses it only in training, so detection is not affected", key
                )

    # ---- parts of the readers --------------------------------------------------------------------

    def _number(
        self,
        key: str,
        default: _Number | _Required,
        minimum: float | None,
        convert: Callable[[str, str], _Number],
    ) -> _Number:
        # An empty text stands for an absent option, which the parser never leaves empty.
        text = self.get_str(key, REQUIRED if isinstance(default, _Required) else "")
        try:
            value = convert(key, text) if text else cast(_Number, default)
            if minimum is not None and value < minimum:
                raise self.error(f"expected {minimum} or more", key)
        except CfgError as error:
            return self._settle(error, default)
        return value

    def _numbers(
        self,
        key: str,
        default: Sequence[_Number] | _Required,
        convert: Callable[[str, str], _Number],
        hash_ends: bool,
        empty: _Number,
    ) -> list[_Number]:
        text = self.get_str(key, REQUIRED if isinstance(default, _Required) else "")
        if not text:
            return list(cast("Sequence[_Number]", default))
        counted = text.partition("#")[0] if hash_ends else text
        items = counted.split(",")
        numbers: list[_Number] = []
        try:
            for item in items:
                numbers.append(convert(key, item) if item else empty)
        except CfgError as error:
            return list(self._settle(error, default))
        if "" in items:
            # Darknet's atof reads 0 from an empty text.
            as_read = ",".join(item or "0" for item in items)
            position = items.index("") + 1
            self.warn(
                f"item {position} of the list is empty; Darknet reads it as 0: {as_read}", key
            )
        return numbers

    def _settle(self, error: CfgError, default: _Value | _Required) -> _Value:
        """Report a mistake and return the default.

        Raises:
            CfgError: without a default, or if ``diagnostics`` raises.
        """
        if isinstance(default, _Required):
            raise error
        self.diagnostics.report(error)
        return default

    def _to_int(self, key: str, text: str) -> int:
        found = read_int(text)
        if found is None:
            raise self.error(f"expected a whole number, got {shorten(text)!r}", key)
        number, tail = found
        self._check_tail(key, text, tail)
        if not -LARGEST_INT - 1 <= number <= LARGEST_INT:
            limits = f"{-LARGEST_INT - 1} to {LARGEST_INT}"
            raise self.error(f"expected a whole number of 32 bits, {limits}", key)
        return number

    def _to_float(self, key: str, text: str) -> float:
        found = read_float(text)
        if found is None:
            raise self.error(f"expected a number, got {shorten(text)!r}", key)
        self._check_tail(key, text, found[1])
        return found[0]

    def _check_tail(self, key: str, text: str, tail: str) -> None:
        # C's atoi stops at the first character that is not part of a number. Published cfgs use
        # that for comments (cspx-p7-mish.cfg:1548). Anything else is probably a mistake, but only
        # a warning, because networks were trained with such files.
        if tail and tail[0] not in "#;":
            self.warn(
                f"{shorten(tail)!r} after the number is ignored; Darknet reads"
                f" {shorten(text[: len(text) - len(tail)])}",
                key,
            )
