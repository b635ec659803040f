"""Read items in threads while earlier ones are in use."""

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
    """``read(item)`` of every item, in order; while some are used, threads are at the next ones.

    Args:
        read: called in those threads.
        items: taken in the caller's thread, two batches ahead.
        batch: how many are used at once.
        threads: with one, ``read`` is never called twice at a time.

    Raises:
        Whatever ``read`` raises, at the item's turn.
    """
    rest = iter(items)
    with ThreadPoolExecutor(threads) as readers:
        waiting: deque[Future[_Read]] = deque()
        try:
            while True:
                for item in islice(rest, batch * _BATCHES_AHEAD + threads - len(waiting)):
                    waiting.append(readers.submit(read, item))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
