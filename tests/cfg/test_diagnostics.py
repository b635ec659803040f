"""Mistakes in a cfg: raised one by one, or collected."""

from __future__ import annotations

from typing import Any

import pytest

from darknet_builder.cfg.block import Block
from darknet_builder.cfg.diagnostics import Collector
from darknet_builder.cfg.parser import parse_cfg
from darknet_builder.errors import CfgError


def test_mistakes_are_collected() -> None:
    """Each wrong line is reported once; the deprecated argument does the same."""
    text = "[net]\nwidth 8\nheight 8\n"
    collector = Collector()
    assert [block.name for block in parse_cfg(text, diagnostics=collector)] == ["net"]
    assert [error.line for error in collector.errors] == [2, 3]
    collector.report(collector.errors[0])
    assert len(collector.errors) == 2
    problems: list[CfgError] = []
    with pytest.warns(DeprecationWarning, match="problems= is deprecated"):
        parse_cfg(text, problems=problems)
    assert list(map(str, problems)) == list(map(str, collector.errors))


def test_a_section_is_read_past_its_mistakes() -> None:
    """Every option that ends the reading is reported; afterwards the section raises again."""
    (block,) = parse_cfg("[net]\na=1\nb=1\nc=3\nd=x\n")
    collector = Collector()

    def read(section: Any) -> int:
        section.refuse("a", "b")
        return int(section.get_int("c"))

    assert collector.read_past(block, read) == 3
    assert [error.key for error in collector.errors] == ["a", "b"]
    with pytest.raises(CfgError):
        block.get_int("d", 0)
    assert collector.read_past(block, lambda section: section.get_int("e")) is None
    assert [error.key for error in collector.errors] == ["a", "b", "e"]


@pytest.mark.parametrize(
    ("place", "earlier", "reported"),
    [
        ({"line": 3, "key": "b"}, False, True),  # in this section
        ({"line": 3, "key": "b"}, True, True),
        ({"line": 2, "key": "b"}, False, True),  # in another section, which has such an option, too
        ({"line": 2, "key": "b"}, True, False),  # perhaps because of the earlier mistake
        ({"line": 1, "key": "z"}, False, True),
        ({"line": 1, "key": "z"}, True, False),
        ({"line": 1}, True, False),
    ],
)
def test_mistakes_elsewhere(place: dict[str, Any], earlier: bool, reported: bool) -> None:
    """A mistake outside of the section's options ends the reading, and counts only if it is the
    first of this reading."""
    block = Block("net", {"a": "x", "b": "1"}, line=1, lines={"a": 2, "b": 3})
    is_here = place == {"line": 3, "key": "b"}
    collector = Collector()
    collector.report(CfgError("of another section"))

    def read(section: Block) -> list[str]:
        if earlier:
            section.get_int("a", 0)
        if is_here and "b" not in section:
            return list(section)
        raise CfgError("here", path="a.cfg", **place)

    assert collector.read_past(block, read) == (["a"] if is_here else None)
    told = ["of another section", *["a"] * earlier, *["here"] * reported]
    assert [error.key if error.key == "a" else error.message for error in collector.errors] == told
