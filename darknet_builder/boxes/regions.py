"""The parts of an image that objects cover: cut them out, or make them unrecognisable."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from darknet_builder.boxes.detections import Detections
from darknet_builder.images.files import check_image
from darknet_builder.images.opencv import load_opencv

_MOSAIC_CELLS = 8
"""Number of cells along the longer side of a pixelated object: too few to recognise a face."""
_BLUR_SHARE = 2
"""The window of the blur is half of the object's longer side."""


def cut_objects(image: np.ndarray, detections: Detections) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the index and a copy of the pixels of each object that lies within the image.

    Pixels that a box covers in part are included.

    Args:
        image: (H, W, 3) uint8.
        detections: objects in that image.

    Example:
        >>> image = np.zeros((100, 100, 3), np.uint8)
        >>> detections = Detections([[10, 20, 50.5, 80]], [0.5], [0], ("cat",), (100, 100))
        >>> [(index, crop.shape) for index, crop in cut_objects(image, detections)]
        [(0, (60, 41, 3))]
    """
    for index, place in _places(image, detections):
        yield index, image[place].copy()


def blur_objects(image: np.ndarray, detections: Detections) -> np.ndarray:
    """Return a copy of an image in which objects are blurred.

    Args:
        image: (H, W, 3) uint8.
        detections: the objects to blur.

    Raises:
        InputError: if ``image`` has another shape or type.

    Example:
        >>> image = np.zeros((100, 100, 3), np.uint8)
        >>> image[40:60, 40:60] = 255
        >>> detections = Detections([[30, 30, 70, 70]], [0.5], [0], ("face",), (100, 100))
        >>> int(blur_objects(image, detections).max()) < 200
        True
    """
    cv2 = load_opencv()
    canvas = check_image(image).copy()
    for _, place in _places(canvas, detections):
        region = canvas[place].copy()  # else OpenCV mixes in the pixels around it
        window = max(3, max(region.shape[:2]) // _BLUR_SHARE)
        # Two box filters are close to a Gaussian, and as quick for any size.
        for _ in range(2):
            region = cv2.blur(region, (window, window))
        canvas[place] = region
    return canvas


def pixelate_objects(image: np.ndarray, detections: Detections) -> np.ndarray:
    """Return a copy of an image in which objects are mosaics of at most 8 cells a side.

    Args:
        image: (H, W, 3) uint8.
        detections: the objects to pixelate.

    Raises:
        InputError: if ``image`` has another shape or type.

    Example:
        >>> image = np.arange(10000, dtype=np.uint8).reshape(100, 100)
        >>> detections = Detections([[0, 0, 100, 100]], [0.5], [0], ("face",), (100, 100))
        >>> len(np.unique(pixelate_objects(image, detections))) <= 64
        True
    """
    cv2 = load_opencv()
    canvas = check_image(image).copy()
    for _, place in _places(canvas, detections):
        height, width = canvas[place].shape[:2]
        scale = min(1.0, _MOSAIC_CELLS / max(height, width))
        cells = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.resize(canvas[place], cells, interpolation=cv2.INTER_AREA)
        canvas[place] = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)
    return canvas


def _places(image: np.ndarray, detections: Detections) -> Iterator[tuple[int, tuple[slice, slice]]]:
    """Yield the index of each object and its rows and columns, one or more of each."""
    height, width = image.shape[:2]
    # Corners are rounded outwards, so that a box thinner than a pixel still covers one.
    low = np.floor(detections.boxes_xyxy[:, :2]).clip(0).astype(np.int64)
    high = np.ceil(detections.boxes_xyxy[:, 2:]).clip(max=(width, height)).astype(np.int64)
    for index, ((left, top), (right, bottom)) in enumerate(
        zip(low.tolist(), high.tolist(), strict=True)
    ):
        if left < right and top < bottom:
            yield index, (slice(top, bottom), slice(left, right))
