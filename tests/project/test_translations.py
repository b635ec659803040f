"""Translated pages have the same code, headings, tables, links and names as the English pages.

``test_docs`` runs the code of the English pages, which is therefore that of the translations.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.project.test_docs import PAGES, fences

ROOT = Path(__file__).parents[2]
SUFFIX = ".zh-CN.md"
TRANSLATED = [
    str(page.relative_to(ROOT)).replace(SUFFIX, ".md")
    for page in PAGES
    if page.name.endswith(SUFFIX)
]
_FENCED = re.compile(r"^```.*?^```[ \t]*$", re.MULTILINE | re.DOTALL)


def prose(text: str) -> str:
    """Return a page without its code blocks."""
    return _FENCED.sub("", text)


def code_blocks(text: str) -> list[tuple[str, str, bool]]:
    """Return (language, code, whether it is not run) of every code block, in order."""
    return [(block.language, block.code, block.skipped) for block in fences("page", text)]


def headings(text: str) -> list[int]:
    """Return the levels of the headings, in order."""
    return [len(marks) for marks in re.findall(r"^(#+) ", prose(text), re.MULTILINE)]


def table_rows(text: str) -> list[int]:
    """Return the number of cell borders in each table row, in order."""
    return [row.count("|") for row in re.findall(r"^\|.*\|$", prose(text), re.MULTILINE)]


def links(text: str) -> Counter[str]:
    """Count the targets of links and pictures; a page and its translation are the same target.

    So are the notebooks of both.
    """
    targets = re.findall(r"(?:\]\(|(?:src|srcset)=\")([^)\"]+)[)\"]", prose(text))
    return Counter(target.replace(".zh-CN.", ".") for target in targets)


def names(text: str) -> set[str]:
    """Return everything that is written as inline code."""
    return set(re.findall(r"`([^`\n]+)`", prose(text).replace("\n", " ")))


COMPARED: dict[str, Callable[[str], object]] = {
    "code blocks": code_blocks,
    "headings": headings,
    "table rows": table_rows,
    "links": links,
}


def differences(english: str, translation: str) -> list[str]:
    """Return what a translation has different from the English page, and the names it lacks."""
    different = [what for what, of in COMPARED.items() if of(english) != of(translation)]
    return different + sorted(names(english) - names(translation))


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_translated_pages() -> None:
    assert sorted(TRANSLATED) == ["README.md", "docs/lessons.md"]


@pytest.mark.parametrize("name", TRANSLATED)
def test_the_translation_is_complete(name: str) -> None:
    assert differences(read(name), read(name.replace(".md", SUFFIX))) == []


@pytest.mark.parametrize("name", TRANSLATED)
def test_each_page_links_to_its_translation(name: str) -> None:
    """Right below the title, in both directions."""
    page = Path(name).name
    chinese = page.replace(".md", SUFFIX)
    assert read(name).split("\n")[2] == f"[简体中文]({chinese})"
    assert read(name.replace(".md", SUFFIX)).split("\n")[2] == f"[English]({page})"


def test_the_chinese_readme_links_to_the_chinese_lessons() -> None:
    assert "](docs/lessons.md)" not in read("README.zh-CN.md")


# ---- that the comparison would notice ------------------------------------------------------------

ENGLISH = """\
# Title

See [the lessons](lessons.md) and `name`.

| a | b |
|---|---|
| 1 | 2 |

```python
print(1)  # comment
```

```text
1
```
"""
CHINESE = (
    ENGLISH.replace("Title", "标题").replace("the lessons", "教程").replace(".md", ".zh-CN.md")
)


def test_a_good_translation() -> None:
    assert differences(ENGLISH, CHINESE) == []


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("print(1)", "print(2)", "code blocks"),
        ("```text\n1\n", "```text\n2\n", "code blocks"),
        ("```python", "<!-- not run: slow -->\n```python", "code blocks"),
        ("# 标题", "## 标题", "headings"),
        ("| 1 | 2 |\n", "", "table rows"),
        ("lessons.zh-CN.md", "lesson.zh-CN.md", "links"),
        ("`name`", "名称", "name"),
    ],
)
def test_a_bad_translation(old: str, new: str, found: str) -> None:
    assert old in CHINESE
    assert differences(ENGLISH, CHINESE.replace(old, new, 1)) == [found]
