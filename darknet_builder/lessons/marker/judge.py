"""Judge a chapter of a reader's code: what is right, what is not, and the mistake behind it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from types import ModuleType
from typing import Any

from darknet_builder.lessons.marker.box_probes import decode_probes, loss_probes, picture_probes
from darknet_builder.lessons.marker.mistakes.catalogue import mistakes_until
from darknet_builder.lessons.marker.mistakes.mistake import Mistake
from darknet_builder.lessons.marker.network_probes import (
    cfg_probes,
    forward_probes,
    module_probes,
    weight_probes,
)
from darknet_builder.lessons.marker.probe import Probe
from darknet_builder.lessons.marker.reader import attempt
from darknet_builder.lessons.marker.recorded import Recorded, load_recorded
from darknet_builder.lessons.marker.values import Raised, is_not_written, is_right, mismatch

_PROBES: dict[int, Callable[[Recorded], list[Probe]]] = {
    1: cfg_probes,
    2: module_probes,
    3: forward_probes,
    4: weight_probes,
    5: decode_probes,
    6: picture_probes,
    7: loss_probes,
}
_NEARER = 0.02
"""A mistake explains a result only if it is so much nearer than the right result."""
_SAME = 3.0
"""Two mistakes explain a result equally well if their distances differ by less than this factor."""


@dataclass(frozen=True)
class Verdict:
    """The judgement on a chapter.

    Attributes:
        chapter: a key of ``CHAPTERS``.
        probes: all checks of the chapter, in order.
        results: what the reader's code gave for each.
        mistakes: the mistakes that give the result of the first wrong check; two that only
            together give it, if ``are_combined``; mistakes that stop there with another error, if
            ``are_possible``.

    Example:
        >>> from darknet_builder.lessons.marker.recorded import solution
        >>> verdict = judge(solution(), 1, "my_yolo.py")
        >>> verdict.is_right, verdict.first_wrong
        (True, None)
    """

    chapter: int
    probes: list[Probe]
    results: list[Any]
    mistakes: list[Mistake]
    are_combined: bool = False
    are_possible: bool = False

    @property
    def first_wrong(self) -> int | None:
        """Index of the first check whose result is wrong."""
        return next(iter(self.wrong), None)

    @cached_property
    def wrong(self) -> list[int]:
        """Indices of all checks whose results are wrong."""
        pairs = zip(self.results, self.probes, strict=True)
        return [
            index
            for index, (result, probe) in enumerate(pairs)
            if not is_right(result, probe.expected)
        ]

    @property
    def is_right(self) -> bool:
        """Whether the whole chapter is right."""
        return not self.wrong


def judge(
    code: ModuleType, chapter: int, filename: str, on_probe: Callable[[str], object] = len
) -> Verdict:
    """Judge one chapter of a reader's code.

    Args:
        code: the reader's module.
        chapter: a key of ``CHAPTERS``.
        filename: path of the reader's file, to find his lines in tracebacks.
        on_probe: called with the title of each check before it runs.
    """
    probes = probes_of(chapter)
    results = []
    for probe in probes:
        on_probe(probe.title)
        results.append(attempt(partial(probe.call, code), filename))
    verdict = Verdict(chapter, probes, results, [])
    if verdict.first_wrong is None or is_not_written(results[verdict.first_wrong]):
        return verdict
    on_probe("")
    wrong = verdict.first_wrong
    if mistakes := _explain(verdict, wrong):
        return replace(verdict, mistakes=mistakes)
    if mistakes := _explain_end(verdict, wrong):
        return replace(verdict, mistakes=mistakes, are_possible=True)
    pair = _explain_by_two(verdict, wrong)
    return replace(verdict, mistakes=pair, are_combined=bool(pair))


@cache
def probes_of(chapter: int) -> list[Probe]:
    """Return the checks of a chapter.

    Args:
        chapter: a key of ``CHAPTERS``.

    Example:
        >>> probes_of(1)[0].title
        "numbers('10,14,  23.5,27')"
    """
    return _PROBES[chapter](load_recorded())


def _explain(verdict: Verdict, wrong: int) -> list[Mistake]:
    """Return the mistakes that give exactly the reader's result, if they also fit best elsewhere.

    Several mistakes may give the same result of one check. Those that agree with the reader's
    results of most other checks remain.
    """
    function = verdict.probes[wrong].function
    every = mistakes_until(verdict.chapter)
    likely = [
        mistake
        for mistake in every
        if mistake.chapter == verdict.chapter and mistake.can_show_in(function)
    ]
    # A check also runs functions of earlier chapters, for example to make the modules.
    rest = [mistake for mistake in every if mistake not in likely]
    for mistakes in (likely, rest):
        found = [one for mistake in mistakes for one in _explanations(verdict, wrong, mistake)]
        if found:
            most = max(explanation.agreements for explanation in found)
            found = [explanation for explanation in found if explanation.agreements == most]
            nearest = min(explanation.distance for explanation in found)
            near = [one.mistake for one in found if one.distance <= _SAME * nearest + _SAME / 1e3]
            return list(dict.fromkeys(near))
    return []


@dataclass(frozen=True)
class _Explanation:
    """A mistake that gives the reader's result, in how many checks, and how nearly."""

    mistake: Mistake
    agreements: int
    distance: float


