"""Pure tensor functions on boxes: formats, overlap, and Darknet's kinds of non-maximum suppression.

A box is four numbers: ``cxcywh`` (centre, size) or ``xyxy`` (two corners), in any unit that is the same for both
axes' own direction. Sources are AlexeyAB/darknet's box.c.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from darknet_builder.errors import InputError, did_you_mean

NMS_KINDS = ("default", "greedynms", "diounms", "cornersnms")
GREEDY_BETA = 0.6
_STRIP = 512
"""How many boxes are compared at once with all others."""
CIOU_EPSILON = 1e-6
"""Keeps alpha finite for equal boxes (box.c:253)."""


@dataclass(frozen=True)
class Candidates:
    """What a head says of every place, before any threshold.

    Attributes:
        boxes_cxcywh: (B, N, 4) relative to the network's input, in [0, 1] where the object is inside.
        objectness: (B, N) in [0, 1].
        scores: (B, N, C), the probability of each class times the objectness where the head has one.
    """

    boxes_cxcywh: Tensor
    objectness: Tensor
    scores: Tensor

    def above(self, threshold: float) -> Likely:
        """The places whose objectness, and one class's score, are larger than a threshold."""
        image, place = (self.objectness > threshold).nonzero(as_tuple=True)
        return Likely.of(image, self.boxes_cxcywh[image, place], self.objectness[image, place],
                         self.scores[image, place], threshold)


@dataclass(frozen=True)
class Likely:
    """The places of a batch that may be objects.

    Attributes:
        image: (K,) int64, which image of the batch.
        boxes_cxcywh: (K, 4) relative to the network's input.
        objectness: (K,) above the threshold.
        scores: (K, C), zero where a class does not reach the threshold; one or more are above it in each row.
    """

    image: Tensor
    boxes_cxcywh: Tensor
    objectness: Tensor
    scores: Tensor

    @classmethod
    def of(cls, image: Tensor, boxes_cxcywh: Tensor, objectness: Tensor, scores: Tensor, threshold: float) -> Likely:
        """Places whose objectness is above the threshold -> those of which a class is as well.

        A box without end (an untrained network has them) is none.
        """
        scores = torch.nn.functional.threshold(scores, threshold, 0)
        keep = scores.amax(1) > 0
        if not bool((boxes_cxcywh.sum() + scores.sum()).isfinite()):
            keep &= boxes_cxcywh.isfinite().all(1) & scores.isfinite().all(1)
        rows = keep.nonzero().flatten()
        if len(rows) == len(image):
            return cls(image, boxes_cxcywh, objectness, scores)
        return cls(image[rows], boxes_cxcywh[rows], objectness[rows], scores[rows])


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """(..., 4) centre and size -> (..., 4) corners."""
    centre, size = boxes[..., :2], boxes[..., 2:]
    return torch.cat((centre - size / 2, centre + size / 2), -1)


