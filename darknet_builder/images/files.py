"""Image files <-> arrays (H, W, 3) of uint8 with the channels in the order blue, green, red."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from darknet_builder.errors import ImageError, InputError
from darknet_builder.images.opencv import load_opencv
from darknet_builder.images.truncated import complete, lacks_end, warn_truncated
from darknet_builder.support.files import atomic_path, writing

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


def read_image(path: str | Path) -> np.ndarray:
    """An image file, turned as its EXIF orientation says -> (H, W, 3) uint8, blue, green, red.

    Grey images get three equal channels, an alpha channel is dropped, 16 bits become 8, as in
    ``cv2.imread``. A JPEG whose end is missing is read as far as it goes, to exactly the pixels of
    ``cv2.imread``, with a ``TruncatedImageWarning``.

    Raises:
        ImageError: for a file that cannot be read or is no image.
        MissingExtraError: without a working OpenCV.
    """
    load_opencv()
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise ImageError(f"{error.strerror or error}", path=path) from None
    if not data.size:
        raise ImageError("the file is empty", path=path)
    image = _decode(data, path)
    if image is not None:
        return image
    whole = complete(data.tobytes())
    image = None if whole is None else _decode(np.frombuffer(whole, np.uint8), path)
    if image is None and lacks_end(data.tobytes()):
        raise ImageError("the PNG ends too early", path=path, hint="copy or download it again")
    if image is None:
        raise ImageError("is no image that OpenCV can read", path=path)
    warn_truncated(path)
    return image


def _decode(data: np.ndarray, path: str | Path) -> np.ndarray | None:
    """Decode the bytes of a file; None if OpenCV cannot."""
    cv2 = load_opencv()
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ImageError(f"cannot be decoded: {error.err}", path=path) from None
    return None if image is None else np.asarray(image)


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write (H, W, 3) uint8, blue, green, red; the format follows the file's suffix. The whole
    file, or nothing.

    Raises:
        InputError: for a suffix that OpenCV cannot write, or when the file cannot be written.
    """
    cv2 = load_opencv()
    try:
        _, data = cv2.imencode(Path(path).suffix, image)
    except cv2.error as error:
        raise InputError(f"cannot be written: {error.err}", path=path) from None
    with writing(path), atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())


def check_image(image: np.ndarray) -> np.ndarray:
    """An array from outside -> (H, W, 3) uint8; grey ones are repeated, an alpha channel is
    dropped.

    Raises:
        InputError: for anything that is no image.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        got = (
            f"an array of {image.dtype}"
            if isinstance(image, np.ndarray)
            else f"a {type(image).__name__}"
        )
        raise InputError(
            "expected a path or a NumPy array (H, W, 3) of uint8 with blue, green, red as cv2"
            f" gives, got {got}"
        )
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4) or not image.size:
        raise InputError(
            "expected an image of shape (H, W, 3), one or more pixels wide and high, "
            f"got {image.shape}; give several images as a list"
        )
    return image.repeat(3, 2) if image.shape[2] == 1 else image[..., :3]
