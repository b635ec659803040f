"""Non-maximum suppression of detections, in place: ``do_nms_sort`` and ``do_nms_obj`` (box.c)."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np
import torch

from darknet_builder.boxes.nms import best_of_groups, nms_by_class
from darknet_builder.compat.darknet.structures import DETECTION


def do_nms_sort(detections: list[DETECTION], num: int, classes: int, nms: float) -> None:
    """Set the probability of a class to 0 where a better box of that class overlaps too much.

    Args:
        detections: from ``get_network_boxes``; changed and reordered.
        num: number of detections to read, from the first.
        classes: number of classes of the network.
        nms: NMS IoU threshold, 0 to 1. As in ``darknet.py``, the cfg's ``nms_kind`` has no effect.

    Example:
        >>> from darknet_builder.compat.darknet.structures import BOX
        >>> boxes = [BOX(20, 20, 8, 8), BOX(20, 20, 8, 9)]
        >>> detections = [DETECTION(box, 1, 0, array("f", [0.5]), 0.5) for box in boxes]
        >>> detections[1].prob[0] = 0.75
        >>> do_nms_sort(detections, 2, 1, 0.45)
        >>> [detection.prob[0] for detection in detections]
        [0.75, 0.0]
    """
    found = _with_objectness(detections, num)
    if not found:
        return
    boxes, scores = _boxes(found), _scores(found, classes)
    kept = nms_by_class(torch.from_numpy(boxes), torch.from_numpy(scores), nms).numpy()
    for detection, row in zip(found, kept, strict=True):
        detection.prob[:classes] = array("f", row.tobytes())
    # Darknet sorts by the probability of each class in turn, from the first to the last, and its
    # qsort (glibc) is stable: the last class decides, among equals the one before it, and so on.
    # A class whose probabilities are all 0 does not change the order.
    keys = -scores.T[scores.any(0)]
    order = np.lexsort(keys) if len(keys) else np.arange(len(found))
    detections[: len(found)] = [found[row] for row in order]


def do_nms_obj(detections: list[DETECTION], num: int, classes: int, nms: float) -> None:
    """Set all probabilities of a box to 0 where one of higher objectness overlaps too much.

    Unlike in ``do_nms_sort``, boxes of different classes suppress each other.

    Args:
        detections: from ``get_network_boxes``; changed and reordered.
        num: number of detections to read, from the first.
        classes: number of classes of the network.
        nms: NMS IoU threshold, 0 to 1.

    Example:
        >>> from darknet_builder.compat.darknet.structures import BOX
        >>> boxes = [BOX(20, 20, 8, 8), BOX(20, 20, 8, 9)]
        >>> detections = [DETECTION(box, 1, 0, array("f", [0.5]), 0.5) for box in boxes]
        >>> detections[1].objectness = 0.75
        >>> do_nms_obj(detections, 2, 1, 0.45)
        >>> [(detection.objectness, detection.prob[0]) for detection in detections]
        [(0.75, 0.5), (0.0, 0.0)]
    """
    found = _with_objectness(detections, num)
    objectness = np.array([detection.objectness for detection in found], np.float32)
    equal = np.zeros(len(found), np.int64)
    keep = best_of_groups(_boxes(found), objectness, equal, nms)
    for row in np.flatnonzero(~keep):
        found[row].objectness = 0.0
        found[row].prob[:classes] = array("f", bytes(4 * classes))
    order = np.argsort(-objectness, kind="stable")
    detections[: len(found)] = [found[row] for row in order]


def _with_objectness(detections: list[DETECTION], num: int) -> list[DETECTION]:
    """Move detections without objectness to the end, and return the others."""
    found = [detection for detection in detections[:num] if detection.objectness != 0]
    rest = [detection for detection in detections[:num] if detection.objectness == 0]
    detections[:num] = found + rest
    return found


def _boxes(detections: Sequence[DETECTION]) -> np.ndarray:
    """Return (N, 4) float32: centre and size."""
    boxes = [(box.x, box.y, box.w, box.h) for box in (found.bbox for found in detections)]
    return np.array(boxes, np.float32).reshape(-1, 4)


def _scores(detections: Sequence[DETECTION], classes: int) -> np.ndarray:
    """Return (N, classes) float32."""
    return np.array([detection.prob[:classes] for detection in detections], np.float32)
