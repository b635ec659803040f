"""Read video files frame by frame, and write MPEG-4."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from darknet_builder.errors import ImageError, InputError
from darknet_builder.images.header import check_pixels
from darknet_builder.images.opencv import load_opencv
from darknet_builder.support.files import atomic_path, check_regular, writing

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
        path: path of the file.
        fps: frames per second; 25 if the file does not say.
        num_frames: number of frames according to the file, which may be wrong; 0 if unknown.
    """

    path: str
    fps: float
    num_frames: int
    _capture: Any

    def frames(self) -> Iterator[np.ndarray]:
        """Yield each frame as (H, W, 3) uint8 in BGR order, rotated upright.

        The iteration ends at the end of the file or at the first frame that cannot be decoded.
        """
        while True:
            decoded, frame = self._capture.read()
            if not decoded:
                return
            yield np.asarray(frame)


@contextmanager
def open_video(path: str | Path) -> Iterator[Video]:
    """Open a video file for reading, and close it when the block ends.

    Args:
        path: a video in a format that OpenCV knows.

    Yields:
        The open video.

    Raises:
        ImageError: if the file cannot be read or is not a video.
        MissingExtraError: if OpenCV is not installed or cannot be loaded.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with write_video(f"{folder}/clip.mp4", fps=10) as append:
        ...         append(np.zeros((48, 64, 3), np.uint8))
        ...     with open_video(f"{folder}/clip.mp4") as video:
        ...         video.fps, [frame.shape for frame in video.frames()]
        (10.0, [(48, 64, 3)])
    """
    cv2 = load_opencv()
    try:
        check_regular(path)  # VideoCapture does not say why it cannot open a file
    except OSError as error:
        raise ImageError(f"{error.strerror or error}", path=path) from None
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise ImageError("not a video that OpenCV can read", path=path)
        width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        check_pixels(width, int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)), path)
        # OpenCV returns 0, infinity or a negative number for what the file does not say.
        fps, count = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
        if not 0 < fps < float("inf"):
            fps = _DEFAULT_FPS
        yield Video(str(path), fps, int(count) if count > 0 else 0, capture)
    finally:
        capture.release()


@contextmanager
def write_video(path: str | Path, fps: float) -> Iterator[Callable[[np.ndarray], None]]:
    """Open a new MPEG-4 video; the file appears when the block succeeds.

    Args:
        path: the file to create or replace.
        fps: frame rate in frames per second.

    Yields:
        A function that appends a frame, (H, W, 3) uint8 in BGR order. All frames must have the
        size of the first one; the codec drops an odd last row or column.

    Raises:
        InputError: if the file cannot be written.
    """
    cv2 = load_opencv()
    writer = cv2.VideoWriter()

    def append(frame: np.ndarray) -> None:
        # The codec needs the size, which only the first frame tells.
        size = (frame.shape[1], frame.shape[0])
        if not writer.isOpened() and not writer.open(
            str(temporary), cv2.VideoWriter_fourcc(*"mp4v"), fps, size
        ):
            raise InputError(
                f"OpenCV cannot write a video of {size[0]}x{size[1]} pixels", path=path
            )
        writer.write(frame)

    with writing(path), atomic_path(path) as temporary:
        try:
            yield append
        finally:
            writer.release()
        _check_whole(temporary, path)


def _check_whole(written: Path, path: str | Path) -> None:
    """Raise an InputError if a new video cannot be read; OpenCV does not report a full disk."""
    capture = load_opencv().VideoCapture(str(written))
    is_whole = capture.isOpened()
    capture.release()
    if written.stat().st_size and not is_whole:
        raise InputError("cannot be written completely", path=path, hint="is the disk full?")
