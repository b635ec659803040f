"""Stop gracefully on the first Ctrl-C, at once on the second."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def graceful_interrupts() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether Ctrl-C was pressed.

    A second press raises KeyboardInterrupt. Outside the main thread, which alone receives signals,
    the function always returns False.
    """
    pressed = False

    def on_press(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        # Only noted: an exception here could leave a file or an update of the weights unfinished.
        pressed = True

    try:
        before = signal.signal(signal.SIGINT, on_press)
    except ValueError:  # not the main thread
        yield lambda: False
        return
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)
