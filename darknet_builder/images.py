"""Image files and arrays -> what the network takes, and the ``Placement`` that leads boxes back.

An image in this package is an array (H, W, 3) of uint8 with the channels in the order blue, green, red, as
``cv2.imread`` and ``cv2.VideoCapture`` give it. Networks see red, green, blue in [0, 1]. OpenCV is imported here alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from darknet_builder.errors import ImageError, InputError, MissingExtraError, did_you_mean
from darknet_builder.files import atomic_path

RESIZE_MODES = ("stretch", "letterbox")
_STRIP = 16
"""How many new rows are computed at once: their values stay in a core's cache, and in memory that is there already."""
CANVAS = .5
"""What surrounds a letterboxed image (image.c:1006)."""
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jp2", ".png", ".bmp", ".dib", ".webp", ".avif", ".gif", ".tif", ".tiff",
                  ".pbm", ".pgm", ".ppm", ".pnm")
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".ogv")
_DEFAULT_FPS = 25.0
_READERS = 2
_BATCHES_AHEAD = 2
_Item = TypeVar("_Item")
_Read = TypeVar("_Read")


def load_opencv() -> ModuleType:
    """The module ``cv2``.

    Raises:
        MissingExtraError: where it is not installed, or lacks a library of the system, with what to install.
    """
    try:
        return import_module("cv2")
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"OpenCV is not installed ({error}): pip install opencv-python, or "
                                "opencv-python-headless, which needs no libraries of the system") from None
    except ImportError as error:
        raise MissingExtraError(
            f"OpenCV cannot be loaded: {error}; install the libraries of the system that it needs (Debian, Ubuntu: "
            "apt-get install libgl1 libglib2.0-0), or take the build that needs none "
            "(pip uninstall opencv-python, then pip install opencv-python-headless)") from None


# ---- files --------------------------------------------------------------------------------------------


def read_image(path: str | Path) -> np.ndarray:
    """An image file, turned as its EXIF orientation says -> (H, W, 3) uint8, blue, green, red.

    Grey images get three equal channels, an alpha channel is dropped, 16 bits become 8, as in ``cv2.imread``.

    Raises:
        ImageError: for a file that cannot be read or is no image.
        MissingExtraError: without a working OpenCV.
    """
    cv2 = load_opencv()
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror or error}") from None
    if not data.size:
        raise ImageError(f"{path}: the file is empty")
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ImageError(f"{path}: cannot be decoded: {error.err}") from None
    if image is None:
        raise ImageError(f"{path}: is no image that OpenCV can read")
    return np.asarray(image)


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write (H, W, 3) uint8, blue, green, red; the format follows the file's suffix. The whole file, or nothing.

    Raises:
        InputError: for a suffix that OpenCV cannot write, or when the file cannot be written.
    """
    cv2 = load_opencv()
    try:
        _, data = cv2.imencode(Path(path).suffix, image)
    except cv2.error as error:
        raise InputError(f"{path}: cannot be written: {error.err}") from None
    try:
        with atomic_path(path) as temporary:
            temporary.write_bytes(data.tobytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None


def check_image(image: np.ndarray) -> np.ndarray:
    """An array from outside -> (H, W, 3) uint8; grey ones are repeated, an alpha channel is dropped.

    Raises:
        InputError: for anything that is no image.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        got = f"an array of {image.dtype}" if isinstance(image, np.ndarray) else f"a {type(image).__name__}"
        raise InputError(f"expected a path or a NumPy array (H, W, 3) of uint8 with blue, green, red as cv2 gives, "
                         f"got {got}")
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4) or not image.size:
        raise InputError("expected an image of shape (H, W, 3), one or more pixels wide and high, "
                         f"got {image.shape}; give several images as a list")
    return image.repeat(3, 2) if image.shape[2] == 1 else image[..., :3]


def read_ahead(read: Callable[[_Item], _Read], items: Iterable[_Item], *, batch: int,
               threads: int = _READERS) -> Generator[_Read, None, None]:
    """``read(item)`` of every item, in order; while some are used, threads are at the next ones.

    Args:
        read: called in those threads.
        items: taken in the caller's thread, two batches ahead.
        batch: how many are used at once.
        threads: with one, ``read`` is never called twice at a time.

    Raises:
        Whatever ``read`` raises, at the item's turn.
    """
    rest = iter(items)
    with ThreadPoolExecutor(threads) as readers:
        waiting: deque[Future[_Read]] = deque()
        try:
            while True:
                for item in islice(rest, batch * _BATCHES_AHEAD + threads - len(waiting)):
                    waiting.append(readers.submit(read, item))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


