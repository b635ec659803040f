"""A common mistake, as a change of the solution's text."""

from __future__ import annotations

import ast
import itertools
import re
from dataclasses import dataclass
from functools import cache
from types import CodeType, ModuleType

from darknet_builder.lessons.scratch.stubs import whole_solution

Patch = tuple[str, str]
"""A text that occurs once in the solution, and what the mistake has in its place."""


_DEFINITION = re.compile(r"^def (\w+)", re.MULTILINE)


@dataclass(frozen=True)
class Mistake:
    """A mistake that ports of Darknet have had.

    What it gives is not described but computed: by the solution with the mistake in it.

    Attributes:
        name: a short name, such as ``zero-padded-pool``.
        chapter: the chapter in whose functions it is made.
        advice: what is wrong and what is right, in one or two sentences.
        variants: the forms that the mistake takes; each is a tuple of patches.

    Example:
        >>> mistake = Mistake("one-more", 1, "", ((("float(part)", "float(part) + 1"),),))
        >>> mistake.codes()[0].numbers("1,2")
        [2.0, 3.0]
    """

    name: str
    chapter: int
    advice: str
    variants: tuple[tuple[Patch, ...], ...]

    def codes(self) -> list[ModuleType]:
        """Return the solution with the mistake, once for each variant."""
        return [_patched(variant) for variant in self.variants]

    def can_show_in(self, function: str) -> bool:
        """Return whether a function of the solution has the mistake, itself or in what it calls.

        Args:
            function: name of a function.
        """
        reached = _reached_from(function)
        return any(
            old in part
            for old, _ in itertools.chain(*self.variants)
            for part in _parts()
            if _name_of(part) in reached
        )

    def with_other(self, other: Mistake) -> ModuleType | None:
        """Return the solution with the first variants of two mistakes.

        Returns:
            None if the two change the same text.
        """
        both = (*self.variants[0], *other.variants[0])
        return _patched(both) if _patch(both) is not None else None


def one(old: str, new: str) -> tuple[Patch, ...]:
    """Return a variant of a single patch.

    Example:
        >>> one("a", "b")
        (('a', 'b'),)
    """
    return ((old, new),)


def _patch(patches: tuple[Patch, ...]) -> list[str] | None:
    """Return the parts of the patched solution.

    Returns:
        None if the place of a patch is not there exactly once.
    """
    parts = list(_parts())
    for old, new in patches:
        places = [index for index, part in enumerate(parts) if old in part]
        if len(places) != 1 or parts[places[0]].count(old) != 1:
            return None
        parts[places[0]] = parts[places[0]].replace(old, new)
    return parts


@cache
def _parts() -> tuple[str, ...]:
    """Return the statements of the solution: imports, functions and constants."""
    source = whole_solution()
    lines = source.splitlines()
    ends = [node.end_lineno or 0 for node in ast.parse(source).body]
    return tuple(
        "\n".join(lines[start:end]) + "\n" for start, end in zip([0, *ends], ends, strict=False)
    )


@cache
def _reached_from(function: str) -> frozenset[str]:
    """Return the name of a function and of all functions of the solution that it calls."""
    bodies = {_name_of(part): part for part in _parts()}
    reached, new = {function}, [function]
    while new:
        nodes = ast.walk(ast.parse(bodies.get(new.pop(), "")))
        called = {node.id for node in nodes if isinstance(node, ast.Name)}
        new += [name for name in called & bodies.keys() if name not in reached]
        reached.update(new)
    return frozenset(reached)


@cache
def _name_of(part: str) -> str:
    """Return the name of the function that a statement defines; empty if it defines none."""
    found = _DEFINITION.search(part)
    return found[1] if found else ""


@cache
def _patched(patches: tuple[Patch, ...]) -> ModuleType:
    parts = _patch(patches)
    assert parts is not None, f"a patch does not apply: {patches}"
    module = ModuleType("mistake")
    for part in parts:
        exec(_compiled(part), module.__dict__)  # noqa: S102
    return module


@cache
def _compiled(part: str) -> CodeType:
    """Compile a statement; all but the patched ones are the same in every mistake."""
    return compile(part, "<mistake>", "exec", flags=annotations.compiler_flag)
