"""Darknet's kinds of non-maximum suppression (AlexeyAB's box.c)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from darknet_builder.boxes.formats import on_cpu
from darknet_builder.boxes.overlap import intersection_and_union, less_distance, measures
from darknet_builder.boxes.pairs import overlap_pairs
from darknet_builder.errors import InputError, did_you_mean

NMS_KINDS = ("default", "greedynms", "diounms", "cornersnms")
GREEDY_BETA = 0.6


def best_of_groups(
    boxes_cxcywh: np.ndarray,
    scores: np.ndarray,
    groups: np.ndarray,
    threshold: float,
    *,
    kind: str = "default",
    beta: float = GREEDY_BETA,
) -> np.ndarray:
    """Greedy suppression: drop a box that overlaps a better survivor of its group too much.

    Groups are the classes, or the classes of each image in a batch; all are processed at once.

    Args:
        boxes_cxcywh: (M, 4), with x and width, and y and height, in the same unit.
        scores: (M,); of equal ones, the first counts as better.
        groups: (M,) integers; only boxes of equal group suppress each other.
        threshold: NMS IoU threshold, 0 to 1; 1 disables suppression.
        kind: the overlap measure, one of ``NMS_KINDS``.
        beta: exponent of the distance in ``diounms``.

    Returns:
        (M,) bool, True for the survivors.

    Raises:
        InputError: for an unknown kind.

    Example:
        >>> boxes = np.array([[0.5, 0.5, 0.2, 0.2], [0.5, 0.5, 0.2, 0.21], [0.1, 0.1, 0.2, 0.2]])
        >>> scores, groups = np.array([0.9, 0.8, 0.7]), np.zeros(3, int)
        >>> best_of_groups(boxes, scores, groups, threshold=0.45).tolist()
        [True, False, True]
    """
    _check_kind(kind)
    if threshold >= 1:
        # Rounding can make the overlap of two equal boxes larger than 1.
        return np.ones(len(groups), bool)
    exponent = {"greedynms": GREEDY_BETA, "diounms": beta}.get(kind)
    return _suppress(boxes_cxcywh, scores, groups, threshold, exponent)


def _check_kind(kind: str) -> None:
    if kind not in NMS_KINDS:
        raise InputError(
            f"unknown NMS kind {kind!r}; expected one of {', '.join(NMS_KINDS)}"
            f"{did_you_mean(kind, NMS_KINDS)}"
        )


# box.c:845, box.c:880. Two boxes without area give 0 / 0 = NaN, which exceeds no threshold.
@np.errstate(all="ignore")
def _suppress(
    boxes_cxcywh: np.ndarray,
    scores: np.ndarray,
    groups: np.ndarray,
    threshold: float,
    exponent: float | None,
) -> np.ndarray:
    order = np.lexsort((-scores, groups))  # by group, best first
    boxes, groups = boxes_cxcywh.T.take(order, 1).T, groups.take(order)
    corners = measures(boxes)  # (7, M)
    suppressed = np.zeros(len(groups), bool)
    is_suppressed = suppressed.data  # single values of a memoryview are faster
    for better, worse in overlap_pairs(boxes, groups, threshold, suppressed):
        close = _too_close(corners, better, worse, threshold, exponent)
        # Pairs are in the order of ``better``: when a box is tested for suppression, all
        # boxes better than it have been decided.
        for winner, loser in zip(
            better.take(close).tolist(), worse.take(close).tolist(), strict=True
        ):
            if not is_suppressed[winner]:
                is_suppressed[loser] = True
    keep = np.empty_like(suppressed)
    keep[order] = ~suppressed
    return keep


def _too_close(
    measures: np.ndarray,
    better: np.ndarray,
    worse: np.ndarray,
    threshold: float,
    exponent: float | None,
) -> np.ndarray:
    """Return the pairs whose overlap, by the NMS kind's measure, exceeds the threshold.

    Args:
        measures: (7, N), see ``overlap.measures``.
        better: (P,) indices of boxes.
        worse: (P,) indices of boxes.
        threshold: NMS IoU threshold, 0 to 1.
        exponent: exponent of the distance that is subtracted; None to subtract nothing.

    Returns:
        Indices of pairs, increasing.
    """
    first, second = measures.take(better, 1), measures.take(worse, 1)
    intersection, union = intersection_and_union(first, second)
    overlap = intersection / union
    close = (overlap > threshold).nonzero()[0]
    if exponent is None or not len(close):
        return close
    # The distance can only make the overlap smaller, so only the pairs above the threshold remain.
    first, second = first.take(close, 1), second.take(close, 1)
    less = less_distance(overlap.take(close), first, second, exponent)
    return close.compress(less > threshold)


def survivors(
    boxes_cxcywh: Tensor, threshold: float, *, kind: str = "default", beta: float = GREEDY_BETA
) -> Tensor:
    """Greedy suppression among boxes of one class: (N, 4) from best to worst -> (N,) bool."""
    equal = np.zeros(len(boxes_cxcywh), np.int64)
    keep = best_of_groups(on_cpu(boxes_cxcywh), equal, equal, threshold, kind=kind, beta=beta)
    return torch.from_numpy(keep).to(boxes_cxcywh.device)


def nms_by_class(
    boxes_cxcywh: Tensor,
    scores: Tensor,
    threshold: float,
    *,
    kind: str = "default",
    beta: float = GREEDY_BETA,
) -> Tensor:
    """Darknet's ``do_nms_sort`` and ``diounms_sort``: suppress within each class, best first.

    Args:
        boxes_cxcywh: (N, 4), with x and width, and y and height, in the same unit.
        scores: (N, C); zero means absent.
        threshold: NMS IoU threshold, 0 to 1; 1 disables suppression.
        kind: the overlap measure, one of ``NMS_KINDS``.
        beta: exponent of the distance in ``diounms``.

    Returns:
        (N, C): ``scores`` with the suppressed ones set to zero.

    Example:
        >>> boxes = torch.tensor([[0.5, 0.5, 0.2, 0.2], [0.5, 0.5, 0.2, 0.21]])
        >>> nms_by_class(boxes, torch.tensor([[0.5], [0.25]]), threshold=0.45).tolist()
        [[0.5], [0.0]]
    """
    values = on_cpu(scores)
    # Each non-zero score is a box of its class, as in Darknet, where one box can be of several.
    rows, class_ids = np.nonzero(values)
    suppressed = ~best_of_groups(
        on_cpu(boxes_cxcywh)[rows],
        values[rows, class_ids],
        class_ids,
        threshold,
        kind=kind,
        beta=beta,
    )
    kept = scores.clone()
    kept[torch.from_numpy(rows[suppressed]), torch.from_numpy(class_ids[suppressed])] = 0
    return kept
