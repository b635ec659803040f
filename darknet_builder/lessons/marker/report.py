"""Write a verdict as a teacher would: what is right, what differs, and what usually causes it."""

from __future__ import annotations

import re
import textwrap
from typing import Any

from torch import Tensor

from darknet_builder.lessons.marker.judge import Verdict
from darknet_builder.lessons.marker.patterns import describe_pattern
from darknet_builder.lessons.marker.probe import Probe, UnexpectedModuleError
from darknet_builder.lessons.marker.values import (
    Raised,
    as_tensor,
    bound_of,
    is_not_written,
    is_right,
    parts,
)
from darknet_builder.lessons.scratch.chapters import CHAPTERS
from darknet_builder.support.text import plural

_WIDTH = 96
_MISSING = re.compile(r"^module '\w+' has no attribute '(\w+)'")
_NO_CAUSE = "cause: none of the common mistakes gives exactly this"
_LONGEST = 120
"""Most characters of a value that are shown."""
_SHAPES = 3
"""Most tensors of a list whose shapes are shown."""


def write_report(verdict: Verdict) -> str:
    """Return the text for a reader.

    Args:
        verdict: the judgement on one chapter.

    Example:
        >>> from darknet_builder.lessons.marker.judge import judge
        >>> from darknet_builder.lessons.marker.recorded import solution
        >>> print(write_report(judge(solution(), 1, "")).splitlines()[0])
        chapter 1, read the cfg: right (16 of 16 checks)
    """
    total, wrong = len(verdict.probes), len(verdict.wrong)
    title = f"chapter {verdict.chapter}, {CHAPTERS[verdict.chapter]}"
    if verdict.first_wrong is None:
        return f"{title}: right ({total} of {total} checks)\n"
    lines = [f"{title}: not yet right ({total - wrong} of {total} checks are right)"]
    if verdict.first_wrong:
        lines += _wrapped("right so far: ", _right_so_far(verdict))
    lines += _first_difference(verdict, verdict.first_wrong)
    lines += _cause(verdict, verdict.first_wrong)
    lines += _others(verdict)
    return "\n".join(lines) + "\n"


def _right_so_far(verdict: Verdict) -> str:
    """Return the functions whose first checks are right, with their number."""
    titles = [probe.title for probe in verdict.probes[: verdict.first_wrong]]
    names = [title.split(":")[0].split("(")[0] for title in titles]
    counts = {name: names.count(name) for name in names}
    return ", ".join(f"{name} ({count} {plural(count, 'check')})" for name, count in counts.items())


def _first_difference(verdict: Verdict, wrong: int) -> list[str]:
    probe, result = verdict.probes[wrong], verdict.results[wrong]
    lines = [f"first difference: {probe.title}"]
    if probe.given:
        lines.append(f"  given:    {probe.given}")
    if isinstance(result, Raised):
        return lines + _error_lines(result)
    for path, mine, theirs in parts(result, probe.expected):
        if not is_right(mine, theirs):
            return lines + _part_lines(probe, path, mine, theirs)
    return lines


def _error_lines(result: Raised) -> list[str]:
    """Return the reader's error: its kind, its message, and his line."""
    if is_not_written(result):
        return [f"  {result.function or 'a function'} is not written yet"]
    missing = _MISSING.search(result.message or "")
    if result.kind == "AttributeError" and missing and not result.place:
        return [f"  the function {missing[1]} is missing in your file"]
    # OpenCV lists the same reason once for each form of a function's arguments.
    reasons = " ".join(dict.fromkeys((result.message or "").splitlines()))
    message = textwrap.shorten(reasons, 300, placeholder=" ...")
    if result.kind == UnexpectedModuleError.__name__:
        return _wrapped("  ", message)
    lines = [f"  your code raised {result.kind}: {message}"]
    return lines + ([f"    {result.place}"] if result.place else [])


def _part_lines(probe: Probe, path: tuple[Any, ...], mine: Any, theirs: Any) -> list[str]:
    where = _place(probe, path)
    lines = [f"  {where}"] if where else []
    tensor = as_tensor(mine)
    if isinstance(theirs, Tensor) and tensor is not None:
        return lines + [f"  {line}" for line in _tensor_lines(probe, tensor, theirs)]
    if isinstance(theirs, (list, tuple)) and isinstance(mine, (list, tuple)):
        count = f"{len(mine)} {plural(len(mine), 'item')}"
        lines.append(f"  yours has {count}, expected {len(theirs)}")
    elif isinstance(theirs, dict) and isinstance(mine, dict):
        lines += [f"  {line}" for line in _key_lines(mine, theirs)]
    lines += [f"  yours:    {_shown(mine)}", f"  expected: {_shown(theirs)}"]
    if mine is None:
        lines.append("  your function returned None: is a return missing?")
    return lines