def xyxy_to_cxcywh(boxes: Tensor) -> Tensor:
    """(..., 4) corners -> (..., 4) centre and size."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat(((low + high) / 2, high - low), -1)


def iou(first_cxcywh: Tensor, second_cxcywh: Tensor) -> Tensor:
    """Intersection over union: (..., 4), (..., 4) broadcast -> (...); 0 where the union is 0 (box.c:146)."""
    intersection, union = _intersection_and_union(first_cxcywh, second_cxcywh)
    return torch.where((union == 0) | (intersection == 0), torch.zeros_like(union), intersection / union)


def giou(first_cxcywh: Tensor, second_cxcywh: Tensor) -> Tensor:
    """IoU - (C - U) / C, with C the area around both boxes: (..., 4), (..., 4) -> (...) (box.c:160)."""
    _, union = _intersection_and_union(first_cxcywh, second_cxcywh)
    width, height = _around(first_cxcywh, second_cxcywh)
    area = width * height
    overlap = iou(first_cxcywh, second_cxcywh)
    return torch.where(area == 0, overlap, overlap - (area - union) / area)


def diou(first_cxcywh: Tensor, second_cxcywh: Tensor, beta: float) -> Tensor:
    """IoU - (d^2 / c^2)^beta: d between centres, c the diagonal around both boxes (box.c:195, box.c:222)."""
    overlap = iou(first_cxcywh, second_cxcywh)
    distance, diagonal = _squared_distances(first_cxcywh, second_cxcywh)
    return torch.where(diagonal == 0, overlap, overlap - (distance / diagonal).pow(beta))


def ciou(first_cxcywh: Tensor, second_cxcywh: Tensor) -> Tensor:
    """IoU - d^2 / c^2 - alpha v, with v the difference of the shapes (box.c:243)."""
    overlap = iou(first_cxcywh, second_cxcywh)
    distance, diagonal = _squared_distances(first_cxcywh, second_cxcywh)
    shape = 4 / math.pi ** 2 * (slant(second_cxcywh) - slant(first_cxcywh)).square()
    alpha = shape / (1 - overlap + shape + CIOU_EPSILON)
    return torch.where(diagonal == 0, overlap, overlap - distance / diagonal - alpha * shape)


def slant(boxes_cxcywh: Tensor) -> Tensor:
    """(..., 4) -> (...): the angle whose tangent is width / height."""
    return (boxes_cxcywh[..., 2] / boxes_cxcywh[..., 3]).atan()


# Axis by axis: an inner dimension of two would be the innermost loop of every operation on a matrix of pairs.


def _edges(boxes_cxcywh: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(..., 4) -> left, top, right and bottom, (...) each."""
    x, y, width, height = boxes_cxcywh.unbind(-1)
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _intersection_and_union(first_cxcywh: Tensor, second_cxcywh: Tensor) -> tuple[Tensor, Tensor]:
    (left, top, right, bottom), (other_left, other_top, other_right, other_bottom) = (
        _edges(first_cxcywh), _edges(second_cxcywh))
    width = (torch.minimum(right, other_right) - torch.maximum(left, other_left)).clamp(min=0)
    height = (torch.minimum(bottom, other_bottom) - torch.maximum(top, other_top)).clamp(min=0)
    areas = (boxes[..., 2] * boxes[..., 3] for boxes in (first_cxcywh, second_cxcywh))
    intersection = width * height
    return intersection, next(areas) + next(areas) - intersection


def _around(first_cxcywh: Tensor, second_cxcywh: Tensor) -> tuple[Tensor, Tensor]:
    """(...), (...): width and height of the smallest box around both."""
    (left, top, right, bottom), (other_left, other_top, other_right, other_bottom) = (
        _edges(first_cxcywh), _edges(second_cxcywh))
    return (torch.maximum(right, other_right) - torch.minimum(left, other_left),
            torch.maximum(bottom, other_bottom) - torch.minimum(top, other_top))


def _squared_distances(first_cxcywh: Tensor, second_cxcywh: Tensor) -> tuple[Tensor, Tensor]:
    """(...), (...): between the centres, and along the diagonal of the smallest box around both."""
    width, height = _around(first_cxcywh, second_cxcywh)
    across, down = (first_cxcywh[..., axis] - second_cxcywh[..., axis] for axis in (0, 1))
    return across.square() + down.square(), width.square() + height.square()


def pairwise_iou(first_cxcywh: Tensor, second_cxcywh: Tensor) -> Tensor:
    """``iou`` of every pair: (N, 4), (M, 4) -> (N, M)."""
    return iou(first_cxcywh[:, None], second_cxcywh[None])


def too_close(kind: str, first_cxcywh: Tensor, second_cxcywh: Tensor, threshold: float,
              beta: float = GREEDY_BETA) -> Tensor:
    """Whether the overlap that an NMS kind looks at is larger than its threshold: (N, 4), (M, 4) -> (N, M) (box.c:880).

    Raises:
        InputError: for an unknown kind.
    """
    if kind not in NMS_KINDS:
        raise InputError(f"unknown NMS kind {kind!r}; expected one of {', '.join(NMS_KINDS)}"
                         f"{did_you_mean(kind, NMS_KINDS)}")
    close = pairwise_iou(first_cxcywh, second_cxcywh) > threshold
    if kind in ("greedynms", "diounms"):
        # What is taken off for the distance only ever makes the overlap smaller: few pairs are left to be looked at.
        first, second = close.nonzero(as_tuple=True)
        exponent = beta if kind == "diounms" else GREEDY_BETA
        close[first, second] = diou(first_cxcywh[first], second_cxcywh[second], exponent) > threshold
    return close


