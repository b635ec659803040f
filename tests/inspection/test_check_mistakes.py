"""``check`` on whole cfgs, and on each with one mistake planted: the planted line comes first, and
soon."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from darknet_builder.cfg.block import Block
from darknet_builder.cfg.parser import parse_cfg
from darknet_builder.inspection.check import Finding, check
from tests.conftest import SHARED

CFGS = Path(__file__).parents[2] / "cfg"
THEIRS = sorted((SHARED / "cfgs").glob("*/*.cfg"))
"""Darknet's own, in a folder for each dialect; none where the pack is not there."""
MOST_SECONDS = 10.0


@dataclass
class Cfg:
    """The lines of a cfg and its sections, to find a place for a mistake."""

    lines: list[str]
    blocks: list[Block]

    @classmethod
    def read(cls, path: Path) -> Cfg:
        """Of a file; its own oddities do not matter here."""
        text = path.read_bytes().decode("latin-1").replace("\r\n", "\n")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return cls(text.split("\n"), parse_cfg(text))

    def where(self, fits: Callable[[int, Block], bool], *, last: bool = False) -> int | None:
        """The index of the first or last layer's section of a kind."""
        found = [index for index, block in enumerate(self.blocks) if index and fits(index, block)]
        return (found[-1] if last else found[0]) if found else None

    def head(self) -> int | None:
        """A section whose source must have a certain number of filters."""
        return self.where(
            lambda index, block: "classes" in block and "filters" in self.blocks[index - 1]
        )

    def planted(self, block: Block, key: str, value: str, name: str = "") -> tuple[str, int]:
        """The text with another value or name of an option, and the line of it."""
        lines, number = list(self.lines), block.line_of(key)
        lines[number - 1] = f"{name or key}={value}"
        return "\n".join(lines), number

    def added(self, block: Block, option: str) -> tuple[str, int]:
        """The text with an option more, below the section's name."""
        lines = list(self.lines)
        lines.insert(block.line, option)
        return "\n".join(lines), block.line + 1

    def renamed(self, block: Block, name: str) -> tuple[str, int]:
        """The text where a section has another name."""
        lines = list(self.lines)
        lines[block.line - 1] = f"[{name}]"
        return "\n".join(lines), block.line


Mistake = Callable[[Cfg], "tuple[str, int] | None"]
"""Gives the text with a mistake and its line; None for a cfg without a place for it."""


def wrong_filters(cfg: Cfg) -> tuple[str, int] | None:
    """Those of another number of classes."""
    index = cfg.head()
    return None if index is None else cfg.planted(cfg.blocks[index - 1], "filters", "19")


def wrong_classes(cfg: Cfg) -> tuple[str, int] | None:
    """The commonest of all: filters= stayed, and that is the line to change."""
    index = cfg.head()
    if index is None:
        return None
    text, _ = cfg.planted(cfg.blocks[index], "classes", "77")
    return text, cfg.blocks[index - 1].line_of("filters")


def missing_route_target(cfg: Cfg) -> tuple[str, int] | None:
    """A layer that does not exist."""
    index = cfg.where(lambda _, block: "layers" in block)
    return None if index is None else cfg.planted(cfg.blocks[index], "layers", "-1,9999")


def missing_shortcut_source(cfg: Cfg) -> tuple[str, int] | None:
    """Before the first layer."""
    index = cfg.where(lambda _, block: "from" in block)
    return None if index is None else cfg.planted(cfg.blocks[index], "from", "-9999")


def unknown_activation(cfg: Cfg) -> tuple[str, int] | None:
    """Another program's."""
    index = cfg.where(lambda _, block: "activation" in block)
    return None if index is None else cfg.planted(cfg.blocks[index], "activation", "silu")


def misspelt_key(cfg: Cfg) -> tuple[str, int] | None:
    """An option that nobody reads: a warning, so errors of the same cause would come first."""
    index = cfg.where(lambda _, block: "activation" in block)
    if index is None:
        return None
    block = cfg.blocks[index]
    return cfg.planted(block, "activation", block["activation"], name="activaton")


def bad_list(cfg: Cfg) -> tuple[str, int] | None:
    """A word among numbers."""
    index = cfg.where(lambda _, block: "anchors" in block)
    return None if index is None else cfg.planted(cfg.blocks[index], "anchors", "10,x,30,40")


