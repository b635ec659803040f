"""Cropping for classifiers equals Darknet's in plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from darknet_builder.errors import ImageError
from darknet_builder.images.crop import fit_image
from darknet_builder.images.resize import to_input
from tests.helpers.colour_classifier import image, plain


def crop_in_loops(image: np.ndarray, net_size: tuple[int, int]) -> np.ndarray:
    """resize_min and crop_image, with C's integers."""
    height, width = image.shape[:2]
    smallest = net_size[0]
    if width < height:
        size = (smallest, int(height * smallest / width))
    else:
        size = (int(width * smallest / height), smallest)
    resized = to_input(image, size)[0].numpy()
    left, top = (int((length - wanted) / 2) for length, wanted in zip(size, net_size, strict=True))
    cropped = np.zeros((3, net_size[1], net_size[0]), np.float32)
    for row in range(net_size[1]):
        for column in range(net_size[0]):
            y, x = min(max(row + top, 0), size[1] - 1), min(max(column + left, 0), size[0] - 1)
            cropped[:, row, column] = resized[:, y, x]
    return cropped


@pytest.mark.parametrize(
    ("shape", "net_size"),
    [
        ((20, 33), (8, 8)),
        ((33, 20), (8, 8)),
        ((21, 21), (8, 8)),
        ((8, 8), (8, 8)),
        ((5, 30), (8, 8)),
        ((31, 10), (9, 9)),
        ((20, 30), (8, 14)),  # the input is higher than wide: rows beyond the edges are repeated
        ((20, 30), (8, 13)),
        ((30, 20), (14, 8)),
        ((3, 4), (16, 16)),
    ],
)
def test_crop_as_in_plain_loops(shape: tuple[int, int], net_size: tuple[int, int]) -> None:
    picture = image(*shape)
    assert np.array_equal(fit_image(picture, net_size).numpy(), crop_in_loops(picture, net_size))


def test_crop_takes_the_middle() -> None:
    """Of an image twice as wide as high, the outer quarters are left out."""
    picture = plain(0, 0, 0, (16, 32))
    picture[:, 8:24] = 255
    cropped = fit_image(picture, (8, 8))
    assert cropped[:, :, 1:7].min() == 1
    assert fit_image(picture, (8, 8), "stretch").min() == 0


def test_other_ways_are_those_of_detectors() -> None:
    picture = image(20, 33)
    for fit in ("letterbox", "stretch"):
        assert torch.equal(fit_image(picture, (8, 8), fit), to_input(picture, (8, 8), fit)[0])


def test_grey_networks() -> None:
    assert fit_image(image(9, 14), (8, 8), channels=1).shape == (1, 8, 8)


def test_too_thin() -> None:
    with pytest.raises(
        ImageError, match="^900x8 pixels are too thin to crop; use the fit stretch or letterbox$"
    ):
        fit_image(image(8, 900), (8, 8))
    assert fit_image(image(8, 900), (8, 8), "stretch").shape == (3, 8, 8)
