"""Read, check and write image files."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from darknet_builder.errors import ImageError
from darknet_builder.images.files import check_image, read_image, write_image
from darknet_builder.images.resize import to_input
from tests.helpers.pictures import RNG, message, photo

# ---- arrays from outside -------------------------------------------------------------------------


def test_grey_and_alpha_arrays() -> None:
    """Grey is repeated, alpha is dropped."""
    grey = photo(4, 3)[..., 0]
    assert np.array_equal(check_image(grey), np.stack([grey] * 3, -1))
    assert np.array_equal(check_image(grey[..., None]), np.stack([grey] * 3, -1))
    alpha = RNG.integers(0, 256, (3, 4, 4), np.uint8)
    assert np.array_equal(check_image(alpha), alpha[..., :3])


WHAT = "expected a path or a NumPy array (H, W, 3) of uint8 in BGR order, as cv2.imread returns it; got "
SHAPE = "expected an image of shape (H, W, 3), one or more pixels wide and high, got "


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (torch.zeros(3, 4, 4), WHAT + "a Tensor"),
        (None, WHAT + "a NoneType"),
        (np.zeros((4, 4, 3)), WHAT + "an array of float64"),
        (np.zeros((2, 4, 4, 3), np.uint8), SHAPE + "(2, 4, 4, 3); give several images as a list"),
        (np.zeros((4, 4, 2), np.uint8), SHAPE + "(4, 4, 2); give several images as a list"),
        (np.zeros((0, 4, 3), np.uint8), SHAPE + "(0, 4, 3); give several images as a list"),
    ],
)
def test_what_is_no_image(array: object, text: str) -> None:
    """One line says what was expected."""
    assert message(check_image, array) == text


def test_networks_of_other_channels() -> None:
    """Images have three channels."""
    assert (
        message(to_input, photo(4, 4), (4, 4), "stretch", 4)
        == "the network takes 4 channels; images have 3, or 1 as grey"
    )


# ---- files ---------------------------------------------------------------------------------------


def test_png_round_trip(tmp_path: Path) -> None:
    """File names beyond ASCII work as well."""
    image, path = photo(9, 5), tmp_path / "größe 猫.png"
    write_image(path, image)
    assert np.array_equal(read_image(path), image)
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_reading_gives_three_channels_of_eight_bits(tmp_path: Path) -> None:
    """Grey, 16-bit and alpha images are converted."""
    for name, image in {
        "grey": photo(4, 4)[..., 0],
        "deep": RNG.integers(0, 65536, (4, 4, 3), np.uint16),
        "alpha": RNG.integers(0, 256, (4, 4, 4), np.uint8),
    }.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), image)
        read = read_image(tmp_path / f"{name}.png")
        assert (read.shape, read.dtype) == ((4, 4, 3), np.uint8)


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """Put an EXIF segment that holds nothing but the orientation behind the first marker of a
    JPEG."""
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    segment = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, lambda image: image),
        (3, lambda image: image[::-1, ::-1]),
        (6, lambda image: np.rot90(image, -1)),
        (8, lambda image: np.rot90(image)),
        (2, lambda image: image[:, ::-1]),
    ],
)
def test_exif_orientation_is_honoured(tmp_path: Path, orientation: int, turn: object) -> None:
    """A phone's photograph is upright, as in Darknet with OpenCV."""
    image = np.zeros((16, 32, 3), np.uint8)
    image[:8, :16] = 255  # the bright corner says which way is up
    data = cv2.imencode(".jpg", image)[1].tobytes()
    (tmp_path / "photo.jpg").write_bytes(with_orientation(data, orientation))
    expected = turn(image)  # type: ignore[operator]
    read = read_image(tmp_path / "photo.jpg")
    assert read.shape == expected.shape
    assert np.abs(read.astype(int) - expected).max() < 60


def test_files_that_are_no_images(tmp_path: Path) -> None:
    """Each reason is one line."""
    truncated = cv2.imencode(".jpg", photo(64, 64))[1].tobytes()[:600]
    for name, content in {"empty.jpg": b"", "page.jpg": b"<html>", "cut.jpg": truncated}.items():
        (tmp_path / name).write_bytes(content)
    folder = str(tmp_path)
    assert (
        message(read_image, f"{folder}/none.jpg") == f"{folder}/none.jpg: No such file or directory"
    )
    assert message(read_image, folder) == f"{folder}: Is a directory"
    assert message(read_image, f"{folder}/empty.jpg") == f"{folder}/empty.jpg: the file is empty"
    assert (
        message(read_image, f"{folder}/page.jpg")
        == f"{folder}/page.jpg: not an image that OpenCV can read"
    )
    assert (
        message(read_image, f"{folder}/cut.jpg")
        == f"{folder}/cut.jpg: not an image that OpenCV can read"
    )
    with pytest.raises(ImageError):
        read_image(f"{folder}/none.jpg")


def test_files_that_cannot_be_written(tmp_path: Path) -> None:
    """Nothing is left behind."""
    assert message(write_image, tmp_path / "a.xyz", photo(4, 4)).startswith(
        f"{tmp_path}/a.xyz: cannot be written: "
    )
    assert (
        message(write_image, tmp_path / "none" / "a.png", photo(4, 4))
        == f"{tmp_path}/none/a.png: cannot be written: No such file or directory"
    )
    assert not list(tmp_path.iterdir())