# ---- videos -------------------------------------------------------------------------------------------


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
        """Each frame as an image, turned upright, until the end or the first one that cannot be decoded."""
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
        raise ImageError(f"{path}: {error.strerror or error}") from None
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise ImageError(f"{path}: is no video that OpenCV can read")
        fps, count = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
        yield Video(str(path), fps if 0 < fps < float("inf") else _DEFAULT_FPS, int(count) if count > 0 else 0, capture)
    finally:
        capture.release()


@contextmanager
def write_video(path: str | Path, fps: float) -> Iterator[Callable[[np.ndarray], None]]:
    """A function that appends a frame to a new video (MPEG-4); the file appears when the block ends well.

    All frames must have the first one's size; the codec drops an odd last row and column.

    Raises:
        InputError: when the file cannot be written.
    """
    cv2 = load_opencv()
    writer = cv2.VideoWriter()

    def append(frame: np.ndarray) -> None:
        size = (frame.shape[1], frame.shape[0])
        if not writer.isOpened() and not writer.open(str(temporary), cv2.VideoWriter_fourcc(*"mp4v"), fps, size):
            raise InputError(f"{path}: OpenCV cannot write a video of {size[0]}x{size[1]} pixels there")
        writer.write(frame)

    try:
        with atomic_path(path) as temporary:
            try:
                yield append
            finally:
                writer.release()
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None


# ---- resizing -----------------------------------------------------------------------------------------


def check_resize(resize: str) -> str:
    """The name of a way of resizing.

    Raises:
        InputError: for an unknown one.
    """
    if resize not in RESIZE_MODES:
        raise InputError(f"resize={resize!r} is unknown; expected {' or '.join(RESIZE_MODES)}"
                         f"{did_you_mean(resize, RESIZE_MODES)}")
    return resize


