"""The pixels that objects cover: cut out, blurred, pixelated."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from darknet_builder.boxes.detections import Detections
from darknet_builder.boxes.regions import blur_objects, cut_objects, pixelate_objects
from darknet_builder.errors import InputError


@pytest.fixture
def image() -> np.ndarray:
    """Noise of 80 x 60 pixels."""
    return np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


def found(*boxes: tuple[float, float, float, float]) -> Detections:
    """Objects of one class in that image."""
    count = len(boxes)
    return Detections(np.reshape(boxes, (-1, 4)), [0.5] * count, [0] * count, ("face",), (80, 60))


def test_crops(image: np.ndarray) -> None:
    """Rounded outwards and cut off at the edges; objects outside give none, thin ones a pixel."""
    objects = found(
        (10, 20, 30, 40),
        (-5.5, 50.2, 3.1, 99),
        (90, 10, 99, 20),
        (7.2, 7.2, 7.3, 7.3),
        (5, 5, 5, 9),
        (5, 5, 9, 5),
    )
    crops = dict(cut_objects(image, objects))
    assert {index: crop.shape[:2] for index, crop in crops.items()} == {
        0: (20, 20),
        1: (10, 4),
        3: (1, 1),
    }
    assert np.array_equal(crops[0], image[20:40, 10:30])
    crops[0][:] = 0
    assert image[20:40, 10:30].any(), "a copy"


@pytest.mark.parametrize("hide", [blur_objects, pixelate_objects])
def test_hidden_objects(
    image: np.ndarray, hide: Callable[[np.ndarray, Detections], np.ndarray]
) -> None:
    """What varied is nearly even; everything else, and the image itself, is unchanged."""
    before = image.copy()
    hidden = hide(image, found((10, 10, 58, 50), (-9, -9, 0, 0)))
    assert np.array_equal(image, before)
    assert hidden[10:50, 10:58].std() < 0.3 * image[10:50, 10:58].std()
    assert abs(hidden[10:50, 10:58].mean() - image[10:50, 10:58].mean()) < 4
    hidden[10:50, 10:58] = image[10:50, 10:58]
    assert np.array_equal(hidden, image)


def test_cells(image: np.ndarray) -> None:
    """At most 8 along the longer side, whatever the size; a small object stays as it is."""
    hidden = pixelate_objects(image, found((0, 0, 80, 40)))[:40]
    assert len(np.unique(hidden.reshape(-1, 3), axis=0)) == 8 * 4
    small = found((3, 3, 9, 10))
    assert np.array_equal(pixelate_objects(image, small), image)


WINDOWS: list[tuple[tuple[int, int, int, int], int]] = [
    ((10, 10, 50, 30), 20),
    ((10, 10, 20, 41), 15),
    ((3, 3, 10, 9), 3),
    ((3, 3, 8, 8), 3),
]


def test_the_window_of_the_blur(image: np.ndarray) -> None:
    """Half of the longer side, 3 pixels or more; two box filters one after the other."""
    for box, window in WINDOWS:
        left, top, right, bottom = box
        region = image[top:bottom, left:right].copy()
        expected = cv2.blur(cv2.blur(region, (window, window)), (window, window))
        assert np.array_equal(blur_objects(image, found(box))[top:bottom, left:right], expected)


MOSAICS: list[tuple[tuple[int, int, int, int], tuple[int, int]]] = [
    ((0, 0, 80, 60), (8, 6)),
    ((0, 0, 80, 4), (8, 1)),
    ((0, 0, 3, 60), (1, 8)),
    ((0, 0, 80, 36), (8, 4)),
    ((0, 0, 9, 9), (8, 8)),
    ((0, 0, 8, 5), (8, 5)),
]


def test_the_cells_of_a_mosaic(image: np.ndarray) -> None:
    """8 along the longer side, at least one along the other."""
    for box, cells in MOSAICS:
        across, down = cells
        hidden = pixelate_objects(image, found(box))[: box[3], : box[2]].astype(int)
        assert ((np.diff(hidden, axis=1) != 0).any((0, 2))).sum() == across - 1
        assert ((np.diff(hidden, axis=0) != 0).any((1, 2))).sum() == down - 1


def test_the_surroundings_do_not_leak(image: np.ndarray) -> None:
    """The blur of an object is made of its own pixels."""
    dark = np.full_like(image, 255)
    dark[10:20, 10:20] = 0
    assert not blur_objects(dark, found((10, 10, 20, 20)))[10:20, 10:20].any()


@pytest.mark.parametrize("hide", [blur_objects, pixelate_objects])
def test_not_an_image(hide: Callable[[np.ndarray, Detections], np.ndarray]) -> None:
    """One line."""
    with pytest.raises(InputError, match="expected a path or a NumPy array"):
        hide(np.zeros((60, 80, 3)), found((0, 0, 9, 9)))
