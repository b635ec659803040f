"""Prefetch items in a thread pool while earlier ones are in use."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

_READERS = 2
_BATCHES_AHEAD = 2
_Item = TypeVar("_Item")
_Read = TypeVar("_Read")


def read_ahead(
    read: Callable[[_Item], _Read], items: Iterable[_Item], *, batch: int, threads: int = _READERS
) -> Generator[_Read, None, None]:
    """Yield ``read(item)`` for each item in order, prefetching the next ones in a thread pool.

    Args:
        read: called in the threads of the pool.
        items: consumed in the caller's thread, two batches ahead.
        batch: number of items that the caller uses at once.
        threads: size of the pool. With 1, calls of ``read`` never overlap.

    Yields:
        The results, in the order of the items. An exception of ``read`` is raised when its item
        would be yielded.

    Example:
        >>> list(read_ahead(str.upper, ["a", "b", "c"], batch=2))
        ['A', 'B', 'C']
    """
    rest = iter(items)
    with ThreadPoolExecutor(threads) as readers:
        waiting: deque[Future[_Read]] = deque()
        try:
            while True:
                # Two batches are ready or waiting, and each thread works on one item more.
                for item in islice(rest, batch * _BATCHES_AHEAD + threads - len(waiting)):
                    waiting.append(readers.submit(read, item))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            # Without this, leaving the pool would read all items that are queued.
            for future in waiting:
                future.cancel()
