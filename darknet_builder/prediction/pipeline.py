"""Detect in many images with overlapped stages.

While the network works on one batch, threads read and resize the next one, and another thread
interprets, draws and writes the previous one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from darknet_builder.boxes.detections import Detections
from darknet_builder.errors import ImageError
from darknet_builder.images.prefetch import read_ahead
from darknet_builder.images.video import Frame
from darknet_builder.network.batch_memory import explaining_memory

if TYPE_CHECKING:
    from darknet_builder.images.inputs import Image
    from darknet_builder.prediction.detector import Detector, Prepared

_BATCHES_AHEAD = 2
"""Maximum number of finished batches queued for the writer thread."""
_WORTH_COMPILING = 10
"""Compile up front when at least this many batches are expected; for fewer it costs more than it
saves."""

_Frame = TypeVar("_Frame")


@dataclass(frozen=True)
class Outcome:
    """An image and its detections.

    Attributes:
        source: the path, array or frame that was given.
        image: (H, W, 3) uint8, channels in BGR order.
        detections: the objects in the image.
        picture: the image with the objects drawn on it; None if nobody has drawn them.
    """

    source: Image | Frame
    image: np.ndarray
    detections: Detections
    picture: np.ndarray | None = None


@dataclass(frozen=True)
class Unreadable:
    """A file that cannot be read as an image.

    Attributes:
        source: the path that was given.
        error: the reason, with the file's path.
    """

    source: Image | Frame
    error: ImageError


@dataclass
class _Group:
    """The sources of one batch, in order.

    At most ``batch`` of them are readable; the files between them that cannot be read are included.
    """

    items: list[tuple[Image | Frame, Prepared | ImageError]] = field(default_factory=list)

    @property
    def readable(self) -> list[Prepared]:
        """Return the images that could be read."""
        return [prepared for _, prepared in self.items if not isinstance(prepared, ImageError)]


def stream(
    detector: Detector,
    sources: Iterable[Image | Frame],
    finish: Callable[[Outcome], Outcome | None] | None = None,
    *,
    expected: int = 0,
) -> Generator[Outcome | Unreadable, None, None]:
    """Detect in many images, ``detector.batch`` at a time.

    Args:
        detector: its network must not be recurrent.
        sources: frames, or images as the detector accepts them; read two batches ahead.
        finish: called in the writer thread with each image that could be read, in order; the place
            to select, draw and write. If it returns an outcome, that one is yielded instead.
        expected: number of sources if ``sources`` has no length; 0 if unknown.

    Yields:
        The outcome of every source, in order, after ``finish`` has returned.

    Raises:
        InputError: if an array is not an image, or memory is short. Exceptions of ``finish`` are
            raised as well.

    Example:
        >>> from darknet_builder import Detector
        >>> from darknet_builder.support.bundled import default_model
        >>> images = [np.zeros((60, 80, 3), np.uint8)] * 3
        >>> for outcome in stream(Detector(*default_model(), batch=2), images):
        ...     print(len(outcome.detections))
        0
        0
        0
    """
    count = len(sources) if isinstance(sources, Sized) else expected
    worth_compiling = count >= _WORTH_COMPILING * detector.batch
    with closing(_prepared(detector, sources)) as groups, ThreadPoolExecutor(1) as writer:
        waiting: deque[Future[list[Outcome | Unreadable]]] = deque()
        try:
            for group in groups:
                if worth_compiling:
                    detector.warm_up(detector.batch)  # only once; the readers continue meanwhile
                waiting.append(_run_network(detector, group, writer, finish))
                while len(waiting) > _BATCHES_AHEAD:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        except KeyboardInterrupt:
            while waiting:  # keep the batches that the network has already computed
                yield from waiting.popleft().result()
            raise
        finally:
            for future in waiting:
                future.cancel()


def frames_ahead(frames: Iterator[_Frame], batch: int) -> Generator[_Frame, None, None]:
    """Yield the frames of a video, decoded in a separate thread two batches ahead.

    Args:
        frames: the iterator returned by ``Video.frames`` or ``Video.numbered``.
        batch: number of frames that the caller uses at once.
    """
    # One thread: a decoder gives its frames in order, and only one call at a time. The items
    # have no meaning; each call of `read` takes the next frame.
    with closing(
        read_ahead(lambda _: next(frames, None), repeat(None), batch=batch, threads=1)
    ) as ahead:
        for frame in ahead:
            if frame is None:
                return
            yield frame


def _prepared(
    detector: Detector, sources: Iterable[Image | Frame]
) -> Generator[_Group, None, None]:
    """Read ahead, and yield groups with a full batch of readable images.

    The last group may have fewer.
    """
    group = _Group()
    size = detector.images_at_once
    with closing(read_ahead(partial(_prepare, detector), sources, batch=size)) as ahead:
        for source, prepared in ahead:
            group.items.append((source, prepared))
            if len(group.readable) == size:
                yield group
                group = _Group()
    if group.items:
        yield group


def _prepare(
    detector: Detector, source: Image | Frame
) -> tuple[Image | Frame, Prepared | ImageError]:
    try:
        return source, detector.prepare(source.image if isinstance(source, Frame) else source)
    except ImageError as error:
        return source, error


def _run_network(
    detector: Detector,
    group: _Group,
    writer: ThreadPoolExecutor,
    finish: Callable[[Outcome], Outcome | None] | None,
) -> Future[list[Outcome | Unreadable]]:
    """Run the network in this thread, and pass the rest of the work to the writer thread."""
    detector.network.reset_state()  # photographs are independent of each other
    prepared = group.readable
    with explaining_memory(detector.network, len(prepared)):
        interpret = detector.start(prepared) if prepared else _nothing
    return writer.submit(_write, group, interpret, finish)


def _nothing() -> list[Detections]:
    """Return the detections of a group in which no file is readable."""
    return []


def _write(
    group: _Group,
    interpret: Callable[[], list[Detections]],
    finish: Callable[[Outcome], Outcome | None] | None,
) -> list[Outcome | Unreadable]:
    """Interpret what the network found in a group and hand each image to ``finish``."""
    detections = iter(interpret())
    outcomes: list[Outcome | Unreadable] = []
    for source, prepared in group.items:
        if isinstance(prepared, ImageError):
            outcomes.append(Unreadable(source, prepared))
            continue
        outcome = Outcome(source, prepared.image, next(detections))
        replaced = finish(outcome) if finish is not None else None
        outcomes.append(replaced or outcome)
    return outcomes
