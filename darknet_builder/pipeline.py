"""Many images through a detector, its stages overlapped: while the network works on one batch, the next is read and
resized and the last is interpreted, drawn and written."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from darknet_builder.detections import Detections
from darknet_builder.errors import ImageError
from darknet_builder.prefetch import read_ahead
from darknet_builder.resize import Placement

if TYPE_CHECKING:
    from darknet_builder.detector import Detector, Image

    _Group = list[tuple[Image, "Prepared | ImageError"]]

_BATCHES_AHEAD = 2
"""How many batches may be with the finisher while the network is at the next."""
_WORTH_COMPILING = 10
"""From how many batches on compiling comes first: it costs the time of two more than at the third one."""
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


def stream(detector: Detector, sources: Iterable[Image], finish: Callable[[Outcome], None] | None = None, *,
           expected: int = 0) -> Generator[Outcome | Unreadable, None, None]:
    """Detect in many images, ``detector.batch`` at a time.

    Args:
        detector: without memory of frames.
        sources: files or arrays, as the detector takes them; read only as far ahead as is needed.
        finish: called in another thread with each image that could be read, in order: draw and write there.
        expected: how many sources there may be, where ``len(sources)`` cannot tell.

    Yields:
        The outcome of every source, in order, after ``finish`` is done with it.

    Raises:
        InputError: for what is no image; whatever ``finish`` raises.
    """
    many = (len(sources) if isinstance(sources, Sized) else expected) >= _WORTH_COMPILING * detector.batch
    with closing(_prepared(detector, sources)) as groups, ThreadPoolExecutor(1) as finisher:
        waiting: deque[Future[list[Outcome | Unreadable]]] = deque()
        try:
            for group in groups:
                if many:
                    detector.warm_up(detector.batch)  # once, while the readers go on
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


def frames_ahead(frames: Iterator[np.ndarray], batch: int) -> Generator[np.ndarray, None, None]:
    """The frames of a video, decoded in a thread of their own, two batches ahead."""
    with closing(read_ahead(lambda _: next(frames, None), repeat(None), batch=batch, threads=1)) as ahead:
        for frame in ahead:
            if frame is None:
                return
            yield frame


def _prepared(detector: Detector, sources: Iterable[Image]) -> Generator[_Group, None, None]:
    """Groups of up to a batch of images that could be read; those that could not stand between them."""
    group: _Group = []
    readable = 0
    with closing(read_ahead(partial(_prepare, detector), sources, batch=detector.batch)) as ahead:
        for source, prepared in ahead:
            group.append((source, prepared))
            readable += not isinstance(prepared, ImageError)
            if readable == detector.batch:
                yield group
                group, readable = [], 0
    if group:
        yield group


def _prepare(detector: Detector, source: Image) -> tuple[Image, Prepared | ImageError]:
    try:
        return source, detector.prepare(source)
    except ImageError as error:
        return source, error


def _start(detector: Detector, group: _Group, finisher: ThreadPoolExecutor,
           finish: Callable[[Outcome], None] | None) -> Future[list[Outcome | Unreadable]]:
    """Run the network here; leave the rest to the finisher."""
    detector.network.reset_state()  # photographs do not follow from each other
    inputs = [prepared[1] for _, prepared in group if not isinstance(prepared, ImageError)]
    raw_maps = detector.raw_maps(torch.stack(inputs)) if inputs else []
    return finisher.submit(_finish, detector, group, raw_maps, finish)


def _finish(detector: Detector, group: _Group, raw_maps: list[Tensor],
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
