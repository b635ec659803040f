"""Read and write image files as arrays (H, W, 3) of uint8 in BGR order."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import numpy as np

from darknet_builder.errors import ImageError, InputError
from darknet_builder.images.header import check_header, too_many_pixels
from darknet_builder.images.opencv import load_opencv
from darknet_builder.images.truncated import complete, lacks_end, warn_truncated
from darknet_builder.support.files import atomic_path, read_bounded, writing
from darknet_builder.support.web.remote import FilePath

Buffer: TypeAlias = bytes | bytearray | memoryview
"""The contents of a file in memory."""
_MOST_BYTES = 2**31 - 1
"""The largest file that OpenCV decodes."""
IMAGE_SUFFIXES = (
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jp2",
    ".png",
    ".bmp",
    ".dib",
    ".webp",
    ".avif",
    ".gif",
    ".tif",
    ".tiff",
    ".pbm",
    ".pgm",
    ".ppm",
    ".pnm",
)


def read_image(path: str | FilePath) -> np.ndarray:
    """Read an image file, rotated as its EXIF orientation says.

    As in ``cv2.imread``, grey images get three equal channels, an alpha channel is dropped and 16
    bits become 8. A JPEG whose end is missing gives the pixels of ``cv2.imread`` and a
    ``TruncatedImageWarning``.

    Args:
        path: an image in a format that OpenCV knows, on this machine or at an address.

    Returns:
        (H, W, 3) uint8, channels in BGR order.

    Raises:
        ImageError: if the file cannot be read or is not an image.
        MissingExtraError: if OpenCV is not installed or cannot be loaded.
    """
    load_opencv()
    try:
        # Not cv2.imread: on Windows it cannot open paths with characters beyond ASCII.
        data = read_bounded(path, _MOST_BYTES)
    except OSError as error:
        raise ImageError(f"{error.strerror or error}", path=path) from None
    return decode_image(data, path)


def decode_image(data: Buffer | np.ndarray, source: str | FilePath = "<bytes>") -> np.ndarray:
    """Decode the contents of an image file, as ``read_image`` does.

    Args:
        data: the whole file, as bytes or as an array (N,) of uint8.
        source: path or name of the file, for messages.

    Returns:
        (H, W, 3) uint8, channels in BGR order.

    Raises:
        ImageError: if it is not an image.
        MissingExtraError: if OpenCV is not installed or cannot be loaded.

    Example:
        >>> ppm = b"P6 2 1 255 " + bytes([255, 0, 0, 0, 0, 255])  # a red and a blue pixel
        >>> decode_image(ppm).tolist()
        [[[0, 0, 255], [255, 0, 0]]]
    """
    load_opencv()
    if not len(data):
        raise ImageError("the file is empty", path=source)
    content = bytes(data)
    check_header(content, source)
    image = _decode(content, source)
    if image is not None:
        return image
    whole = complete(content)
    image = None if whole is None else _decode(whole, source)
    if image is None and lacks_end(content):
        raise ImageError("the PNG ends too early", path=source, hint="copy or download it again")
    if image is None:
        raise ImageError("not an image that OpenCV can read", path=source)
    warn_truncated(source)
    return image


def _decode(data: bytes, path: str | FilePath) -> np.ndarray | None:
    """Decode the bytes of a file; None if OpenCV cannot."""
    cv2 = load_opencv()
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        if "CV_IO_MAX_IMAGE" in str(error.err):
            raise too_many_pixels(path) from None
        raise ImageError(f"cannot be decoded: {error.err}", path=path) from None
    return None if image is None else np.asarray(image)


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write an image file completely or not at all; the suffix selects the format.

    Args:
        path: the file to create or replace.
        image: (H, W, 3) uint8, channels in BGR order.

    Raises:
        InputError: if OpenCV cannot write this format, or the file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_image(f"{folder}/grey.png", np.full((2, 3, 3), 128, np.uint8))
        ...     read_image(f"{folder}/grey.png").shape
        (2, 3, 3)
    """
    cv2 = load_opencv()
    try:
        _, data = cv2.imencode(Path(path).suffix, image)
    except cv2.error as error:
        raise InputError(f"cannot be written: {error.err}", path=path) from None
    with writing(path), atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())


def encode_jpeg(image: np.ndarray, quality: int) -> bytes:
    """Return an image as the contents of a JPEG file.

    Args:
        image: (H, W, 3) uint8, channels in BGR order.
        quality: 0 to 100.

    Example:
        >>> data = encode_jpeg(np.full((2, 3, 3), 128, np.uint8), quality=90)
        >>> decode_image(data).shape
        (2, 3, 3)
    """
    cv2 = load_opencv()
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return bytes(data.tobytes())


def check_image(image: np.ndarray) -> np.ndarray:
    """Check an array and return it with three channels.

    Grey images are repeated three times, an alpha channel is dropped.

    Args:
        image: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) uint8.

    Returns:
        (H, W, 3) uint8, which may share memory with ``image``.

    Raises:
        InputError: if it is not an array of uint8 or has another shape.

    Example:
        >>> check_image(np.zeros((2, 3), np.uint8)).shape
        (2, 3, 3)
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        is_array = isinstance(image, np.ndarray)
        got = f"an array of {image.dtype}" if is_array else f"a {type(image).__name__}"
        raise InputError(
            "expected a path or a NumPy array (H, W, 3) of uint8 in BGR order, as cv2.imread"
            f" returns it; got {got}"
        )
    if image.ndim == 2:
        image = image[..., None]  # (H, W) -> (H, W, 1)
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4) or not image.size:
        raise InputError(
            "expected an image of shape (H, W, 3), one or more pixels wide and high, "
            f"got {image.shape}; give several images as a list"
        )
    # (H, W, 1 or 3 or 4) -> (H, W, 3): grey three times, or without the transparency.
    return image.repeat(3, 2) if image.shape[2] == 1 else image[..., :3]
