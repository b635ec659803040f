"""The argument parser of all commands, which reports a mistake in one line with a suggestion."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from darknet_builder.cli.output import in_color, printable_stream
from darknet_builder.errors import did_you_mean, nearest

USER_MISTAKE = 2
_CHOICE = re.compile(r"invalid choice: '?(.+?)'? \(choose from (.*)\)")
_WORD = re.compile(r"[^\s',]+")
_OPTION = re.compile(r"--?[A-Za-z]")
_SHORTEST_GUESS = 2
"""An option of so few letters is similar to too many others."""
_FIELD_WORDS = {
    "conf": ("threshold",),
    "conf-thres": ("threshold",),
    "conf-thresh": ("threshold",),
    "confidence": ("threshold",),
    "score": ("threshold",),
    "thresh": ("threshold",),
    "iou": ("iou", "nms"),
    "iou-thres": ("iou", "nms"),
    "iou-thresh": ("iou", "nms"),
    "iou-threshold": ("iou", "nms"),
    "nms-thresh": ("nms",),
    "nms-threshold": ("nms",),
    "o": ("output",),
    "out": ("output",),
    "out-dir": ("output",),
    "save-dir": ("output",),
    "project": ("output",),
    "gpu": ("device",),
    "gpus": ("device",),
    "cuda": ("device",),
    "img": ("width",),
    "imgsz": ("width",),
    "img-size": ("width",),
    "size": ("width",),
    "b": ("batch",),
    "batch-size": ("batch",),
    "classes": (),
    "fp16": ("precision",),
    "half": ("precision",),
    "map": (),
    "show": (),
    "source": (),
}
"""Options of other detection programs, without dashes, and the options here with that meaning, the
first that the command has; an empty row has none, and a similar word would be a wrong guess."""


class CommandParser(argparse.ArgumentParser):
    """A parser that reports a mistake in one line and suggests the nearest valid word.

    Attributes:
        words: the words after the command's name.
    """

    words: Sequence[str] = ()

    def _print_message(self, message: str, file: Any = None) -> None:
        """Write help or an error message, which may contain names of files."""
        printable_stream(file or sys.stderr).write(message)

    def error(self, message: str) -> NoReturn:
        """Exit with status 2 and one line on stderr that suggests the nearest option or choice."""
        # A mistyped option is probably the one that is missing, so report the typing error instead.
        unknown = self._unknown_options()
        if unknown and "arguments are required" in message:
            message = f"unrecognized arguments: {' '.join(unknown)}"
        self.exit(
            USER_MISTAKE,
            f"{self.prog}: {in_color('error', sys.stderr)}: {message}{self._hint(message)} "
            f"(see {self.prog} --help)\n",
        )

    def _unknown_options(self) -> list[str]:
        return [
            word
            for word in self.words
            if _OPTION.match(word)
            and not any(
                known.startswith(word.partition("=")[0]) for known in self._option_string_actions
            )
        ]

    def _hint(self, message: str) -> str:
        wrong = [word for word in message.split() if word.startswith("-")]
        if message.startswith("unrecognized") and wrong:
            return self._nearest_option(wrong[0].partition("=")[0])
        choice = _CHOICE.search(message)
        if choice is None or choice[1].isdecimal():
            return ""  # the nearest number by its digits is rarely the one that was meant
        return did_you_mean(choice[1], _WORD.findall(choice[2]))

    def _nearest_option(self, option: str) -> str:
        """Return a suggestion for an unknown option: the same one elsewhere, or a similar word."""
        # Darknet's own options have one dash, and other programs write words with underscores.
        word = option.lstrip("-").replace("_", "-").lower()
        meant = _FIELD_WORDS.get(word, ())
        known = [f"--{name}" for name in meant if f"--{name}" in self._option_string_actions]
        if known:
            return f"; did you mean {known[0]!r}?"
        if word in _FIELD_WORDS or len(word) <= _SHORTEST_GUESS:
            return ""
        # Without the two dashes, which make all options similar.
        names = [name[2:] for name in self._option_string_actions if name.startswith("--")]
        near = nearest(word, names)
        return f"; did you mean '--{near}'?" if near else ""
