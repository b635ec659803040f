"""The readers of one section at their limits, and copies of a section."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from darknet_builder.cfg.block import Block
from darknet_builder.cfg.diagnostics import Collector
from darknet_builder.cfg.dialects import get_dialect
from darknet_builder.cfg.model_metadata import ModelMetadata
from darknet_builder.cfg.parser import CfgText, noted_dialect, parse_cfg
from darknet_builder.cfg.source import CfgSource, read_cfg
from darknet_builder.errors import CfgError, CfgWarning


def block(**options: str) -> Block:
    """A section in line 7 whose options follow it."""
    lines = {key: number for number, key in enumerate(options, 8)}
    return Block("net", options, line=7, source="a.cfg", lines=lines)


LIMITS: list[tuple[Callable[[Block], Any], str]] = [
        (lambda some: some.get_int("a", maximum=5), ""),
        (lambda some: some.get_int("a", maximum=4), "expected 4 or less"),
        (lambda some: some.get_int("a", minimum=5), ""),
        (lambda some: some.get_int("a", minimum=6), "expected 6 or more"),
        (lambda some: some.get_float("a", minimum=5.0), ""),
        (lambda some: some.get_float("a", minimum=5.1), "expected 5.1 or more"),
        (lambda some: some.refuse("b", "zero"), ""),
        (lambda some: some.refuse("b", "a", "x"), "the option a is not supported; remove it or set"
         " it to 0"),
    ]  # fmt: skip


def test_limits() -> None:
    """The limits themselves are allowed."""
    for read, message in LIMITS:
        some = block(x="x", a="5", zero="0.0")
        if not message:
            assert read(some) in (5, None)
            continue
        with pytest.raises(CfgError) as raised:
            read(some)
        assert str(raised.value) == f"a.cfg:9: [net] a=5: {message}"


DEFAULTS: list[tuple[Callable[[Block], Any], object]] = [
    (lambda some: some.get_int("a", 3), 3),
    (lambda some: some.get_int("big", 3, maximum=9), 3),
    (lambda some: some.get_float("a", 0.5), 0.5),
    (lambda some: some.get_ints("a", [1, 2]), [1, 2]),
    (lambda some: some.get_ints("list", (1, 2)), [1, 2]),
    (lambda some: some.get_floats("list", [0.5]), [0.5]),
    (lambda some: some.get_choice("a", "fast", ("fast", "slow")), "fast"),
]


def test_a_mistake_that_is_collected_gives_the_default() -> None:
    for read, default in DEFAULTS:
        some = block(a="x", big="10", list="1,x,3")
        with pytest.raises(CfgError):
            read(some)
        some.diagnostics = collector = Collector()
        assert read(some) == default
        assert len(collector.errors) == 1


READERS: list[Callable[[Block, str], Any]] = [
    Block.get_int,
    Block.get_float,
    Block.get_ints,
    Block.get_floats,
]


def test_a_mistake_without_a_default_ends_the_reading() -> None:
    """Even if mistakes are collected: there is no value to continue with."""
    for read in READERS:
        some = block(a="x")
        some.diagnostics = Collector()
        with pytest.raises(CfgError, match=r"^a\.cfg:8: \[net\] a=x: expected a "):
            read(some, "a")
        with pytest.raises(CfgError, match=r"^a\.cfg:7: \[net\]: needs b=, which is missing$"):
            read(some, "b")


@pytest.mark.filterwarnings("ignore:.*item 2 of the list is empty")
def test_lists_by_default() -> None:
    """An empty item is 0, and ``#`` ends the list."""
    some = block(a="1,,2#,3")
    assert some.get_ints("a") == some.get_floats("a") == [1, 0, 2]
    assert some.get_floats("a", empty=5, hash_ends=False) == [1, 5, 2, 3]


def test_copies() -> None:
    """With one option less, others more; what a copy reads, its original has read."""
    original = block(a="1", b="2")
    copy = original.changed(without="a", b="3", c="4")
    assert dict(copy) == {"b": "3", "c": "4"} and dict(original) == {"a": "1", "b": "2"}
    assert (copy.where("b"), copy.where("c")) == (
        "a.cfg:9: [net] b=3",
        "a.cfg:7: [net] c=4",
    )
    assert original.changed() == original != copy
    copy.get_int("b")
    assert list(original.unread()) == ["a"]
    assert dict(original.with_option("a", "5")) == {"a": "5", "b": "2"}
    assert list(original.with_option("a", "5").unread()) == ["a", "b"]


def test_options_of_training() -> None:
    """One warning for each that is set, and not 0."""
    some = block(a="1", b="0", c=".5")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CfgWarning)
        some.warn_of_training("a", "b", "c", "d")
    said = "ignored: Darknet uses it only in training, so detection is not affected"
    assert [str(warning.message) for warning in caught] == [
        f"a.cfg:8: [net] a=1: {said}",
        f"a.cfg:10: [net] c=.5: {said}",
    ]
    assert not some.unread()


def test_the_first_section_is_named() -> None:
    """Where it is not [net], not one of the others."""
    with pytest.raises(CfgError, match=r"^<text>:1: \[maxpool\]: the first section must be \[net"):
        parse_cfg("[maxpool]\n[net]\nwidth=8\n")


def test_the_note_of_a_dialect() -> None:
    """Only in the first line."""
    source = read_cfg("# dialect: pjreddie\n[net]\n")
    assert source.dialect == noted_dialect("# dialect: pjreddie\n[net]\n") == "pjreddie"
    assert noted_dialect("\n# dialect: pjreddie\n[net]\n") is None


def test_what_was_read_is_frozen() -> None:
    """Dialects, for one, are shared by all networks."""
    values: tuple[tuple[Any, str], ...] = (
        (get_dialect(None), "resize"),
        (CfgText("a.cfg", "[net]"), "text"),
        (CfgSource([]), "dialect"),
        (ModelMetadata(), "cfg"),
    )
    for value, name in values:
        with pytest.raises(FrozenInstanceError):
            setattr(value, name, "")