def mask_beyond_anchors(cfg: Cfg) -> tuple[str, int] | None:
    """An anchor that does not exist."""
    index = cfg.where(lambda _, block: "mask" in block)
    return None if index is None else cfg.planted(cfg.blocks[index], "mask", "0,1,99")


def not_a_number(cfg: Cfg) -> tuple[str, int] | None:
    """In the first convolution."""
    index = cfg.where(lambda _, block: "size" in block)
    return None if index is None else cfg.planted(cfg.blocks[index], "size", "three")


def unknown_section(cfg: Cfg) -> tuple[str, int] | None:
    """A slip in the middle of the network."""
    index = cfg.where(lambda _, block: block.name == "convolutional", last=True)
    return None if index is None else cfg.renamed(cfg.blocks[index], "convolutinal")


def no_option(cfg: Cfg) -> tuple[str, int] | None:
    """A line without an equals sign."""
    index = cfg.where(lambda _, block: block.name == "convolutional")
    return None if index is None else cfg.added(cfg.blocks[index], "batch_normalize 1")


def negative_size(cfg: Cfg) -> tuple[str, int] | None:
    """Of the input."""
    return cfg.planted(cfg.blocks[0], "width", "-416") if "width" in cfg.blocks[0] else None


MISTAKES: dict[str, Mistake] = {
    mistake.__name__: mistake
    for mistake in (
        wrong_filters,
        wrong_classes,
        missing_route_target,
        missing_shortcut_source,
        unknown_activation,
        misspelt_key,
        bad_list,
        mask_beyond_anchors,
        not_a_number,
        unknown_section,
        no_option,
        negative_size,
    )
}
ONLY_WARNED = {"misspelt_key"}


def timed_check(text: str, dialect: str | None = None) -> list[Finding]:
    """What is found, within the time."""
    started = time.process_time()
    found = check(text, dialect=dialect)
    assert time.process_time() - started < MOST_SECONDS
    return found


def check_planted(
    path: Path, dialect: str | None = None, names: Iterable[str] = tuple(MISTAKES)
) -> Iterator[str]:
    """Plant each mistake that the cfg has a place for; yields the names of those planted.

    Findings of the whole cfg do not count: published cfgs have oddities, and some are refused.
    """
    cfg = Cfg.read(path)
    whole = timed_check("\n".join(cfg.lines), dialect)
    known = {re.sub(r"^<text>:\d+", "", finding.text) for finding in whole}
    broken = [finding for finding in whole if finding.level == "error"]
    for name in names:
        planted = None if broken else MISTAKES[name](cfg)
        if planted is None:
            continue
        text, line = planted
        found = [
            finding
            for finding in timed_check(text, dialect)
            if re.sub(r"^<text>:\d+", "", finding.text) not in known
        ]
        assert found and found[0].line == line, (path.name, name, line, found[:3])
        assert found[0].level == ("warning" if name in ONLY_WARNED else "error"), (path.name, name)
        yield name


@pytest.mark.parametrize("path", sorted(CFGS.glob("*.cfg")), ids=lambda path: path.stem)
def test_each_cfg_of_the_project_is_whole(path: Path) -> None:
    assert not [finding for finding in check(path) if finding.level == "error"]


@pytest.mark.parametrize("name", ["darknet19", "shapes", "yolov1-tiny", "yolov2", "yolov4-tiny"])
def test_cfgs_of_the_project(name: str) -> None:
    """The planted line is named first. Darknet's own cfgs, below, include the larger ones."""
    assert len(set(check_planted(CFGS / f"{name}.cfg"))) >= 6


def test_every_mistake_has_a_place() -> None:
    """There are twelve, and one cfg has room for all of them."""
    assert len(MISTAKES) == 12
    assert set(check_planted(CFGS / "yolov3.cfg")) == set(MISTAKES)


@pytest.mark.pack
@pytest.mark.parametrize(
    ("number", "path"),
    list(enumerate(THEIRS)),
    ids=[f"{path.parent.name}-{path.stem}" for path in THEIRS],
)
def test_each_of_darknets_cfgs(number: int, path: Path) -> None:
    """The same for those that come with the two Darknets: every sixth mistake in each, in turn."""
    list(check_planted(path, path.parent.name, list(MISTAKES)[number % 6 :: 6]))