def survivors(boxes_cxcywh: Tensor, threshold: float, *, kind: str = "default", beta: float = GREEDY_BETA) -> Tensor:
    """Greedy suppression among boxes of one class: (N, 4) from best to worst -> (N,) bool.

    Works in strips, so that many thousand boxes need no matrix of all their overlaps.
    """
    alive = torch.ones(len(boxes_cxcywh), dtype=torch.bool, device=boxes_cxcywh.device)
    for start in range(0, len(boxes_cxcywh), _STRIP):
        rest = alive[start:].nonzero().flatten() + start
        strip = rest[rest < start + _STRIP]
        close = too_close(kind, boxes_cxcywh[strip], boxes_cxcywh[rest], threshold, beta)
        keep = torch.from_numpy(_greedy_keep(close[:, :len(strip)].cpu().numpy())).to(close.device)
        alive[rest[close[keep].any(0)]] = False
        alive[strip] = keep
    return alive


def _greedy_keep(close: np.ndarray) -> np.ndarray:
    """Which boxes survive: (N, N) bool, rows from best to worst -> (N,) bool.

    A box falls when any better survivor is too close to it. NumPy, whose calls cost a fraction of PyTorch's where
    there are few boxes.
    """
    keep = np.ones(len(close), bool)
    if np.count_nonzero(close) == np.count_nonzero(close.diagonal()):
        return keep
    for row in range(len(close) - 1):
        if keep[row]:
            keep[row + 1:] &= ~close[row, row + 1:]
    return keep


def nms_by_class(boxes_cxcywh: Tensor, scores: Tensor, threshold: float, *, kind: str = "default",
                 beta: float = GREEDY_BETA) -> Tensor:
    """Darknet's ``do_nms_sort`` and ``diounms_sort``: within each class, best first (box.c:845, box.c:880).

    Args:
        boxes_cxcywh: (N, 4).
        scores: (N, C); zero means absent.
        threshold: a box falls when its overlap with a better one is larger than this.
        kind: one of ``NMS_KINDS``.
        beta: the exponent of ``diounms``.

    Returns:
        (N, C): ``scores`` with the suppressed ones zeroed.
    """
    kept = scores.clone()
    values = kept.cpu().numpy()  # on the CPU the same memory
    # Overlaps do not depend on the class: of few boxes all are computed at once.
    close = (too_close(kind, boxes_cxcywh, boxes_cxcywh, threshold, beta).cpu().numpy()
             if len(boxes_cxcywh) <= _STRIP else None)
    for class_id, rows in _rows_by_class(values):
        if close is None:
            keep = survivors(boxes_cxcywh[torch.from_numpy(rows)], threshold, kind=kind, beta=beta).cpu().numpy()
        else:
            keep = _greedy_keep(close[rows[:, None], rows])
        values[rows[~keep], class_id] = 0
    return kept if kept.device.type == "cpu" else torch.from_numpy(values).to(kept.device)


def _rows_by_class(scores: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(N, C) -> each class that several rows count for, and these rows from best to worst."""
    class_ids, rows = np.nonzero(scores.T)
    order = np.lexsort((-scores[rows, class_ids], class_ids))
    for group in np.split(order, np.flatnonzero(np.diff(class_ids)) + 1):
        if len(group) > 1:
            yield int(class_ids[group[0]]), rows[group]


def nms_by_objectness(boxes_cxcywh: Tensor, objectness: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Darknet's ``do_nms_obj``: all classes together, best objectness first (box.c:805).

    Returns:
        (N, C): ``scores`` with every class of the suppressed boxes, and of those without objectness, zeroed.
    """
    rows = objectness.nonzero().flatten()
    rows = rows[objectness[rows].argsort(descending=True, stable=True)]
    rows = rows[survivors(boxes_cxcywh[rows], threshold)]
    kept = torch.zeros_like(scores)
    kept[rows] = scores[rows]
    return kept
