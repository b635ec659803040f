"""The table of the tutorial's chapters: each place in the package is where the page says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from darknet_builder.lessons.faults.exercises import EXERCISES

ROOT = Path(__file__).parents[2]
PAGES = ("lessons.md", "lessons.zh-CN.md")
_PLACE = re.compile(r"\[`(.+?)`\]\(\.\./(darknet_builder/.+?\.py)\), `(.+?)`: `(.+?)`")


def rows(page: str) -> list[list[str]]:
    """The cells of the table, without its heading."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if _PLACE.search(line)]
    return [line.strip("|").split(" | ") for line in lines]


def source_of(path: str, name: str) -> str:
    """The source of a function or method."""
    text = (ROOT / path).read_text(encoding="utf-8")
    nodes: list[ast.AST] = [ast.parse(text)]
    for part in name.split("."):
        nodes = [
            node
            for outer in nodes
            for node in ast.iter_child_nodes(outer)
            if getattr(node, "name", "") == part
        ]
    (node,) = nodes
    return ast.get_source_segment(text, node) or ""


@pytest.mark.parametrize("page", PAGES)
def test_the_code_is_in_the_function_that_the_table_names(page: str) -> None:
    table = rows(page)
    assert len(table) == 9
    for cells in table:
        match = _PLACE.search(cells[-1])
        assert match is not None
        short, path, name, code = match.groups()
        assert path == f"darknet_builder/{short}"
        assert code in source_of(path, name), cells[-1]


@pytest.mark.parametrize("page", PAGES)
def test_lessons_and_exercises_exist(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    lessons = re.findall(r"^## (\d+)\. ", text, re.MULTILINE)
    named: set[str] = set()
    for _, lesson, exercises, notebook, _ in rows(page):
        assert lesson.strip() in lessons and f" {lesson.strip()}" in notebook
        named.update(re.findall("`(.+?)`", exercises))
    # Gradients have no chapter of their own in that part.
    assert named == set(EXERCISES) - {"weak_gradient"}