@dataclass(frozen=True)
class Placement:
    """Where an image lies within the network's input; all sizes are (width, height) in pixels.

    Attributes:
        image_size: of the image itself.
        net_size: of the network's input.
        inner_size: of the image after resizing: the whole input, or less where it is letterboxed.
    """

    image_size: tuple[int, int]
    net_size: tuple[int, int]
    inner_size: tuple[int, int]

    @classmethod
    def plan(cls, image_size: tuple[int, int], net_size: tuple[int, int], resize: str) -> Placement:
        """Stretch over the whole input, or letterbox: as large as fits with its own aspect ratio (image.c:1006).

        Raises:
            InputError: for an unknown way of resizing.
        """
        if check_resize(resize) == "stretch":
            return cls(image_size, net_size, net_size)
        (width, height), (net_width, net_height) = image_size, net_size
        # float32 and truncation decide as in Darknet. An extreme shape keeps one pixel, where Darknet's has none.
        if np.float32(net_width) / np.float32(width) < np.float32(net_height) / np.float32(height):
            return cls(image_size, net_size, (net_width, max(1, height * net_width // width)))
        return cls(image_size, net_size, (max(1, width * net_height // height), net_height))

    @property
    def offset(self) -> tuple[int, int]:
        """(x, y) in pixels of the input at which the image begins."""
        return (self.net_size[0] - self.inner_size[0]) // 2, (self.net_size[1] - self.inner_size[1]) // 2

    def undo(self, boxes_cxcywh: np.ndarray) -> np.ndarray:
        """Boxes relative to the network's input -> relative to the image (yolo_layer.c:939).

        Darknet takes half the margin as it is, although the image was pasted at a whole pixel.

        Args:
            boxes_cxcywh: (..., 4) float32; a tensor of the CPU counts as such an array.

        Returns:
            (..., 4) float32; the given array itself where the image fills the input.
        """
        boxes_cxcywh = np.asarray(boxes_cxcywh)
        if self.inner_size == self.net_size:
            return boxes_cxcywh
        net, inner = np.array(self.net_size, np.float32), np.array(self.inner_size, np.float32)  # (2,) each
        centre = (boxes_cxcywh[..., :2] - (net - inner) / 2 / net) / (inner / net)
        return np.concatenate((centre, boxes_cxcywh[..., 2:] / (inner / net)), -1)


def to_input(image: np.ndarray, net_size: tuple[int, int], resize: str = "stretch",
             channels: int = 3) -> tuple[Tensor, Placement]:
    """An image -> (``channels``, H, W) float32 in [0, 1], red, green, blue or grey, and where it lies there.

    Args:
        image: (H, W, 3) uint8, blue, green, red.
        net_size: (width, height) of the network's input in pixels.
        resize: ``stretch`` or ``letterbox``.
        channels: 3, or 1 for a network that sees grey.

    Raises:
        InputError: for what is no image, another number of channels or an unknown way of resizing.
    """
    image = check_image(image)
    if channels not in (1, 3):
        raise InputError(f"the network takes {channels} channels; images have 3, or 1 as grey")
    if channels == 1:
        cv2 = load_opencv()
        image = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_BGR2GRAY)[..., None]
    placement = Placement.plan((image.shape[1], image.shape[0]), net_size, resize)
    resized = resize_bilinear(image, placement.inner_size)
    if placement.inner_size == net_size:
        return resized, placement
    canvas = np.full((channels, net_size[1], net_size[0]), CANVAS, np.float32)
    left, top = placement.offset
    canvas[:, top:top + resized.shape[1], left:left + resized.shape[2]] = resized.numpy()
    return torch.from_numpy(canvas), placement


def resize_bilinear(image: np.ndarray, size: tuple[int, int]) -> Tensor:
    """(H, W, C) uint8 -> (C, height, width) float32 in [0, 1] with the channels reversed (image.c:1399).

    Bilinear with aligned corners and no smoothing, like ``torch.nn.functional.interpolate(..., align_corners=True)``,
    but bit for bit Darknet's float32, and only the pixels that are read are ever converted: a photograph of 12
    megapixels takes as long as a small one.

    Args:
        image: at least one pixel.
        size: (width, height) of the result in pixels.
    """
    # NumPy: PyTorch would start a team of threads for each thread that reads images.
    width, height = size
    channels = image.shape[2]
    left, right, x_weight = _taps(image.shape[1], width)
    # Along x the last new place is the last old one. Along y only the second of the two is left out there, so that
    # Darknet's last row is black for every height whose last place falls a hair short in float32 (240 -> 416).
    left[-1], x_weight[-1] = image.shape[1] - 1, 0
    above, below, y_weight = _taps(image.shape[0], height)
    below_weight = np.append(y_weight[:-1], np.float32(0))
    needed, places = np.unique(np.concatenate((above, below)), return_inverse=True)
    uppers, lowers = places[:height], places[height:]
    channel = np.arange(channels)[::-1, None]
    lefts, rights = ((columns * channels + channel).ravel() for columns in (left, right))  # (C * width,)
    shares = np.tile(x_weight, channels)
    resized = np.empty((channels, height, width), np.float32)
    for start in range(0, height, _STRIP):
        strip = slice(start, start + _STRIP)
        top, bottom = uppers[strip][0], lowers[strip][-1]
        rows = image[needed[top:bottom + 1]].reshape(bottom + 1 - top, -1)  # (rows, W * C)
        across = _weighted(rows.take(lefts, 1), 1 - shares)
        across += _weighted(rows.take(rights, 1), shares)
        upper, lower = across.take(uppers[strip] - top, 0), across.take(lowers[strip] - top, 0)
        upper *= (1 - y_weight[strip])[:, None]
        lower *= below_weight[strip][:, None]
        upper += lower
        resized[:, strip] = upper.reshape(-1, channels, width).swapaxes(0, 1)
    return torch.from_numpy(resized)


def _weighted(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """uint8 -> float32 in [0, 1], times a weight."""
    unit = np.divide(values, np.float32(255), dtype=np.float32)
    unit *= weight
    return unit


def _taps(length: int, new_length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each new place along an axis, the two old ones it lies between, and how near it is to the second."""
    step = np.float32(length - 1) / np.float32(max(new_length - 1, 1))
    place = np.arange(new_length, dtype=np.float32) * step
    first = np.minimum(place.astype(np.int64), length - 1)
    second = np.minimum(first + 1, length - 1)
    return first, second, place - first.astype(np.float32)