def _explanations(verdict: Verdict, wrong: int, mistake: Mistake) -> list[_Explanation]:
    found = []
    for code in mistake.codes():
        distance = _distance(verdict, wrong, code)
        if distance is not None:
            found.append(_Explanation(mistake, _agreements(verdict, code), distance))
    return found


def _explain_end(verdict: Verdict, wrong: int) -> list[Mistake]:
    """Return the mistakes that stop at the same check with another error.

    Two ways to write a function stop with different errors. All other checks must agree.
    """
    if not isinstance(verdict.results[wrong], Raised):
        return []
    function = verdict.probes[wrong].function
    return [
        mistake
        for mistake in mistakes_until(verdict.chapter)
        if mistake.can_show_in(function)
        and any(_ends_alike(verdict, wrong, code) for code in mistake.codes())
    ]


def _ends_alike(verdict: Verdict, wrong: int, code: ModuleType) -> bool:
    """Return whether code raises where the reader's does, and otherwise gives the same results."""
    if not isinstance(_result_of(verdict.probes[wrong], code), Raised):
        return False
    for probe, result in zip(verdict.probes, verdict.results, strict=True):
        other = _result_of(probe, code)
        both_end = isinstance(result, Raised) and isinstance(other, Raised)
        if not both_end and not is_right(result, other):
            return False
    return True


def _explain_by_two(verdict: Verdict, wrong: int) -> list[Mistake]:
    """Return two mistakes of this chapter that together give the reader's result."""
    every = mistakes_until(verdict.chapter)
    function = verdict.probes[wrong].function
    own = [
        mistake
        for mistake in every
        if mistake.chapter == verdict.chapter and mistake.can_show_in(function)
    ]
    for pair in itertools.combinations(own, 2):
        code = pair[0].with_other(pair[1])
        if code is not None and _distance(verdict, wrong, code) is not None:
            return list(pair)
    return []


def _distance(verdict: Verdict, index: int, code: ModuleType) -> float | None:
    """Return how far a code's result of a check is from the reader's.

    Returns:
        None if the two differ by more than rounding, or if the right result is about as near.
    """
    probe, result = verdict.probes[index], verdict.results[index]
    other = _result_of(probe, code)
    distance = mismatch(result, other)
    limit = min(1.0, _NEARER * mismatch(other, probe.expected))
    return distance if distance <= limit else None


def _agreements(verdict: Verdict, code: ModuleType) -> int:
    pairs = zip(verdict.probes, verdict.results, strict=True)
    return sum(is_right(result, _result_of(probe, code)) for probe, result in pairs)


@cache
def _result_of(probe: Probe, code: ModuleType) -> object:
    """Return what a mistake's code gives for a check; it is always the same."""
    return attempt(partial(probe.call, code), "")
