"""Read a command line of the ``darknet`` program: its function, its words and its flags."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from darknet_builder.cli.darknet.flags import (
    ALL,
    ANCHORS,
    CLASS_TRAIN,
    CLASS_VALID,
    DEMO,
    DETECT,
    FLAGS,
    MAP,
    PARTIAL,
    PREDICT,
    RECALL,
    TEST,
    TRAIN,
    VALID,
    Flag,
)
from darknet_builder.errors import InputError, did_you_mean

USAGE = {
    TEST: "DATA CFG WEIGHTS [IMAGE]",
    DETECT: "CFG WEIGHTS [IMAGE]",
    DEMO: "DATA CFG WEIGHTS VIDEO",
    TRAIN: "DATA CFG [WEIGHTS]",
    VALID: "DATA CFG WEIGHTS",
    MAP: "DATA CFG WEIGHTS",
    RECALL: "DATA CFG WEIGHTS",
    ANCHORS: "DATA",
    PREDICT: "DATA CFG WEIGHTS [IMAGE]",
    CLASS_TRAIN: "DATA CFG [WEIGHTS]",
    CLASS_VALID: "DATA CFG WEIGHTS",
    PARTIAL: "CFG WEIGHTS OUTPUT N",
}
"""The words after each function."""
_ELSEWHERE = """\
average, oneoff, rescale, rgbgr, reset, statistics: nothing replaces it
denormalize, normalize: 'darknet-builder export --fold' folds batch norm into the weights
ops: use 'darknet-builder dump'
speed: use 'darknet-builder benchmark'
visualize: use 'darknet-builder plot-weights'
classify: use 'classifier predict'
yolo, coco: use 'detector', whose functions take such networks as well
imtest, test, voxel, super, cifar, go, rnn, vid, art, tag, compare, dice, writing, 3d, captcha, nightmare: nothing replaces it
detector draw: nothing replaces it
classifier try, classifier demo, classifier gun, classifier threat, classifier test, classifier label: use 'classifier predict'
classifier validmulti, classifier valid10, classifier validcrop, classifier validfull: use 'classifier valid'
"""  # noqa: E501
"""Functions of Darknet that are not supported, and what to use instead."""
_FLAG = re.compile(r"--?[A-Za-z]")


@dataclass(frozen=True)
class Request:
    """One command line.

    Attributes:
        function: Darknet's function, one of ``ALL``.
        words: the words after the function, without flags.
        values: values, by name, of the given flags that have an effect.
    """

    function: str
    words: tuple[str, ...]
    values: Mapping[str, Any] = field(default_factory=dict)

    def has(self, flag: str) -> bool:
        """Return whether a flag was given."""
        return flag in self.values

    def value(self, flag: str, default: Any = None) -> Any:
        """Return the value of a flag, or the default if it was not given."""
        return self.values.get(flag, default)

    def word(self, index: int) -> str | None:
        """Return the word at an index after the function; None if there are fewer words."""
        return self.words[index] if index < len(self.words) else None


def read_request(argv: Sequence[str]) -> Request:
    """Read a command line; flags may stand anywhere, as in Darknet.

    Args:
        argv: the words after the program's name.

    Raises:
        InputError: for an unknown function or flag, an invalid value, or a missing word.
    """
    words, values, unknown = _split([word.strip() for word in argv])
    function, rest = _find_function(words)
    if unknown:
        raise InputError(f"unknown flag {unknown[0]}{did_you_mean(unknown[0], FLAGS)}")
    _check_words(function, rest)
    kept = {}
    for name, value in values.items():
        if complaint := FLAGS[name].complaint(function):
            warnings.warn(complaint, UserWarning, stacklevel=2)
        else:
            kept[name] = value
    return Request(function, tuple(rest), kept)


def _split(argv: Sequence[str]) -> tuple[list[str], dict[str, Any], list[str]]:
    """Return the words, the values of the flags, and words that look like unknown flags."""
    words: list[str] = []
    values: dict[str, Any] = {}
    unknown: list[str] = []
    rest = iter(argv)
    for word in rest:
        if word in FLAGS:
            flag = FLAGS[word]
            values[word] = True if flag.kind is None else _read_value(flag, next(rest, None))
        elif _FLAG.match(word):
            unknown.append(word)
        else:
            words.append(word)
    return words, values, unknown


def _read_value(flag: Flag, text: str | None) -> Any:
    assert flag.kind is not None, "a flag without a value is not read"
    if text is None or text in FLAGS:
        raise InputError(f"{flag.name}: expected a value after it")
    try:
        return flag.kind(text)
    except ValueError:
        what = "a whole number" if flag.kind is int else "a number"
        raise InputError(f"{flag.name} {text}: expected {what}") from None


def _find_function(words: Sequence[str]) -> tuple[str, Sequence[str]]:
    for length in (2, 1):
        function = " ".join(words[:length])
        if function in ALL:
            return function, words[length:]
    asked = " ".join(words[:2])
    advice = {
        name: text
        for names, _, text in (line.partition(": ") for line in _ELSEWHERE.splitlines())
        for name in names.split(", ")
    }
    for name in (asked, *words[:1]):
        if name in advice:
            raise InputError(f"Darknet's function {name!r} is not supported; {advice[name]}")
    if not words:
        raise InputError(f"expected a function: {', '.join(ALL)}")
    of_group = [name for name in ALL if name.startswith(f"{words[0]} ")]
    if of_group and len(words) == 1:
        raise InputError(f"expected a function after {words[0]!r}: {', '.join(of_group)}")
    # The nearest function shows whether the first word is wrong or the second.
    near = did_you_mean(asked, ALL) or did_you_mean(words[0], [*ALL, "detector", "classifier"])
    named = asked if words[0] in ("detector", "classifier") else words[0]
    raise InputError(f"unknown function {named!r}{near} (functions: {', '.join(ALL)})")


def _check_words(function: str, words: Sequence[str]) -> None:
    usage = USAGE[function]
    places = usage.split()
    required = [place for place in places if not place.startswith("[")]
    if len(words) < len(required):
        raise InputError(f"{function}: expected {usage}, got {' '.join(words) or 'nothing'}")
    if len(words) > len(places):
        raise InputError(f"{function}: expected {usage}, and no {words[len(places)]!r} after it")
