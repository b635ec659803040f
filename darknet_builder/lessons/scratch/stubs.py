"""The text of the solutions, and the stubs that are made from it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

from darknet_builder.lessons.scratch.chapters import CHAPTERS

_OWN = "darknet_builder"


def solution_text(chapter: int) -> str:
    """Return the code of a chapter's functions, with the imports that they need.

    Args:
        chapter: a key of ``CHAPTERS``.

    Example:
        >>> print(solution_text(3).splitlines()[0])
        # Chapter 3: the forward pass
    """
    parts = [_title(chapter), _import_text([chapter]), _code_of(chapter)]
    return "\n\n".join(parts)


@cache
def whole_solution() -> str:
    """Return the code of all chapters as one file.

    Example:
        >>> "def parse_cfg(" in whole_solution()
        True
    """
    return _whole(_code_of)


@cache
def stub_text() -> str:
    """Return the file that a reader starts with: all functions, without their code.

    Functions whose names begin with an underscore are left out.

    Example:
        >>> stub_text().count("raise NotImplementedError") > 15
        True
    """
    return _whole(_stubs_of)


def function_names(chapter: int) -> list[str]:
    """Return the names of the functions that a reader writes in a chapter.

    Example:
        >>> function_names(1)
        ['numbers', 'parse_cfg']
    """
    functions = [node for node in _tree(chapter).body if isinstance(node, ast.FunctionDef)]
    return [node.name for node in functions if not node.name.startswith("_")]


def _whole(body_of: Callable[[int], str]) -> str:
    chapters = [f"{_title(chapter)}\n\n\n{body_of(chapter)}" for chapter in CHAPTERS]
    header = Path(__file__).with_name("header.txt").read_text(encoding="utf-8")
    return "\n\n".join([f"{header}\n{_import_text(list(CHAPTERS))}", *chapters])


def _title(chapter: int) -> str:
    return f"# Chapter {chapter}: {CHAPTERS[chapter]}"


def _source(chapter: int) -> str:
    path = Path(__file__).with_name(f"chapter{chapter}.py")
    return path.read_text(encoding="utf-8")


def _tree(chapter: int) -> ast.Module:
    return ast.parse(_source(chapter))


def _code_of(chapter: int) -> str:
    """Return everything of a chapter's file after its imports."""
    tree, lines = _tree(chapter), _source(chapter).splitlines()
    last = max(node.end_lineno or 0 for node in tree.body if _is_import(node))
    return "\n".join(lines[last:]).strip() + "\n"


def _stubs_of(chapter: int) -> str:
    """Return a chapter's code with the bodies of its functions left out."""
    lines, parts = _source(chapter).splitlines(), []
    nodes = [node for node in _tree(chapter).body if not _is_import(node)][1:]
    for node in nodes:
        end = node.end_lineno
        if isinstance(node, ast.FunctionDef):
            if node.name.startswith("_"):
                continue
            end = node.body[0].end_lineno  # of the docstring
        text = "\n".join(lines[node.lineno - 1 : end])
        if isinstance(node, ast.FunctionDef):
            text = f"\n\n{text}\n    raise NotImplementedError"
        parts.append(text)
    return "\n".join(parts).strip() + "\n"


def _is_import(node: ast.stmt) -> bool:
    return isinstance(node, (ast.Import, ast.ImportFrom))


def _import_text(chapters: list[int]) -> str:
    """Return the import lines of some chapters, sorted, without those of this package."""
    plain: set[str] = set()
    names: dict[str, set[str]] = {}
    for chapter in chapters:
        for node in _tree(chapter).body:
            if isinstance(node, ast.Import):
                plain.update(ast.unparse(node).splitlines())
            elif isinstance(node, ast.ImportFrom) and not (node.module or "").startswith(_OWN):
                found = names.setdefault(node.module or "", set())
                found.update(ast.unparse(alias) for alias in node.names)
    lines = sorted(plain)
    lines += [f"from {name} import {', '.join(sorted(names[name]))}" for name in sorted(names)]
    groups: list[list[str]] = [[], [], []]
    for line in lines:
        name = line.split()[1].split(".")[0]
        is_standard = name in sys.stdlib_module_names
        groups[0 if name == "__future__" else 1 if is_standard else 2].append(line)
    return "\n\n".join("\n".join(group) for group in groups if group) + "\n"
