"""Detect in many images with overlapped stages: while the network works on one batch, threads read
and resize the next and interpret, draw and write the last.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from darknet_builder.boxes.detections import Detections
from darknet_builder.errors import ImageError
from darknet_builder.images.prefetch import read_ahead

if TYPE_CHECKING:
    from darknet_builder.prediction.detector import Detector, Image, Prepared

_BATCHES_AHEAD = 2
"""Maximum number of finished batches queued for the writer thread."""
_WORTH_COMPILING = 10
"""Compile up front when at least this many batches are expected; for fewer it costs more than it
saves."""


@dataclass(frozen=True)
class Outcome:
    """An image and the objects in it."""

    source: Image
    image: np.ndarray
    detections: Detections


@dataclass(frozen=True)
class Unreadable:
    """A file that cannot be read as an image, and why."""

    source: Image
    error: ImageError


@dataclass
class _Group:
    """Up to a batch of images that could be read, and those between them that could not, in
    order.
    """

    items: list[tuple[Image, Prepared | ImageError]] = field(default_factory=list)

    @property
    def readable(self) -> list[Prepared]:
        """Those that could be read."""
        return [prepared for _, prepared in self.items if not isinstance(prepared, ImageError)]


def stream(
    detector: Detector,
    sources: Iterable[Image],
    finish: Callable[[Outcome], None] | None = None,
    *,
    expected: int = 0,
) -> Generator[Outcome | Unreadable, None, None]:
    """Detect in many images, ``detector.batch`` at a time.

    Args:
        detector: of a network that is not recurrent.
        sources: files or arrays, as the detector takes them; read only as far ahead as is needed.
        finish: called in the writer thread with each image that could be read, in order: draw and
            write there.
        expected: number of sources, where ``len(sources)`` cannot tell; 0 if unknown.

    Yields:
        The outcome of every source, in order, after ``finish`` is done with it.

    Raises:
        InputError: for what is no image; whatever ``finish`` raises.
    """
    many = (
        len(sources) if isinstance(sources, Sized) else expected
    ) >= _WORTH_COMPILING * detector.batch
    with closing(_prepared(detector, sources)) as groups, ThreadPoolExecutor(1) as writer:
        waiting: deque[Future[list[Outcome | Unreadable]]] = deque()
        try:
            for group in groups:
                if many:
                    detector.warm_up(detector.batch)  # once, while the readers go on
                waiting.append(_run_network(detector, group, writer, finish))
                while len(waiting) > _BATCHES_AHEAD:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        except KeyboardInterrupt:
            while waiting:  # batches that the network has already done are worth having
                yield from waiting.popleft().result()
            raise
        finally:
            for future in waiting:
                future.cancel()


def frames_ahead(frames: Iterator[np.ndarray], batch: int) -> Generator[np.ndarray, None, None]:
    """The frames of a video, decoded in a thread of their own, two batches ahead."""
    with closing(
        read_ahead(lambda _: next(frames, None), repeat(None), batch=batch, threads=1)
    ) as ahead:
        for frame in ahead:
            if frame is None:
                return
            yield frame


def _prepared(detector: Detector, sources: Iterable[Image]) -> Generator[_Group, None, None]:
    """Read ahead, and yield groups with a whole batch of readable images; the last one may have
    fewer.
    """
    group = _Group()
    with closing(read_ahead(partial(_prepare, detector), sources, batch=detector.batch)) as ahead:
        for source, prepared in ahead:
            group.items.append((source, prepared))
            if len(group.readable) == detector.batch:
                yield group
                group = _Group()
    if group.items:
        yield group


def _prepare(detector: Detector, source: Image) -> tuple[Image, Prepared | ImageError]:
    try:
        return source, detector.prepare(source)
    except ImageError as error:
        return source, error


def _run_network(
    detector: Detector,
    group: _Group,
    writer: ThreadPoolExecutor,
    finish: Callable[[Outcome], None] | None,
) -> Future[list[Outcome | Unreadable]]:
    """Run the network in this thread; leave the rest to the writer thread."""
    detector.network.reset_state()  # photographs do not follow from each other
    inputs = [prepared.x for prepared in group.readable]
    raw_maps = detector.raw_maps(torch.stack(inputs)) if inputs else []
    return writer.submit(_write, detector, group, raw_maps, finish)


def _write(
    detector: Detector,
    group: _Group,
    raw_maps: list[Tensor],
    finish: Callable[[Outcome], None] | None,
) -> list[Outcome | Unreadable]:
    """Interpret the raw maps of a group and hand each image to ``finish``."""
    placements = [prepared.placement for prepared in group.readable]
    found = iter(detector.interpret(raw_maps, placements) if placements else [])
    outcomes: list[Outcome | Unreadable] = []
    for source, prepared in group.items:
        if isinstance(prepared, ImageError):
            outcomes.append(Unreadable(source, prepared))
            continue
        outcome = Outcome(source, prepared.image, next(found))
        if finish is not None:
            finish(outcome)
        outcomes.append(outcome)
    return outcomes
