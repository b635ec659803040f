"""Pure tensor functions on boxes: formats, overlap, and Darknet's kinds of non-maximum suppression.

A box is four numbers: ``cxcywh`` (centre, size) or ``xyxy`` (two corners), in any unit that is the same for both
axes' own direction. Sources are AlexeyAB/darknet's box.c.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

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
    area = _around(first_cxcywh, second_cxcywh).prod(-1)
    overlap = iou(first_cxcywh, second_cxcywh)
    return torch.where(area == 0, overlap, overlap - (area - union) / area)


def diou(first_cxcywh: Tensor, second_cxcywh: Tensor, beta: float) -> Tensor:
    """IoU - (d^2 / c^2)^beta: d between centres, c the diagonal around both boxes (box.c:195, box.c:222)."""
    overlap = iou(first_cxcywh, second_cxcywh)
    diagonal = _around(first_cxcywh, second_cxcywh).square().sum(-1)
    distance = (first_cxcywh[..., :2] - second_cxcywh[..., :2]).square().sum(-1)
    return torch.where(diagonal == 0, overlap, overlap - (distance / diagonal).pow(beta))


def ciou(first_cxcywh: Tensor, second_cxcywh: Tensor) -> Tensor:
    """IoU - d^2 / c^2 - alpha v, with v the difference of the shapes (box.c:243)."""
    overlap = iou(first_cxcywh, second_cxcywh)
    diagonal = _around(first_cxcywh, second_cxcywh).square().sum(-1)
    shape = 4 / math.pi ** 2 * (slant(second_cxcywh) - slant(first_cxcywh)).square()
    alpha = shape / (1 - overlap + shape + CIOU_EPSILON)
    distance = (first_cxcywh[..., :2] - second_cxcywh[..., :2]).square().sum(-1)
    return torch.where(diagonal == 0, overlap, overlap - distance / diagonal - alpha * shape)


def slant(boxes_cxcywh: Tensor) -> Tensor:
    """(..., 4) -> (...): the angle whose tangent is width / height."""
    return (boxes_cxcywh[..., 2] / boxes_cxcywh[..., 3]).atan()


def _intersection_and_union(first_cxcywh: Tensor, second_cxcywh: Tensor) -> tuple[Tensor, Tensor]:
    first, second = cxcywh_to_xyxy(first_cxcywh), cxcywh_to_xyxy(second_cxcywh)
    extent = torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2])
    intersection = extent.clamp(min=0).prod(-1)
    return intersection, first_cxcywh[..., 2:].prod(-1) + second_cxcywh[..., 2:].prod(-1) - intersection


def _around(first_cxcywh: Tensor, second_cxcywh: Tensor) -> Tensor:
    """(..., 2): width and height of the smallest box around both."""
    first, second = cxcywh_to_xyxy(first_cxcywh), cxcywh_to_xyxy(second_cxcywh)
    return torch.maximum(first[..., 2:], second[..., 2:]) - torch.minimum(first[..., :2], second[..., :2])


def pairwise_iou(first_cxcywh: Tensor, second_cxcywh: Tensor) -> Tensor:
    """``iou`` of every pair: (N, 4), (M, 4) -> (N, M)."""
    return iou(first_cxcywh[:, None], second_cxcywh[None])


def pairwise_diou(first_cxcywh: Tensor, second_cxcywh: Tensor, beta: float) -> Tensor:
    """``diou`` of every pair: (N, 4), (M, 4) -> (N, M)."""
    return diou(first_cxcywh[:, None], second_cxcywh[None], beta)


def overlap_for(kind: str, first_cxcywh: Tensor, second_cxcywh: Tensor, beta: float = GREEDY_BETA) -> Tensor:
    """(N, 4), (M, 4) -> (N, M) of the overlap that an NMS kind compares with its threshold (box.c:880).

    Raises:
        InputError: for an unknown kind.
    """
    if kind == "diounms":
        return pairwise_diou(first_cxcywh, second_cxcywh, beta)
    if kind == "greedynms":
        return pairwise_diou(first_cxcywh, second_cxcywh, GREEDY_BETA)
    if kind in NMS_KINDS:
        return pairwise_iou(first_cxcywh, second_cxcywh)
    raise InputError(f"unknown NMS kind {kind!r}; expected one of {', '.join(NMS_KINDS)}"
                     f"{did_you_mean(kind, NMS_KINDS)}")


def survivors(boxes_cxcywh: Tensor, threshold: float, *, kind: str = "default", beta: float = GREEDY_BETA) -> Tensor:
    """Greedy suppression among boxes of one class: (N, 4) from best to worst -> (N,) bool.

    Works in strips, so that many thousand boxes need no matrix of all their overlaps.
    """
    alive = torch.ones(len(boxes_cxcywh), dtype=torch.bool, device=boxes_cxcywh.device)
    for start in range(0, len(boxes_cxcywh), _STRIP):
        rest = alive[start:].nonzero().flatten() + start
        strip = rest[rest < start + _STRIP]
        close = overlap_for(kind, boxes_cxcywh[strip], boxes_cxcywh[rest], beta) > threshold
        keep = greedy_keep(close[:, :len(strip)])
        alive[rest[close[keep].any(0)]] = False
        alive[strip] = keep
    return alive


def greedy_keep(too_close: Tensor) -> Tensor:
    """Which boxes survive: (N, N) bool, rows from best to worst -> (N,) bool.

    A box falls when any better survivor is too close to it.
    """
    matrix = too_close.cpu().numpy()
    keep = torch.ones(len(matrix), dtype=torch.bool).numpy()
    for row in range(len(matrix) - 1):
        if keep[row]:
            keep[row + 1:] &= ~matrix[row, row + 1:]
    return torch.from_numpy(keep).to(too_close.device)


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
    kept = torch.zeros_like(scores)
    # Overlaps do not depend on the class: of few boxes all are computed at once.
    close = overlap_for(kind, boxes_cxcywh, boxes_cxcywh, beta) > threshold if len(boxes_cxcywh) <= _STRIP else None
    for class_id in (scores > 0).any(0).nonzero().flatten().tolist():
        rows = scores[:, class_id].nonzero().flatten()
        if len(rows) > 1:
            rows = rows[scores[rows, class_id].argsort(descending=True, stable=True)]
            rows = rows[survivors(boxes_cxcywh[rows], threshold, kind=kind, beta=beta) if close is None
                        else greedy_keep(close[rows[:, None], rows])]
        kept[rows, class_id] = scores[rows, class_id]
    return kept


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
