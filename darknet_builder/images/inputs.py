"""Convert an image as programs hold it to an array (H, W, 3) of uint8 in BGR order.

A path, an array, a PIL image, the bytes of an image file, and a file object are accepted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeGuard, cast

import numpy as np

from darknet_builder.errors import ImageError, InputError, did_you_mean
from darknet_builder.images.files import Buffer, check_image, decode_image, read_image
from darknet_builder.support.web.remote import RemoteFile

CHANNEL_ORDERS = ("bgr", "rgb")
_WIDE_MODES = ("I", "F")
"""Beginnings of PIL's modes with more than 8 bits: ``I``, ``I;16``, ``I;16B``, ``F``."""


class BinaryFile(Protocol):
    """An open file, or anything else with ``read``."""

    def read(self) -> bytes:
        """Return the whole content."""


class PilImage(Protocol):
    """A PIL image, or anything else with its ``size`` and ``convert``; PIL is not imported."""

    @property
    def size(self) -> tuple[int, int]:
        """Return (width, height) in pixels."""

    def convert(self, mode: str) -> Any:
        """Return the image in another mode."""


Image: TypeAlias = str | Path | RemoteFile | np.ndarray | Buffer | BinaryFile | PilImage
"""A path, a file at an address, an array (H, W, 3) of uint8, the bytes of an image file, a file
object or a PIL image."""


def as_sequence(images: Image | Sequence[Image]) -> tuple[Sequence[Image], bool]:
    """Return the images of a call as a sequence, and whether the call was given a single image.

    Args:
        images: one image, or a sequence of them.

    Raises:
        InputError: if it is neither.

    Example:
        >>> as_sequence("photo.jpg"), as_sequence(["photo.jpg"])
        ((['photo.jpg'], True), (['photo.jpg'], False))
    """
    # Text and bytes are sequences too, but those of an image belong together.
    if isinstance(images, str | Path | RemoteFile | np.ndarray | Buffer):
        return [images], True
    if _is_pil(images) or _is_file(images):
        return [images], True
    if not isinstance(images, Sequence):
        check_image(cast(np.ndarray, images))  # raises, and says what was expected
    return cast(Sequence[Image], images), False


def to_array(image: Image, channels: str = "bgr") -> np.ndarray:
    """Return the pixels of an image.

    Files and bytes are rotated as their EXIF orientation says; a PIL image is used as it is.

    Args:
        image: see ``Image``.
        channels: channel order of an array: ``bgr`` or ``rgb``. Does not affect other images.

    Returns:
        (H, W, 3) uint8, channels in BGR order. An array in BGR order is returned unchanged and
        unchecked.

    Raises:
        ImageError: if a file cannot be read or an image cannot be decoded.
        InputError: if ``image`` or ``channels`` is not one of the accepted values.

    Example:
        >>> red = np.array([[[255, 0, 0]]], np.uint8)
        >>> to_array(red, "rgb").tolist()
        [[[0, 0, 255]]]
    """
    if channels not in CHANNEL_ORDERS:
        raise InputError(
            f"expected {' or '.join(CHANNEL_ORDERS)}",
            argument="channels",
            value=channels,
            hint=did_you_mean(str(channels), CHANNEL_ORDERS),
        )
    if isinstance(image, str | Path | RemoteFile):
        return read_image(image)
    if isinstance(image, Buffer):
        return decode_image(image)
    if _is_pil(image):
        return _from_pil(image)
    if _is_file(image):
        return _from_file(image)
    array = cast(np.ndarray, image)
    return array if channels == "bgr" else _reverse(check_image(array))


def _is_pil(value: object) -> TypeGuard[PilImage]:
    return hasattr(value, "convert") and hasattr(value, "size")


def _is_file(value: object) -> TypeGuard[BinaryFile]:
    return hasattr(value, "read")


def _reverse(array: np.ndarray) -> np.ndarray:
    """Turn RGB into BGR; OpenCV takes contiguous arrays only."""
    return np.ascontiguousarray(array[..., ::-1])


def _from_pil(image: PilImage) -> np.ndarray:
    name, mode = f"{type(image).__name__} of PIL", str(getattr(image, "mode", ""))
    if mode.startswith(_WIDE_MODES):
        # convert("RGB") would clip these at 255: white, where a file of 16 bits is read as 8.
        raise InputError(
            f"{name}: mode {mode} has more than 8 bits a channel, and PIL would clip them",
            hint="give the path of the file, or scale the values to 0 to 255 and convert it to RGB",
        )
    try:
        pixels = np.asarray(image.convert("RGB"))
    # Any exception: PIL reads a file only now, and raises OSError, SyntaxError, struct.error, ...
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"{name}: cannot be converted to RGB: {reason}") from None
    return _reverse(check_image(pixels))


def _from_file(file: BinaryFile) -> np.ndarray:
    name = getattr(file, "name", None)
    source = name if isinstance(name, str) else f"<{type(file).__name__}>"
    try:
        data = file.read()
    except ImageError:
        raise  # it has its own name and reason
    except (OSError, ValueError) as error:  # ValueError: the file is closed
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"cannot be read: {reason}", path=source) from None
    if not isinstance(data, Buffer):
        raise InputError(
            f"read() returned {type(data).__name__}, not bytes; open the file in mode 'rb'",
            path=source,
        )
    return decode_image(data, source)
