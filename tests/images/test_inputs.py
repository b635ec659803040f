"""Images as programs hold them: every kind gives the pixels of the file."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from darknet_builder.errors import ImageError, InputError, TruncatedImageWarning
from darknet_builder.images.files import decode_image, read_image
from darknet_builder.images.inputs import as_sequence, to_array
from tests.helpers.pictures import message, photo

BGR = photo(7, 5)
CLIPPED = (
    " a channel, and PIL would clip them; give the path of the file, or scale the values to 0 to"
    " 255 and convert it to RGB"
)
TRUNCATED = Path(__file__).parents[1] / "data" / "truncated.jpg"


class Pil:
    """What is used of a PIL image."""

    def __init__(self, rgb: object, mode: str = "RGB") -> None:
        self.rgb, self.mode, self.size = rgb, mode, (7, 5)

    def convert(self, mode: str) -> Any:
        assert mode == "RGB"
        if isinstance(self.rgb, Exception):
            raise self.rgb
        return self.rgb


class Broken(io.BytesIO):
    """A file that fails while it is read."""

    def read(self, size: int | None = -1, /) -> bytes:
        raise OSError(5, "Input/output error")


@pytest.fixture
def png(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), BGR)
    return path


@pytest.mark.parametrize(
    ("make", "channels"),
    [
        (str, "bgr"),
        (lambda path: path, "rgb"),
        (lambda path: BGR, "bgr"),
        (lambda path: BGR[..., ::-1], "rgb"),
        (lambda path: cv2.cvtColor(BGR, cv2.COLOR_BGR2RGBA), "rgb"),
        (lambda path: path.read_bytes(), "bgr"),
        (lambda path: bytearray(path.read_bytes()), "rgb"),
        (lambda path: memoryview(path.read_bytes()), "bgr"),
        (lambda path: io.BytesIO(path.read_bytes()), "bgr"),
        (lambda path: Pil(BGR[..., ::-1]), "bgr"),
        (lambda path: Pil(BGR[..., ::-1]), "rgb"),
    ],
)
def test_every_kind_gives_the_pixels_of_the_file(
    make: Callable[[Path], Any], channels: str, png: Path
) -> None:
    array = to_array(make(png), channels)
    assert array.flags.c_contiguous and np.array_equal(array, BGR)


def test_an_open_file(png: Path) -> None:
    with png.open("rb") as file:
        assert np.array_equal(to_array(file), BGR)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "RGBA", "LA"])
def test_images_of_pil(mode: str, tmp_path: Path) -> None:
    """As the file that PIL writes of it."""
    pil = pytest.importorskip("PIL.Image")
    image = pil.fromarray(np.ascontiguousarray(BGR[..., ::-1])).convert(mode)
    image.save(tmp_path / "a.png")
    assert as_sequence(image) == ([image], True)
    assert np.array_equal(to_array(image), read_image(tmp_path / "a.png"))


def test_a_list_is_not_an_image() -> None:
    for images in ([BGR], (b"",), []):
        assert as_sequence(images) == (images, False)
    assert all(
        as_sequence(image)[1] for image in (BGR, b"", "a", Path("a"), Pil(BGR), io.BytesIO())
    )
    with pytest.raises(InputError, match="got a Tensor$"):
        as_sequence(torch.zeros(3, 4, 4))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (b"", "<bytes>: the file is empty"),
        (bytearray(), "<bytes>: the file is empty"),
        (b"GIF?", "<bytes>: not an image that OpenCV can read"),
        (io.BytesIO(), "<BytesIO>: the file is empty"),
        (
            io.StringIO("x"),
            "<StringIO>: read() returned str, not bytes; open the file in mode 'rb'",
        ),
        (Broken(), "<Broken>: cannot be read: Input/output error"),
        (
            Pil(OSError("image file is truncated\n(3 bytes)")),
            "Pil of PIL: cannot be converted to RGB: image file is truncated (3 bytes)",
        ),
        (Pil(struct.error()), "Pil of PIL: cannot be converted to RGB: error"),
        (
            Pil(BGR, "I;16"),
            f"Pil of PIL: mode I;16 has more than 8 bits{CLIPPED}",
        ),
        (
            Pil(BGR, "F"),
            f"Pil of PIL: mode F has more than 8 bits{CLIPPED}",
        ),
        (
            Pil(None),
            "expected a path or a NumPy array (H, W, 3) of uint8 in BGR order, as cv2.imread"
            " returns it; got an array of object",
        ),
        (
            Pil(np.zeros((0, 4, 3), np.uint8)),
            "expected an image of shape (H, W, 3), one or more pixels wide and high, got (0, 4, 3);"
            " give several images as a list",
        ),
    ],
)
def test_mistakes(image: Any, text: str) -> None:
    with pytest.raises((ImageError, InputError)) as caught:
        to_array(image)
    assert str(caught.value) == text


def test_a_closed_file(png: Path) -> None:
    with png.open("rb") as file:
        pass
    with pytest.raises(ImageError) as caught:
        to_array(file)
    assert str(caught.value) == f"{png}: cannot be read: read of closed file"


def test_unknown_channels() -> None:
    assert message(to_array, BGR, "rbg") == "channels=rbg: expected bgr or rgb; did you mean 'rgb'?"
    assert message(to_array, np.zeros((4, 4), np.float32), "rgb").endswith(
        "got an array of float32"
    )


def test_bytes_that_end_too_early_are_read_up_to_there() -> None:
    with pytest.warns(TruncatedImageWarning, match="^<bytes>: the file ends too early"):
        image = decode_image(TRUNCATED.read_bytes())
    with pytest.warns(TruncatedImageWarning):
        assert np.array_equal(image, read_image(TRUNCATED))
