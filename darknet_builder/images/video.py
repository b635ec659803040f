"""Read video files frame by frame, and write MPEG-4."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
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
DEFAULT_FPS = 25.0
"""The frame rate of a video or a stream that does not state it."""


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture of a video or a live source.

    Attributes:
        image: (H, W, 3) uint8, channels in BGR order.
        number: number of the frame, counted from 0; frames that were dropped count as well.
        time: seconds since the beginning of the video, or since a live source was opened.
    """

    image: np.ndarray
    number: int
    time: float


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

    def numbered(self) -> Iterator[Frame]:
        """Yield each frame with its number and its time."""
        for number, image in enumerate(self.frames()):
            yield Frame(image, number, number / self.fps)


def sample(
    frames: Iterable[Frame], every: int = 1, most: int | None = None
) -> Generator[Frame, None, None]:
    """Yield the first frame and then each ``every``-th one.

    If the frame in turn was dropped, the next one is taken.

    Args:
        frames: what ``numbered`` yields.
        every: 1 or more.
        most: number of frames to yield, 1 or more; None for all.

    Example:
        >>> image = np.zeros((2, 2, 3), np.uint8)
        >>> received = [Frame(image, number, number / 25) for number in (0, 1, 2, 5, 6, 7)]
        >>> [frame.number for frame in sample(received, 3, most=2)]
        [0, 5]
    """
    due = 0
    for frame in frames:
        if frame.number < due:
            continue
        due = frame.number + every
        yield frame
        if most is not None:
            most -= 1
            if most <= 0:  # before the next frame is decoded
                return


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
        yield Video(str(path), *fps_and_length(capture), capture)
    finally:
        capture.release()


def fps_and_length(capture: Any) -> tuple[float, int]:
    """Return the frames per second and the number of frames that a video states.

    Args:
        capture: an open ``cv2.VideoCapture``.

    Returns:
        25 frames per second and 0 frames where it does not say.
    """
    cv2 = load_opencv()
    # OpenCV returns 0, infinity or a negative number for what the file does not say.
    fps, count = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
    infinity = float("inf")
    num_frames = int(count) if 0 < count < infinity else 0
    return fps if 0 < fps < infinity else DEFAULT_FPS, num_frames


@contextmanager
def write_video(path: str | Path, fps: float) -> Iterator[Callable[[np.ndarray], None]]:
    """Open a new MPEG-4 video; the file appears when the block succeeds.

    Args:
        path: the file to create or replace.
        fps: frame rate in frames per second.

    Yields:
        A function that appends a frame, (H, W, 3) uint8 in BGR order. Frames of another size than
        the first one are resized to it; the codec drops an odd last row or column.

    Raises:
        InputError: if the file cannot be written.
    """
    cv2 = load_opencv()
    writer = cv2.VideoWriter()
    size = (0, 0)

    def append(frame: np.ndarray) -> None:
        nonlocal size
        # The codec needs the size, which only the first frame tells.
        if not writer.isOpened():
            size = (frame.shape[1], frame.shape[0])
        elif size != (frame.shape[1], frame.shape[0]):  # OpenCV would leave it out silently
            frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
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
