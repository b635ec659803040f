"""Detect in the frames of one source, and hand the results to everybody who watches.

The source is open only while somebody watches. Whoever is too slow misses frames.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from darknet_builder.boxes.drawing import draw_detections
from darknet_builder.boxes.records import Record, json_document
from darknet_builder.errors import DarknetError
from darknet_builder.images.files import encode_jpeg
from darknet_builder.images.video import open_video
from darknet_builder.serving.detection_queue import DetectionQueue
from darknet_builder.serving.messages import json_line, refusal

OpenFrames = Callable[[], AbstractContextManager[Iterator[np.ndarray]]]
"""Opens the source; its frames are (H, W, 3) uint8 in BGR order."""
MOST_WATCHERS = 32
_JPEG_QUALITY = 82
_FRAMES_KEPT = 100
"""Number of lines that are kept for a watcher who reads slowly; of pictures, the newest is kept."""


class Frame(NamedTuple):
    """The result on one frame.

    Attributes:
        line: the record as a line of JSON.
        picture: the annotated frame as JPEG; empty if nobody watches pictures.
    """

    line: bytes
    picture: bytes


class Watcher:
    """Frames for one client.

    Args:
        pictures: whether the client watches pictures, and not lines.

    Attributes:
        pictures: whether the client watches pictures.
        reason: why there are no more frames.
    """

    def __init__(self, pictures: bool) -> None:
        self.pictures = pictures
        self.reason = ""
        self._loop = asyncio.get_running_loop()
        self._frames: asyncio.Queue[Frame | None] = asyncio.Queue(1 if pictures else _FRAMES_KEPT)

    async def next(self) -> Frame | None:
        """Wait for the next frame; None at the end."""
        return await self._frames.get()

    def give(self, frame: Frame | None) -> None:
        """Hand over a frame, from any thread; None ends the stream."""
        self._loop.call_soon_threadsafe(self._put, frame)

    def end(self, reason: str) -> None:
        """End the stream, from any thread."""
        self.reason = reason
        self.give(None)

    def _put(self, frame: Frame | None) -> None:
        if self._frames.full():
            self._frames.get_nowait()
        self._frames.put_nowait(frame)


class LiveSource:
    """A video, a camera or a stream, and who watches it.

    Args:
        work: detects in the frames, between the images of requests.
        name: name of the source in records and messages.
        open_frames: opens the source; called when the first watcher joins.
    """

    def __init__(self, work: DetectionQueue, name: str, open_frames: OpenFrames) -> None:
        self.name = name
        self._work, self._open = work, open_frames
        self._watchers: set[Watcher] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def join(self, *, pictures: bool) -> Watcher:
        """Add a watcher, and open the source for the first one.

        Raises:
            HTTPException: 503 if there are too many, or the server is being stopped.
        """
        watcher = Watcher(pictures)
        with self._lock:
            if self._is_closed or len(self._watchers) >= MOST_WATCHERS:
                raise refusal(503, "too many clients watch this source", retry_after="5")
            self._watchers.add(watcher)
            if self._thread is None:
                # A daemon: a camera that stalls does not keep the program from ending.
                self._thread = threading.Thread(target=self._run, name="live", daemon=True)
                self._thread.start()
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """Remove a watcher; without any, the source is closed."""
        with self._lock:
            self._watchers.discard(watcher)

    def close(self) -> None:
        """End all streams."""
        with self._lock:
            self._is_closed = True
        self._end("the server is being stopped")

    def _run(self) -> None:
        reason = "the source has ended"
        try:
            with self._open() as frames:
                for number, frame in enumerate(frames):
                    if not self._show(number, frame):
                        return  # nobody watches, and `_show` has forgotten this thread
        except DarknetError as error:
            reason = str(error)
        except RuntimeError as error:  # the queue is closed
            reason = str(error)
        self._end(reason, finished=True)

    def _show(self, number: int, frame: np.ndarray) -> bool:
        """Detect in a frame and hand it out; return False if nobody watches."""
        with self._lock:
            if not self._watchers:
                self._thread = None
                return False
            watchers = tuple(self._watchers)
        found = self._work.submit(frame).result()
        (record,) = json_document([Record(self.name, found, number)])["images"]
        picture = b""
        if any(watcher.pictures for watcher in watchers):
            picture = encode_jpeg(draw_detections(frame, found), _JPEG_QUALITY)
        for watcher in watchers:
            watcher.give(Frame(json_line(record), picture))
        return True

    def _end(self, reason: str, *, finished: bool = False) -> None:
        with self._lock:
            watchers, self._watchers = self._watchers, set()
            if finished:
                self._thread = None
        for watcher in watchers:
            watcher.end(reason)


@contextmanager
def video_frames(path: str | Path) -> Iterator[Iterator[np.ndarray]]:
    """Open a video file whose frames arrive at the speed at which they were filmed.

    Args:
        path: a video in a format that OpenCV knows.

    Yields:
        The frames, (H, W, 3) uint8 in BGR order. Late frames are skipped.

    Raises:
        ImageError: if the file cannot be read or is not a video.

    Example:
        >>> import tempfile
        >>> from darknet_builder.images.video import write_video
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with write_video(f"{folder}/clip.mp4", fps=100) as append:
        ...         append(np.zeros((48, 64, 3), np.uint8))
        ...     with video_frames(f"{folder}/clip.mp4") as frames:
        ...         len(list(frames))
        1
    """
    with open_video(path) as video:
        yield _paced(video.frames(), 1 / video.fps)


def _paced(frames: Iterator[np.ndarray], interval: float) -> Iterator[np.ndarray]:
    due = time.monotonic()
    for frame in frames:
        late = time.monotonic() - due
        if late <= interval:
            time.sleep(max(0.0, -late))
            yield frame
        due += interval
