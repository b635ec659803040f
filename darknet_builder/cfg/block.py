"""One section of a cfg: its options as text, and located readers for their values."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

from darknet_builder.cfg.diagnostics import Diagnostics
from darknet_builder.cfg.synonyms import meant_for, suggest
from darknet_builder.errors import CfgError, CfgWarning

_Number = TypeVar("_Number", int, float)


_Value = TypeVar("_Value")


_INTEGER = re.compile(r"[+-]?\d+")


_REAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


NET_SECTIONS = ("net", "network")


TEXT_SOURCE = "<text>"


class _Required:
    """The default of an option that must be given."""


REQUIRED = _Required()


class Block(Mapping[str, str]):
    """One section: its options as text, in file order, with located readers for their values.

    ``dict(block)`` is the plain block dict. Every reader remembers the key it was asked for, so
    that ``unread()`` can name the options that no one wanted.

    Attributes:
        name: the section's name as written, without the brackets.
        line: the line of ``[name]``, counted from 1.
        source: the file's path, or ``<text>``.
        diagnostics: where readers report what is wrong. If that does not raise, they go on with the
            default.
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
        """Equal name and options in equal order; where the text stood does not count."""
        if not isinstance(other, Block):
            return NotImplemented
        return self.name == other.name and list(self.items()) == list(other.items())

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Block({self.name!r}, {self._options!r}, line={self.line})"

    def with_option(self, key: str, value: str) -> Block:
        """The same section where one option says something else."""
        return Block(
            self.name, {**self, key: value}, line=self.line, source=self.source, lines=self._lines
        )

    # ---- where things stand ----------------------------------------------------------------------

    def line_of(self, key: str | None) -> int:
        """The line of an option, or of the section where the option is absent."""
        return self._lines.get(key, self.line) if key is not None else self.line

    def where(self, key: str | None = None) -> str:
        """``file:line: [section]`` or ``file:line: [section] key=value``."""
        option = f" {key}={self._options[key]}" if key in self._options else ""
        return f"{self.source}:{self.line_of(key)}: [{self.name}]{option}"

    def place(self, key: str | None = None) -> dict[str, Any]:
        """The same as keywords for an error or a warning: ``path``, ``line``, ``section``, ``key``,
        ``value``.
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
        """A located error, to be raised by the caller; the arguments are those of ``Located``."""
        return CfgError(message, **self.place(key), hint=hint, argument=argument)

    def warning(
        self, message: str, key: str | None = None, *, hint: str | None = None
    ) -> CfgWarning:
        """A located warning, to be given by the caller."""
        return CfgWarning(message, **self.place(key), hint=hint)

    def warn(self, message: str, key: str | None = None) -> None:
        """Give a located ``CfgWarning``."""
        warnings.warn(self.warning(message, key), stacklevel=3)

    def changed(self, without: str | None = None, **options: str) -> Block:
        """The same section without an option, or with others; what is asked of it counts as asked
        of this one.
        """
        kept = {key: value for key, value in self._options.items() if key != without} | options
        other = Block(self.name, kept, line=self.line, source=self.source, lines=self._lines)
        other._asked, other.diagnostics = self._asked, self.diagnostics
        return other

    def unread(self) -> dict[str, str]:
        """Options that no reader asked for: key -> ``"; did you mean 'known'?"`` or an empty
        string.
        """
        known = self._asked - set(self._options)
        return {key: suggest(key, known) for key in self._options if key not in self._asked}

    def misspelt(self, key: str) -> str:
        """``"; is 'widht' meant for it?"`` where such an option is there, or an empty string."""
        near = meant_for(key, [option for option in self._options if option not in self._asked])
        return f"; is {near!r} meant for it?" if near else ""

    # ---- typed readers ---------------------------------------------------------------------------

    def get_str(self, key: str, default: str | None | _Required = REQUIRED) -> str:
        """The option's text; ``None`` as default gives an empty string."""
        self._asked.add(key)
        if key in self._options:
            return self._options[key]
        if isinstance(default, _Required):
            raise self.error(f"needs {key}=, which is missing", key, hint=self.misspelt(key))
        return default or ""

    def get_int(
        self, key: str, default: int | _Required = REQUIRED, *, minimum: int | None = None
    ) -> int:
        """A whole number by C's prefix rule: ``180 ###P6`` is 180."""
        return self._number(key, default, minimum, self._to_int)

    def get_float(
        self, key: str, default: float | _Required = REQUIRED, *, minimum: float | None = None
    ) -> float:
        """A number by C's prefix rule: ``0.7#x`` is 0.7."""
        return self._number(key, default, minimum, self._to_float)

    def get_flag(self, key: str, default: bool = False) -> bool:
        """A whole number of which only zero or not zero counts."""
        return self.get_int(key, int(default)) != 0

    def get_ints(
        self, key: str, default: Sequence[int] | _Required = REQUIRED, *, hash_ends: bool = True
    ) -> list[int]:
        """Whole numbers between commas.

        Darknet counts the commas and reads that many numbers and one more, so an empty item is a 0,
        one at the end too (parser.c:402).

        Args:
            key: the option.
            default: where it is absent.
            hash_ends: whether Darknet stops counting at ``#``. It does in mask, counters_per_class,
                steps and the anchors of [yolo], and does not in layers, from and the anchors of
                [region] and [Gaussian_yolo].
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
        """Numbers between commas; see ``get_ints``.

        Args:
            key: the option.
            default: where it is absent.
            hash_ends: as for ``get_ints``.
            empty: what stands for an empty item, for callers that must know where one was.
        """
        return self._numbers(key, default, self._to_float, hash_ends, empty)

    def get_choice(self, key: str, default: str, choices: Sequence[str]) -> str:
        """One of ``choices``."""
        text = self.get_str(key, default)
        if text not in choices:
            error = self.error(
                f"expected one of {', '.join(choices)}", key, hint=suggest(text, choices)
            )
            return self._settle(error, default)
        return text

    def ignore(self, *keys: str) -> None:
        """Options that Darknet knows and that change nothing here: not to be reported as unread."""
        self._asked.update(keys)

    def refuse(self, *keys: str) -> None:
        """Options that Darknet knows and that this project does not do: an error unless they are
        switched off.
        """
        for key in keys:
            if self.get_float(key, 0.0) != 0:
                raise self.error(
                    f"the option {key} is not supported", key, hint="remove it or set it to 0"
                )

    def warn_of_training(self, *keys: str) -> None:
        """Options that change Darknet's training alone and are left out here: a warning where they
        are switched on.
        """
        for key in keys:
            if self.get_float(key, 0.0) != 0:
                self.warn(
                    "is left out: Darknet uses it in training only, detection is not affected", key
                )

    # ---- their parts -----------------------------------------------------------------------------

    def _number(
        self,
        key: str,
        default: _Number | _Required,
        minimum: float | None,
        convert: Callable[[str, str], _Number],
    ) -> _Number:
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
        items = (text.partition("#")[0] if hash_ends else text).split(",")
        try:
            numbers = [convert(key, item) if item else empty for item in items]
        except CfgError as error:
            return list(self._settle(error, default))
        if "" in items:
            self.warn(
                f"item {items.index('') + 1} of the list is empty; Darknet reads 0 there: "
                f"{','.join(item or '0' for item in items)}",
                key,
            )
        return numbers

    def _settle(self, error: CfgError, default: _Value | _Required) -> _Value:
        """Report a mistake; the default stands in for the value, if there is one and the report
        does not raise.
        """
        if isinstance(default, _Required):
            raise error
        self.diagnostics.report(error)
        return default

    def _to_int(self, key: str, text: str) -> int:
        match = _INTEGER.match(text)
        if match is None:
            raise self.error(f"expected a whole number, got {text!r}", key)
        self._check_tail(key, text, text[match.end() :])
        return int(match.group())

    def _to_float(self, key: str, text: str) -> float:
        match = _REAL.match(text)
        if match is None:
            raise self.error(f"expected a number, got {text!r}", key)
        self._check_tail(key, text, text[match.end() :])
        return float(match.group())

    def _check_tail(self, key: str, text: str, tail: str) -> None:
        # C's atoi stops at the first odd character. Real cfgs use that for comments
        # (cspx-p7-mish.cfg:1548); anything else is more likely a slip, so it is said, not refused:
        # Darknet trained such files.
        if tail and tail[0] not in "#;":
            self.warn(
                f"{tail!r} after the number is ignored; Darknet reads"
                f" {text[: len(text) - len(tail)]}",
                key,
            )
