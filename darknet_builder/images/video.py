"""Video files: read frame by frame, and write MPEG-4."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from darknet_builder.errors import ImageError, InputError
from darknet_builder.images.opencv import load_opencv
from darknet_builder.support.files import atomic_path, writing

VIDEO_SUFFIXES = (
    ".mp4",
    ".m4v",
    ".mov",
    ".avi",
    ".mkv",
    ".webm",
    ".mpg",
    ".mpeg",
    ".ts",
    ".wmv",
    ".flv",
    ".ogv",
)
_DEFAULT_FPS = 25.0


@dataclass(frozen=True)
class Video:
    """An open video file.

    Attributes:
        path: the file.
        fps: frames a second; 25 where the file does not say.
        num_frames: what the file says, which may be wrong; 0 where it does not.
    """

    path: str
    fps: float
    num_frames: int
    _capture: Any

    def frames(self) -> Iterator[np.ndarray]:
        """Each frame as an image, turned upright, until the end or the first one that cannot be
        decoded.
        """
        while True:
            found, frame = self._capture.read()
            if not found:
                return
            yield np.asarray(frame)


@contextmanager
def open_video(path: str | Path) -> Iterator[Video]:
    """A video file for reading.

    Raises:
        ImageError: for a file that cannot be read or is no video.
        MissingExtraError: without a working OpenCV.
    """
    cv2 = load_opencv()
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise ImageError(f"{error.strerror or error}", path=path) from None
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise ImageError("is no video that OpenCV can read", path=path)
        fps, count = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
        yield Video(
            str(path),
            fps if 0 < fps < float("inf") else _DEFAULT_FPS,
            int(count) if count > 0 else 0,
            capture,
        )
    finally:
        capture.release()


@contextmanager
def write_video(path: str | Path, fps: float) -> Iterator[Callable[[np.ndarray], None]]:
    """A function that appends a frame to a new video (MPEG-4); the file appears when the block ends
    well.

    All frames must have the first one's size; the codec drops an odd last row and column.

    Raises:
        InputError: when the file cannot be written.
    """
    cv2 = load_opencv()
    writer = cv2.VideoWriter()

    def append(frame: np.ndarray) -> None:
        size = (frame.shape[1], frame.shape[0])
        if not writer.isOpened() and not writer.open(
            str(temporary), cv2.VideoWriter_fourcc(*"mp4v"), fps, size
        ):
            raise InputError(
                f"OpenCV cannot write a video of {size[0]}x{size[1]} pixels there", path=path
            )
        writer.write(frame)

    with writing(path), atomic_path(path) as temporary:
        try:
            yield append
        finally:
            writer.release()
