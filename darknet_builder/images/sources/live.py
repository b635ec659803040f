"""Webcams and network streams, of which only the newest frame is kept.

A network that is slower than a camera would otherwise work on older and older frames::

    camera    0  1  2  3  4  5  6  7  8  9     a thread reads them all
    consumer  0        3        6        9     takes the newest one when it is ready
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from darknet_builder.errors import ImageError, InputError
from darknet_builder.images.sources.connection import connect, device_name, parse_device
from darknet_builder.images.video import DEFAULT_FPS, Frame, fps_and_length
from darknet_builder.support.text import plural
from darknet_builder.support.web.addresses import file_stem

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
"""Seconds before the first attempt to reconnect; doubled for each further one up to the second."""
GRACE = 5.0
"""Seconds that OpenCV may take longer than its own limits before it counts as hung."""


class LiveSource:
    """A webcam or a network stream that yields its newest frame.

    A thread reads all frames, and replaces the one that waits. If no frame comes for ``timeout``
    seconds, or the connection ends, it connects again: after 0.5 seconds, then after twice as long
    each time. A recorded video at a web address has a known length: none of its frames are
    dropped, and its end is the end.

    Args:
        address: the number of a webcam, as an integer or as text, or an address that begins with
            ``rtsp://``, ``rtsps://``, ``http://`` or ``https://``.
        timeout: seconds without a frame after which the connection counts as lost.
        reconnects: number of attempts to connect again, 0 or more. A connection that lasts longer
            than ``timeout`` starts the count again.

    Attributes:
        name: ``webcam 0``, or the address without user name and password.
        fps: frames per second; 25 if the source does not say.
        num_frames: number of frames of a recorded video; 0 for a live source.
        num_received: number of frames that were received.
        num_dropped: number of frames that were replaced by newer ones.
        num_reconnects: number of times that it connected again.

    Raises:
        InputError: if ``address`` is neither, or a number is out of range.

    Example:
        >>> LiveSource("rtsp://ann:secret@camera:554/1").name
        'rtsp://camera:554/1'
    """

    def __init__(self, address: str | int, *, timeout: float = 10.0, reconnects: int = 3) -> None:
        if not 0 < timeout < threading.TIMEOUT_MAX:
            raise InputError("expected a number above 0", argument="timeout", value=timeout)
        if reconnects < 0:
            raise InputError("expected 0 or more", argument="reconnects", value=reconnects)
        self._device = parse_device(address)
        self._timeout, self._reconnects = timeout, reconnects
        self.name = device_name(self._device)
        self.fps, self.num_frames = DEFAULT_FPS, 0
        self.num_received = self.num_dropped = self.num_reconnects = 0
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._newest: Frame | None = None
        self._has_ended = False
        self._failure: str | None = None
        self._busy_since: float | None = None
        self._attempts, self._opened = 0, 0.0

    @property
    def stem(self) -> str:
        """A name for files about this source, such as ``webcam-0``."""
        return f"webcam-{self._device}" if isinstance(self._device, int) else file_stem(self.name)

    def __str__(self) -> str:
        return self.name

    def __enter__(self) -> LiveSource:
        """Connect, and start to read.

        Raises:
            ImageError: if it cannot be opened.
            InputError: if it was opened before.
            MissingExtraError: if OpenCV is not installed or cannot be loaded.
        """
        if self._thread is not None:
            raise InputError(f"{self.name}: a live source can be opened once; make another one")
        capture = connect(self._device, self._timeout)
        self.fps, self.num_frames = fps_and_length(capture)
        if self.num_frames:
            self._reconnects = 0  # a recorded video would begin again
        self._opened = time.monotonic()
        # A daemon: a thread that hangs in a driver must not keep the program from ending.
        self._thread = threading.Thread(target=self._read, args=(capture,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop reading and disconnect; what ``frames`` yields ends."""
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(self._timeout + GRACE)

    def frames(self) -> Iterator[np.ndarray]:
        """Yield the newest frame as (H, W, 3) uint8 in BGR order, each one once.

        Raises:
            ImageError: if the connection is lost and cannot be made again.
            InputError: if the source has not been opened.
        """
        for frame in self.numbered():
            yield frame.image

    def numbered(self) -> Iterator[Frame]:
        """Yield the newest frame with its number and its time, each one once.

        Raises:
            ImageError: if the connection is lost and cannot be made again.
            InputError: if the source has not been opened.
        """
        if self._thread is None:
            raise InputError(f"{self.name}: is not open; use the source in a with statement")
        while (frame := self._take()) is not None:
            yield frame
        if self._failure is not None and not self._closing.is_set():
            raise ImageError(self._failure, path=self.name)

    def _take(self) -> Frame | None:
        """Wait for a frame; None at the end."""
        with self._changed:
            while self._newest is None and not (self._has_ended or self._closing.is_set()):
                self._changed.wait(0.5)  # to look whether the thread hangs
                busy = self._busy_since
                if busy is not None and time.monotonic() - busy > self._timeout + GRACE:
                    self._failure = self._lost("OpenCV does not answer")
                    self._has_ended = True
            frame, self._newest = self._newest, None
            self._changed.notify_all()
            return frame

    # ---- the reading thread ----------------------------------------------------------------------

    def _read(self, capture: Any) -> None:
        """Read until the end, and connect again where needed."""
        try:
            while capture is not None:
                reason = self._read_connection(capture)
                capture.release()
                capture = self._restore(reason) if reason else None
        finally:
            with self._changed:
                self._has_ended = True
                self._changed.notify_all()

    def _read_connection(self, capture: Any) -> str:
        """Read until a connection ends; return why, or an empty text for a regular end."""
        connected = time.monotonic()
        while not self._closing.is_set():
            self._busy_since = started = time.monotonic()
            decoded, image = capture.read()
            self._busy_since = None
            if not decoded:
                if time.monotonic() - started >= self._timeout:
                    return f"no frame for {self._timeout:g} seconds"
                # Nobody asked to connect again, so the end of a stream is not a failure.
                return "the stream ended" if self._reconnects else ""
            if started - connected > self._timeout:
                self._attempts = 0
            self._offer(np.asarray(image))
        return ""

    def _restore(self, reason: str) -> Any:
        """Connect again after longer and longer waits; return None when the attempts are used."""
        while self._attempts < self._reconnects:
            if self._closing.wait(min(FIRST_WAIT * 2**self._attempts, LONGEST_WAIT)):
                return None
            self._attempts += 1
            try:
                capture = connect(self._device, self._timeout)
            except ImageError as error:
                reason = error.message
            else:
                self.num_reconnects += 1
                return capture
        self._failure = self._lost(reason)
        return None

    def _offer(self, image: np.ndarray) -> None:
        """Put a frame where ``_take`` finds it, in place of the one that was not taken."""
        with self._changed:
            while self.num_frames and self._newest is not None and not self._closing.is_set():
                self._changed.wait(0.5)  # a recorded video waits until its frame is taken
            self.num_dropped += self._newest is not None
            passed = time.monotonic() - self._opened
            time_ = self.num_received / self.fps if self.num_frames else passed
            self._newest = Frame(image, self.num_received, time_)
            self.num_received += 1
            self._changed.notify_all()

    def _lost(self, reason: str) -> str:
        """Return the message about a connection that is not made again."""
        frames = f"{self.num_received} {plural(self.num_received, 'frame')}"
        tries = "1 attempt" if self._reconnects == 1 else f"{self._reconnects} attempts"
        tried = f", and not restored in {tries}" if self._reconnects else ""
        return f"the stream was lost after {frames}{tried}: {reason}"
