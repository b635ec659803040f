"""Formatting of text for people."""

from __future__ import annotations

import pytest

from darknet_builder.support.text import align_columns, duration, plural


@pytest.mark.parametrize(
    ("count", "noun", "wanted"),
    [
        (0, "image", "images"),
        (1, "image", "image"),
        (1.0, "layer", "layer"),
        (2, "anchor", "anchors"),
        (1, "child", "child"),
        (2, "child", "children"),
    ],
)
def test_plural(count: float, noun: str, wanted: str) -> None:
    """Only 1 takes the singular."""
    assert plural(count, noun) == wanted


def test_columns_of_words_begin_at_the_left() -> None:
    """Numbers end at the right, and no line ends in blanks."""
    rows = [("name", "bytes", "note"), ("a", "1,000", "x"), ("long", "7", "")]
    assert align_columns(rows, left=("name", "note")) == [
        "name  bytes  note",
        "a     1,000  x",
        "long      7",
    ]


def test_duration() -> None:
    """Durations have hours and minutes, minutes and seconds, or seconds."""
    assert [duration(seconds) for seconds in (12, 200, 7500)] == ["12s", "3m 20s", "2h 05m"]