def _key_lines(mine: dict[Any, Any], theirs: dict[Any, Any]) -> list[str]:
    missing = [key for key in theirs if key not in mine]
    more = [key for key in mine if key not in theirs]
    lines = []
    if missing:
        lines.append(f"missing: {', '.join(map(repr, missing))}")
    if more:
        lines.append(f"too many: {', '.join(map(repr, more))}")
    return lines


def _shown(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, (list, tuple)) and any(isinstance(item, Tensor) for item in value):
        shapes = ", ".join(_shape_or_type(item) for item in value[:_SHAPES])
        return f"shapes {shapes}" + (", ..." if len(value) > _SHAPES else "")
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ... ({type(value).__name__})"


def _shape_or_type(item: object) -> str:
    return str(tuple(item.shape)) if isinstance(item, Tensor) else type(item).__name__


def _place(probe: Probe, path: tuple[Any, ...]) -> str:
    """Return the path to a part in words."""
    words = []
    for step in path:
        if isinstance(step, int) and step < len(probe.names):
            words.append(probe.names[step])
        else:
            words.append(f"item {step}" if isinstance(step, int) else str(step))
    return ", ".join(words)


def _tensor_lines(probe: Probe, mine: Tensor, theirs: Tensor) -> list[str]:
    if mine.shape != theirs.shape:
        return [f"your shape is {tuple(mine.shape)}, expected {tuple(theirs.shape)}"]
    theirs = theirs.double()
    difference = (mine - theirs).abs()
    is_wrong = ~(difference <= bound_of(theirs))
    count, total = int(is_wrong.sum()), theirs.numel()
    index = tuple(is_wrong.nonzero()[0].tolist())
    largest = float(difference[is_wrong].max())
    source = "Darknet's" if probe.is_recorded else "expected"
    lines = [
        f"{count} of {total} values differ, by at most {largest:.3g}",
        f"the first at {_index_text(probe, index, theirs)}: yours {float(mine[index]):.6g},"
        f" {source} {float(theirs[index]):.6g}",
    ]
    pattern = describe_pattern(mine, theirs, is_wrong, probe.axes)
    return [*lines, pattern] if pattern else lines


def _index_text(probe: Probe, index: tuple[int, ...], theirs: Tensor) -> str:
    """Return an index in words, without dimensions of one element."""
    axes = (
        probe.axes[len(probe.axes) - len(index) :] if len(index) > len(probe.axes) else probe.axes
    )
    words = [
        f"{axis} {position}"
        for axis, position, size in zip(axes, index, theirs.shape, strict=False)
        if size > 1 and axis
    ]
    return ", ".join(words) or "the only value"


def _cause(verdict: Verdict, wrong: int) -> list[str]:
    result = verdict.results[wrong]
    if not verdict.mistakes:
        return [] if _speaks_for_itself(result) else [_NO_CAUSE]
    if verdict.are_combined:
        intro = "cause: two mistakes together give exactly your result. "
        return _wrapped(intro, " And: ".join(mistake.advice for mistake in verdict.mistakes))
    lines: list[str] = []
    gives = "stops in the same way" if isinstance(result, Raised) else "gives exactly your result"
    gives = "stops at the same check" if verdict.are_possible else gives
    word = "possible cause" if verdict.are_possible else "cause"
    for mistake in verdict.mistakes[:3]:
        lines += _wrapped(f"{word}: {mistake.name} ({gives}). ", mistake.advice)
    return lines


def _speaks_for_itself(result: object) -> bool:
    """Return whether a result needs no cause: there is none, or the report has named it."""
    if not isinstance(result, Raised):
        return result is None
    is_named = result.kind == UnexpectedModuleError.__name__ or _MISSING.search(
        result.message or ""
    )
    return is_not_written(result) or bool(is_named)


def _others(verdict: Verdict) -> list[str]:
    """Return a line on later checks, which may have the same cause."""
    later = [verdict.probes[index].title for index in verdict.wrong[1:]]
    if not later:
        return []
    shown = "; ".join(later[:4]) + (f"; and {len(later) - 4} more" if len(later) > 4 else "")
    return _wrapped("also not yet right: ", shown)


def _wrapped(intro: str, text: str) -> list[str]:
    return textwrap.wrap(intro + text, _WIDTH, subsequent_indent="  ", break_long_words=False)
