"""COCO's results file: one JSON object for each box and class, as ``detector valid`` writes it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from darknet_builder.boxes.formats import cxcywh_to_xyxy

# COCO numbers its 80 classes from 1 to 90 and leaves ten numbers out (detector.c:22).
_UNUSED = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
COCO_IDS = tuple(number for number in range(1, 91) if number not in _UNUSED)
"""COCO's category of each of Darknet's 80 classes."""


def result_rows(
    boxes_cxcywh: np.ndarray,
    scores: np.ndarray,
    class_ids: np.ndarray,
    *,
    image_id: int,
    image_size: tuple[int, int],
    category_ids: Sequence[int] = COCO_IDS,
) -> list[str]:
    """Return the JSON object of each row, with Darknet's digits (print_cocos, detector.c:466).

    Boxes are clipped to the image, and become left, top, width and height in pixels.

    Args:
        boxes_cxcywh: (N, 4) float32, relative to the image; a box with several classes has several
            rows.
        scores: (N,) float32, 0 to 1.
        class_ids: (N,) class of each row.
        image_id: COCO's number of the image.
        image_size: (width, height) in pixels.
        category_ids: COCO's category of each class.

    Example:
        >>> boxes = np.array([[0.5, 0.5, 0.25, 0.25]], np.float32)
        >>> scores, class_ids = np.array([0.75], np.float32), np.array([79])
        >>> print(*result_rows(boxes, scores, class_ids, image_id=42, image_size=(640, 480)))
        ... # doctest: +NORMALIZE_WHITESPACE
        {"image_id":42, "category_id":90, "bbox":[240.000000, 180.000000, 160.000000, 120.000000],
        "score":0.750000}
    """
    low, high = clipped_corners(boxes_cxcywh, image_size)
    rows = []
    for corner, size, score, class_id in zip(low, high - low, scores, class_ids, strict=True):
        box = ", ".join(f"{value:f}" for value in (*corner, *size))
        rows.append(
            f'{{"image_id":{image_id}, "category_id":{category_ids[class_id]}, "bbox":[{box}],'
            f' "score":{score:f}}}'
        )
    return rows


def results_text(rows: Iterable[str]) -> str:
    r"""Return the content of a results file.

    Args:
        rows: the JSON object of each row, from ``result_rows``.

    Example:
        >>> results_text(['{"image_id":1}', '{"image_id":2}'])
        '[\n{"image_id":1},\n{"image_id":2}\n]\n'
    """
    return "[\n" + ",\n".join(rows) + "\n]\n"


def clipped_corners(
    boxes_cxcywh: np.ndarray, image_size: tuple[int, int], *, shift: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return (N, 2) the upper left and (N, 2) the lower right corners in pixels.

    As in Darknet, the upper left corners are limited only from below, the others only from above.

    Args:
        boxes_cxcywh: (N, 4) float32, relative to the image.
        image_size: (width, height) in pixels.
        shift: number of the first pixel: 0, or 1 as in Pascal VOC.

    Example:
        >>> low, high = clipped_corners(np.array([[0, 0.5, 0.5, 0.5]], np.float32), (640, 480))
        >>> low.tolist(), high.tolist()
        ([[0.0, 120.0]], [[160.0, 360.0]])
    """
    size = np.array(image_size * 2, np.float32)
    corners = cxcywh_to_xyxy(boxes_cxcywh * size) + np.float32(shift)
    return np.maximum(corners[:, :2], shift), np.minimum(corners[:, 2:], size[:2])
