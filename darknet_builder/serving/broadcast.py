"""Detect in the frames of one source, and hand the results to everybody who watches.

The source is open only while somebody watches. A client that is too slow misses frames.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from typing import NamedTuple

from darknet_builder.boxes.drawing import draw_detections
from darknet_builder.boxes.records import Record, json_document
from darknet_builder.errors import DarknetError, InputError
from darknet_builder.images.files import encode_jpeg
from darknet_builder.images.sources.live import LiveSource
from darknet_builder.images.video import Frame, open_video
from darknet_builder.serving.detection_queue import DetectionQueue
from darknet_builder.serving.messages import json_line, refusal

OpenFrames = Callable[[], AbstractContextManager[Iterator[Frame]]]
"""Opens a source, and closes it at the end of the block."""
MOST_WATCHERS = 32
_JPEG_QUALITY = 82
_FRAMES_KEPT = 100
"""Number of lines that are kept for a watcher who reads slowly; of pictures, the newest is kept."""


class Shown(NamedTuple):
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
        self._frames: asyncio.Queue[Shown | None] = asyncio.Queue(1 if pictures else _FRAMES_KEPT)

    async def next(self) -> Shown | None:
        """Wait for the next frame; None at the end."""
        return await self._frames.get()

    def give(self, frame: Shown | None) -> None:
        """Hand over a frame, from any thread; None ends the stream."""
        with suppress(RuntimeError):  # the server was ended at once, and its loop is closed
            self._loop.call_soon_threadsafe(self._put, frame)

    def end(self, reason: str) -> None:
        """End the stream, from any thread."""
        self.reason = reason
        self.give(None)

    def _put(self, frame: Shown | None) -> None:
        if self._frames.full():
            self._frames.get_nowait()
        self._frames.put_nowait(frame)


class Broadcast:
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
        self._last: threading.Thread | None = None  # may still be closing the source
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
                self._thread = threading.Thread(
                    target=self._run, args=(self._last,), name="live", daemon=True
                )
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

    def _run(self, last: threading.Thread | None) -> None:
        if last is not None:
            last.join()  # two threads cannot have one camera open
        reason = "the program failed on this source; the log of the server has the reason"
        try:
            with self._open() as frames:
                for frame in frames:
                    if not self._show(frame):
                        return
            reason = f"{self.name}: the source has ended"
        except DarknetError as error:
            reason = str(error)
        except RuntimeError:
            if not self._is_closed:  # else the queue takes no more frames
                raise
        finally:
            self._finish(reason)

    def _finish(self, reason: str) -> None:
        """End all streams, unless they already belong to the next thread."""
        with self._lock:
            if self._thread is not threading.current_thread():
                return
            self._thread = None
        self._end(reason)

    def _show(self, frame: Frame) -> bool:
        """Detect in a frame and hand it out; return False if nobody watches."""
        with self._lock:
            if not self._watchers:
                # Whoever joins from now on gets another thread.
                self._last, self._thread = self._thread, None
                return False
            watchers = tuple(self._watchers)
        found = self._work.submit(frame.image).result()
        (record,) = json_document([Record(self.name, found, frame.number)])["images"]
        picture = b""
        if any(watcher.pictures for watcher in watchers):
            picture = encode_jpeg(draw_detections(frame.image, found), _JPEG_QUALITY)
        for watcher in watchers:
            watcher.give(Shown(json_line(record), picture))
        return True

    def _end(self, reason: str) -> None:
        with self._lock:
            watchers, self._watchers = self._watchers, set()
        for watcher in watchers:
            watcher.end(reason)


def open_source(word: str) -> tuple[str, OpenFrames]:
    """Return the name of a source, and the function that opens it.

    The frames of recorded videos arrive at the speed at which they were filmed; those that are late
    are left out. Of cameras and streams, the newest frame is taken.

    Args:
        word: path of a video file, the number of a webcam, or an address as for ``LiveSource``.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from darknet_builder.images.video import write_video
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with write_video(f"{folder}/clip.mp4", fps=100) as append:
        ...         append(np.zeros((48, 64, 3), np.uint8))
        ...     name, open_frames = open_source(f"{folder}/clip.mp4")
        ...     with open_frames() as frames:
        ...         [frame.number for frame in frames]
        [0]
        >>> open_source("rtsp://ann:secret@camera/1")[0]
        'rtsp://camera/1'
    """
    if not os.path.exists(word):
        with suppress(InputError):  # neither a number nor an address: a file that is missing
            return LiveSource(word).name, partial(_live_frames, word)
    return word, partial(_video_frames, word)


@contextmanager
def _live_frames(word: str) -> Iterator[Iterator[Frame]]:
    with LiveSource(word) as source:
        frames = source.numbered()
        yield _paced(frames, source.fps) if source.num_frames else frames


@contextmanager
def _video_frames(path: str) -> Iterator[Iterator[Frame]]:
    with open_video(path) as video:
        yield _paced(video.numbered(), video.fps)


def _paced(frames: Iterator[Frame], fps: float) -> Iterator[Frame]:
    start: float | None = None  # when a frame of time 0 is due
    for frame in frames:
        now = time.monotonic()
        start = now - frame.time if start is None else start
        late = now - start - frame.time
        if late < 1 / fps:
            time.sleep(max(0.0, -late))
            yield frame
