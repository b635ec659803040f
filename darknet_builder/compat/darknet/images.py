"""Make, load and fit images: ``make_image``, ``copy_image_from_bytes``, ``load_image``, ..."""

from __future__ import annotations

import numpy as np

from darknet_builder.compat.darknet.structures import IMAGE, PathText, as_path
from darknet_builder.errors import InputError
from darknet_builder.images.files import Buffer, read_image
from darknet_builder.images.resize import Placement, paste, resize_bilinear


def make_image(w: int, h: int, c: int) -> IMAGE:
    """Return a black image.

    Args:
        w: width in pixels, 1 or more.
        h: height in pixels, 1 or more.
        c: number of channels: 3 for RGB.

    Raises:
        InputError: if an argument is below 1.

    Example:
        >>> make_image(4, 2, 3).pixels().shape
        (3, 2, 4)
    """
    _check_sizes("make_image", w, h, c)
    return IMAGE(w, h, c, np.zeros(w * h * c, np.float32))


def copy_image_from_bytes(image: IMAGE, pdata: Buffer | np.ndarray) -> None:
    """Replace the pixels of an image.

    Args:
        image: the image that is changed.
        pdata: h * w * c bytes, row by row, with the channels of each pixel together in the order
            RGB: what ``tobytes()`` of an (h, w, c) array returns.

    Raises:
        InputError: if the number of bytes is wrong, or ``pdata`` does not consist of bytes.

    Example:
        >>> image = make_image(1, 1, 3)
        >>> copy_image_from_bytes(image, bytes([255, 0, 51]))
        >>> image.pixels().ravel().tolist()
        [1.0, 0.0, 0.20000000298023224]
    """
    try:
        values = np.frombuffer(pdata, np.uint8)
    except (TypeError, ValueError, BufferError):
        raise InputError(
            f"copy_image_from_bytes: expected bytes, got {type(pdata).__name__}",
            hint="give array.tobytes()",
        ) from None
    expected = image.w * image.h * image.c
    if len(values) != expected:
        raise InputError(
            f"copy_image_from_bytes: got {len(values)} bytes; an image of {image.w} x {image.h} x"
            f" {image.c} has {expected}",
            hint="resize the array to the size of the image first",
        )
    # (h, w, c) -> (c, h, w)
    planes = values.reshape(image.h, image.w, image.c).transpose(2, 0, 1)
    np.divide(planes, np.float32(255), out=image.pixels(), dtype=np.float32)


def load_image(filename: PathText, w: int = 0, h: int = 0) -> IMAGE:
    """Read an image file in RGB.

    Args:
        filename: an image in a format that OpenCV knows.
        w: width to resize to in pixels; 0 for the file's own size.
        h: height to resize to in pixels; 0 for the file's own size.

    Raises:
        InputError: if one of ``w`` and ``h`` is negative.
        ImageError: if the file cannot be read or is not an image. Darknet returns an image of 10 x
            10 pixels instead.

    Example:
        >>> import tempfile
        >>> from darknet_builder.images.files import write_image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_image(f"{folder}/blue.png", np.full((2, 3, 3), (255, 0, 0), np.uint8))
        ...     load_image(f"{folder}/blue.png").pixels()[:, 0, 0].tolist()
        [0.0, 0.0, 1.0]
    """
    array = read_image(as_path(filename))  # (H, W, 3) uint8, BGR
    own_size = (array.shape[1], array.shape[0])
    size = (w, h) if w and h else own_size
    _check_sizes("load_image", *size)
    # resize_bilinear also turns BGR into RGB. Without a change of size it copies.
    return from_pixels(resize_bilinear(array, size).numpy())


def letterbox_image(im: IMAGE, w: int, h: int) -> IMAGE:
    """Return an image of w x h pixels that contains all of ``im``, with grey around it.

    Raises:
        InputError: if ``w`` or ``h`` is below 1.

    Example:
        >>> letterbox_image(make_image(4, 2, 3), 4, 4).pixels()[0, :, 0].tolist()
        [0.5, 0.0, 0.0, 0.5]
    """
    _check_sizes("letterbox_image", w, h)
    placement = Placement.plan((im.w, im.h), (w, h), "letterbox")
    return from_pixels(paste(resized(im, placement.inner_size), placement))


def rgbgr_image(im: IMAGE) -> None:
    """Swap the first and the third channel of an image, in place.

    Raises:
        InputError: if it does not have 3 channels.

    Example:
        >>> image = IMAGE(1, 1, 3, np.array([0.25, 0.5, 0.75], np.float32))
        >>> rgbgr_image(image)
        >>> image.data.tolist()
        [0.75, 0.5, 0.25]
    """
    if im.c != 3:
        raise InputError(f"rgbgr_image: expected an image of 3 channels, got {im.c}")
    pixels = im.pixels()
    pixels[[0, 2]] = pixels[[2, 0]]


def _check_sizes(function: str, *sizes: int) -> None:
    if min(sizes) < 1:
        given = ", ".join(map(str, sizes))
        raise InputError(f"{function}: expected sizes of 1 or more, got {given}")


def from_pixels(pixels: np.ndarray) -> IMAGE:
    """Return an image that shares memory with an array (c, h, w) of float32.

    Example:
        >>> from_pixels(np.zeros((3, 2, 4), np.float32)).w
        4
    """
    channels, height, width = pixels.shape
    return IMAGE(width, height, channels, pixels.reshape(-1))


def resized(im: IMAGE, size: tuple[int, int]) -> np.ndarray:
    """Return the pixels of an image in another size (resize_image in image.c).

    Args:
        im: the image; it is not changed.
        size: (width, height) in pixels.

    Returns:
        (c, height, width) float32; the image's own pixels if it has this size already.

    Example:
        >>> resized(make_image(4, 2, 3), (8, 8)).shape
        (3, 8, 8)
    """
    if (im.w, im.h) == size:
        return im.pixels()
    # (c, h, w) in [0, 1] -> (h, w, c) in [0, 255]. For values k / 255 the product is exactly k.
    # `resize_bilinear` returns channels in reverse order, so they are reversed first.
    array = im.pixels().transpose(1, 2, 0)[..., ::-1] * np.float32(255)
    return resize_bilinear(array, size).numpy()
