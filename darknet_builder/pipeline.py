"""Many images through a detector, its stages overlapped: while the network works on one batch, the next is read and
resized and the last is interpreted, drawn and written."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from darknet_builder.detections import Detections
from darknet_builder.errors import ImageError
from darknet_builder.images import Placement

if TYPE_CHECKING:
    from darknet_builder.detector import Detector, Image

_READERS = 2
_BATCHES_AHEAD = 2
Prepared = tuple[np.ndarray, Tensor, Placement]


@dataclass(frozen=True)
class Outcome:
    """An image and what is in it."""

    source: Image
    image: np.ndarray
    detections: Detections


@dataclass(frozen=True)
class Unreadable:
    """A file that is no image, and why."""

    source: Image
    error: ImageError


def stream(detector: Detector, sources: Iterable[Image],
           finish: Callable[[Outcome], None] | None = None) -> Iterator[Outcome | Unreadable]:
    """Detect in many images, ``detector.batch`` at a time.

    Args:
        detector: without memory of frames.
        sources: files or arrays, as the detector takes them; read only as far ahead as is needed.
        finish: called in another thread with each image that could be read, in order: draw and write there.

    Yields:
        The outcome of every source, in order, after ``finish`` is done with it.

    Raises:
        InputError: for what is no image; whatever ``finish`` raises.
    """
    with ThreadPoolExecutor(_READERS) as readers, ThreadPoolExecutor(1) as finisher:
        waiting: deque[Future[list[Outcome | Unreadable]]] = deque()
        try:
            for group in _prepared(detector, sources, readers):
                waiting.append(_start(detector, group, finisher, finish))
                while len(waiting) > _BATCHES_AHEAD:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        except KeyboardInterrupt:
            while waiting:  # what the network has done already is worth having
                yield from waiting.popleft().result()
            raise
        finally:
            for future in waiting:
                future.cancel()


def _prepared(detector: Detector, sources: Iterable[Image],
              readers: ThreadPoolExecutor) -> Iterator[list[tuple[Image, Prepared | ImageError]]]:
    """Groups of up to a batch of images that could be read; those that could not stand between them."""
    rest = iter(sources)
    ahead: deque[tuple[Image, Future[Prepared | ImageError]]] = deque()
    group: list[tuple[Image, Prepared | ImageError]] = []
    readable = 0

    def fill() -> None:
        for source in islice(rest, detector.batch * _BATCHES_AHEAD + _READERS - len(ahead)):
            ahead.append((source, readers.submit(_prepare, detector, source)))

    fill()
    while ahead:
        source, future = ahead.popleft()
        prepared = future.result()
        group.append((source, prepared))
        readable += not isinstance(prepared, ImageError)
        fill()
        if readable == detector.batch:
            yield group
            group, readable = [], 0
    if group:
        yield group


def _prepare(detector: Detector, source: Image) -> Prepared | ImageError:
    try:
        return detector.prepare(source)
    except ImageError as error:
        return error


def _start(detector: Detector, group: list[tuple[Image, Prepared | ImageError]], finisher: ThreadPoolExecutor,
           finish: Callable[[Outcome], None] | None) -> Future[list[Outcome | Unreadable]]:
    """Run the network here; leave the rest to the finisher."""
    detector.network.reset_state()  # photographs do not follow from each other
    inputs = [prepared[1] for _, prepared in group if not isinstance(prepared, ImageError)]
    raw_maps = detector.raw_maps(torch.stack(inputs)) if inputs else []
    return finisher.submit(_finish, detector, group, raw_maps, finish)


def _finish(detector: Detector, group: list[tuple[Image, Prepared | ImageError]], raw_maps: list[Tensor],
            finish: Callable[[Outcome], None] | None) -> list[Outcome | Unreadable]:
    placements = [prepared[2] for _, prepared in group if not isinstance(prepared, ImageError)]
    found = iter(detector.interpret(raw_maps, placements) if placements else [])
    outcomes: list[Outcome | Unreadable] = []
    for source, prepared in group:
        if isinstance(prepared, ImageError):
            outcomes.append(Unreadable(source, prepared))
            continue
        outcome = Outcome(source, prepared[0], next(found))
        if finish is not None:
            finish(outcome)
        outcomes.append(outcome)
    return outcomes
