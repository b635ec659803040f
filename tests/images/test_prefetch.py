"""Prefetching keeps the order, the limit and the errors of its items."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

from darknet_builder.images.prefetch import read_ahead


def test_read_ahead_keeps_the_order() -> None:
    """The order is kept, however long each item takes, and none is lost."""

    def read(number: int) -> int:
        time.sleep(0.002 * (number % 3 == 0))
        return -number

    for batch in (1, 3):
        assert list(read_ahead(read, range(20), batch=batch)) == [-number for number in range(20)]
    assert list(read_ahead(read, [], batch=2)) == []


def test_read_ahead_reads_on_but_not_far() -> None:
    """Two batches and one item for each thread are read ahead."""
    read = []
    ahead = read_ahead(lambda number: read.append(number) or number, itertools.count(), batch=2)
    assert next(ahead) == 0
    until = time.monotonic() + 10
    while len(read) < 6 and time.monotonic() < until:
        time.sleep(0.001)
    assert sorted(read) == list(range(6))
    ahead.close()
    assert len(read) == 6


def test_read_ahead_raises_at_the_items_turn() -> None:
    """Earlier results come first; later items are not returned."""
    found = []
    with pytest.raises(ZeroDivisionError):
        for value in read_ahead(lambda number: 1 / number, [2, 1, 0, 4], batch=4):
            found.append(value)
    assert found == [0.5, 1]


def test_one_thread_reads_one_after_the_other() -> None:
    """A video needs calls that never overlap."""
    inside = threading.Lock()

    def read(number: int) -> int:
        assert inside.acquire(blocking=False)
        time.sleep(0.001)
        inside.release()
        return number

    assert list(read_ahead(read, range(30), batch=4, threads=1)) == list(range(30))
