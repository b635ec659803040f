"""Darknet's kinds of non-maximum suppression. Source: AlexeyAB/darknet's box.c."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from darknet_builder.boxes.formats import on_cpu
from darknet_builder.boxes.overlap import intersection_and_union, less_distance, measures
from darknet_builder.errors import InputError, did_you_mean

NMS_KINDS = ("default", "greedynms", "diounms", "cornersnms")


GREEDY_BETA = 0.6


_MOST_PAIRS = 1 << 18
"""How many pairs of boxes are compared at once."""


# ---- suppression ---------------------------------------------------------------------------------


@np.errstate(
    all="ignore"
)  # two boxes without area: zero by zero, which is larger than no threshold
def best_of_groups(
    boxes_cxcywh: np.ndarray,
    scores: np.ndarray,
    groups: np.ndarray,
    threshold: float,
    *,
    kind: str = "default",
    beta: float = GREEDY_BETA,
) -> np.ndarray:
    """Greedy suppression: a box falls when a better survivor of its group is too close to it
    (box.c:845, box.c:880).

    Groups are the classes, or those of each image of a batch; all are done at once. However many
    boxes there are, no more than ``_MOST_PAIRS`` are compared at a time.

    Args:
        boxes_cxcywh: (M, 4).
        scores: (M,); of equal ones the first is the better.
        groups: (M,) integers.
        threshold: an overlap is too large when it is larger than this; 1 lets all stand.
        kind: one of ``NMS_KINDS``.
        beta: the exponent of ``diounms``.

    Returns:
        (M,) bool: the survivors.

    Raises:
        InputError: for an unknown kind.
    """
    if kind not in NMS_KINDS:
        raise InputError(
            f"unknown NMS kind {kind!r}; expected one of {', '.join(NMS_KINDS)}"
            f"{did_you_mean(kind, NMS_KINDS)}"
        )
    keep = np.ones(len(groups), bool)
    if threshold >= 1:  # rounded, two equal boxes may overlap by more
        return keep
    undecided = np.lexsort((-scores, groups))
    exponent = {"greedynms": GREEDY_BETA, "diounms": beta}.get(kind)
    while len(undecided) > 1:
        better, worse, done = _pairs(groups[undecided])
        close = _too_close(
            np.array(measures(boxes_cxcywh[undecided])), better, worse, threshold, exponent
        )
        fallen = np.zeros(len(undecided), bool)
        for winner, loser in zip(better[close].tolist(), worse[close].tolist(), strict=True):
            if not fallen[winner]:
                fallen[loser] = True
        keep[undecided[fallen]] = False
        undecided = undecided[done:][~fallen[done:]]
    return keep


def _pairs(groups: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Each of the first rows with every later one of its group: the earlier, the later, and of how
    many rows.

    Args:
        groups: (N,), sorted.
    """
    rows = np.arange(len(groups))
    partners = np.searchsorted(groups, groups, side="right") - rows - 1
    until = partners.cumsum()
    done = (
        len(rows)
        if until[-1] <= _MOST_PAIRS
        else max(1, int(np.searchsorted(until, _MOST_PAIRS, side="right")))
    )
    first = rows[:done].repeat(partners[:done])
    within = np.arange(len(first)) - (until - partners)[first]
    return first, first + 1 + within, done


def _too_close(
    measures: np.ndarray,
    better: np.ndarray,
    worse: np.ndarray,
    threshold: float,
    exponent: float | None,
) -> np.ndarray:
    """The pairs of which the overlap that an NMS kind looks at is larger than its threshold.

    Args:
        measures: (7, N).
        better, worse: (P,) indices of boxes.
        threshold: see ``best_of_groups``.
        exponent: of what is taken off for the distance; None for nothing.

    Returns:
        Indices of pairs, rising.
    """
    intersection, union = intersection_and_union(
        *(list(measures[:5].take(boxes, 1)) for boxes in (better, worse))
    )
    overlap = intersection / union
    close = np.flatnonzero(overlap > threshold)
    if exponent is None or not len(close):
        return close
    # The distance only ever makes the overlap smaller: few pairs are left to be looked at.
    first, second = (list(measures.take(boxes[close], 1)) for boxes in (better, worse))
    return close[less_distance(overlap[close], first, second, exponent) > threshold]


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
    """Darknet's ``do_nms_sort`` and ``diounms_sort``: within each class, best first (box.c:845,
    box.c:880).

    Args:
        boxes_cxcywh: (N, 4).
        scores: (N, C); zero means absent.
        threshold: a box falls when its overlap with a better one is larger than this.
        kind: one of ``NMS_KINDS``.
        beta: the exponent of ``diounms``.

    Returns:
        (N, C): ``scores`` with the suppressed ones zeroed.
    """
    values = on_cpu(scores)
    rows, class_ids = np.nonzero(values)
    fallen = ~best_of_groups(
        on_cpu(boxes_cxcywh)[rows],
        values[rows, class_ids],
        class_ids,
        threshold,
        kind=kind,
        beta=beta,
    )
    kept = scores.clone()
    kept[torch.from_numpy(rows[fallen]), torch.from_numpy(class_ids[fallen])] = 0
    return kept
