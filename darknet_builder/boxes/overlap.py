"""Pure functions on boxes: formats, overlap, and Darknet's kinds of non-maximum suppression.

A box is four numbers: ``cxcywh`` (centre, size) or ``xyxy`` (two corners), in pixels or as a fraction of the image, as
long as x and width (y and height) share the unit. Sources are AlexeyAB/darknet's box.c.

Functions annotated with ``Array`` accept a tensor or a NumPy array and return the same kind: losses need PyTorch's
gradients, while for the few boxes of an image NumPy's calls cost a fraction of PyTorch's.

Results pass through two types before they are ``Detections``: ``Candidates``, the tensors of a head before any
threshold, and ``ScoredBoxes``, the NumPy rows above it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from darknet_builder.errors import InputError, did_you_mean

NMS_KINDS = ("default", "greedynms", "diounms", "cornersnms")
GREEDY_BETA = 0.6
LABEL_VALUES = 5
"""x, y, w, h, class: one row of what an image's labels say."""
_MOST_PAIRS = 1 << 18
"""How many pairs of boxes are compared at once."""
CIOU_EPSILON = 1e-6
"""Keeps alpha finite for equal boxes (box.c:253)."""
Array = TypeVar("Array", Tensor, np.ndarray)


@dataclass(frozen=True)
class Candidates:
    """The decoded output of a head at every place, before any threshold.

    B images, N places, C classes.

    Attributes:
        boxes_cxcywh: (B, N, 4) relative to the network's input, in [0, 1] where the object is inside.
        objectness: (B, N) in [0, 1].
        scores: (B, N, C), the probability of each class times the objectness where the head has one.
    """

    boxes_cxcywh: Tensor
    objectness: Tensor
    scores: Tensor

    def above(self, threshold: float) -> ScoredBoxes:
        """Return the boxes and classes whose objectness and score are both larger than a threshold."""
        image_ids, places = (self.objectness > threshold).nonzero(as_tuple=True)  # (K,) each
        scores = on_cpu(self.scores[image_ids, places])  # (K, C)
        box_ids, class_ids = np.nonzero(scores > threshold)  # (M,) each
        return ScoredBoxes(on_cpu(image_ids)[box_ids], box_ids,
                           on_cpu(self.boxes_cxcywh[image_ids, places])[box_ids],
                           on_cpu(self.objectness[image_ids, places])[box_ids],
                           class_ids, scores[box_ids, class_ids], self.scores.shape[2])


@dataclass(frozen=True)
class ScoredBoxes:
    """Rows above a threshold in a batch: one box and one of its classes each. A box of two classes has two rows.

    Attributes:
        image_ids: (M,) int64, index of the image in the batch.
        box_ids: (M,) int64, non-decreasing. Rows with equal values are one box, listed once for each class.
        boxes_cxcywh: (M, 4) float32. A head gives them relative to the network's input; they may be infinite for an
            untrained network. ``postprocess`` gives them relative to the image, where they may cross its edges.
        objectness: (M,) float32, above the threshold.
        class_ids: (M,) int64. A head gives them increasing within a box.
        scores: (M,) float32, above the threshold: the probability of the class times the objectness.
        num_classes: classes that the head reports.
    """

    image_ids: np.ndarray
    box_ids: np.ndarray
    boxes_cxcywh: np.ndarray
    objectness: np.ndarray
    class_ids: np.ndarray
    scores: np.ndarray
    num_classes: int

    def __len__(self) -> int:
        """Return the number of rows, M."""
        return len(self.scores)

    def take(self, rows: np.ndarray) -> ScoredBoxes:
        """Return some rows: (K,) indices, or (M,) bool."""
        return ScoredBoxes(self.image_ids[rows], self.box_ids[rows], self.boxes_cxcywh[rows], self.objectness[rows],
                           self.class_ids[rows], self.scores[rows], self.num_classes)


def on_cpu(values: Tensor) -> np.ndarray:
    """A tensor of any device -> an array; floating-point numbers as float32."""
    values = values.detach().cpu()
    return (values.float() if values.is_floating_point() else values).numpy()


def library_of(values: Tensor | np.ndarray) -> Any:
    """``torch`` or ``numpy``, for functions that both have under one name."""
    return torch if isinstance(values, Tensor) else np


def join(parts: tuple[Array, ...]) -> Array:
    """Side by side along the last axis."""
    return torch.cat(parts, -1) if isinstance(parts[0], Tensor) else np.concatenate(parts, -1)


def cxcywh_to_xyxy(boxes: Array) -> Array:
    """An array (..., 4) of centre and size -> (..., 4) of corners."""
    centre, size = boxes[..., :2], boxes[..., 2:]
    return join((centre - size / 2, centre + size / 2))


def iou(first_cxcywh: Tensor, second_cxcywh: Tensor) -> Tensor:
    """Intersection over union: (..., 4), (..., 4) broadcast -> (...); 0 where the union is 0 (box.c:146)."""
    return _iou(*_intersection_and_union(_measures(first_cxcywh), _measures(second_cxcywh)))


def giou(first_cxcywh: Tensor, second_cxcywh: Tensor) -> Tensor:
    """IoU - (C - U) / C, with C the area around both boxes: (..., 4), (..., 4) -> (...) (box.c:160)."""
    first, second = _measures(first_cxcywh), _measures(second_cxcywh)
    intersection, union = _intersection_and_union(first, second)
    width, height = _around(first, second)
    area = width * height
    overlap = _iou(intersection, union)
    return torch.where(area == 0, overlap, overlap - (area - union) / area)


def diou(first_cxcywh: Tensor, second_cxcywh: Tensor, beta: float) -> Tensor:
    """IoU - (d^2 / c^2)^beta: d between centres, c the diagonal around both boxes (box.c:195, box.c:222)."""
    first, second = _measures(first_cxcywh), _measures(second_cxcywh)
    return _less_distance(_iou(*_intersection_and_union(first, second)), first, second, beta)


def ciou(first_cxcywh: Tensor, second_cxcywh: Tensor) -> Tensor:
    """IoU - d^2 / c^2 - alpha v, with v the difference of the shapes (box.c:243)."""
    first, second = _measures(first_cxcywh), _measures(second_cxcywh)
    overlap = _iou(*_intersection_and_union(first, second))
    distance, diagonal = _squared_distances(first, second)
    shape = 4 / math.pi ** 2 * (slant(second_cxcywh) - slant(first_cxcywh)).square()
    alpha = shape / (1 - overlap + shape + CIOU_EPSILON)
    return torch.where(diagonal == 0, overlap, overlap - distance / diagonal - alpha * shape)


def slant(boxes_cxcywh: Tensor) -> Tensor:
    """(..., 4) -> (...): the angle whose tangent is width / height."""
    return (boxes_cxcywh[..., 2] / boxes_cxcywh[..., 3]).atan()


# Axis by axis: an inner dimension of two would be the innermost loop of every operation on a matrix of pairs.


def _measures(boxes_cxcywh: Array) -> tuple[Array, ...]:
    """(..., 4) -> left, top, right, bottom, area and the centre's x and y, (...) each."""
    x, y, width, height = (boxes_cxcywh[..., axis] for axis in range(4))
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2, width * height, x, y


def _intersection_and_union(first: Sequence[Array], second: Sequence[Array]) -> tuple[Array, Array]:
    """Of ``_measures``."""
    left, top, right, bottom, area = first[:5]
    other_left, other_top, other_right, other_bottom, other_area = second[:5]
    library = library_of(left)
    width = library.minimum(right, other_right) - library.maximum(left, other_left)
    height = library.minimum(bottom, other_bottom) - library.maximum(top, other_top)
    intersection = _not_below_zero(width) * _not_below_zero(height)
    return intersection, area + other_area - intersection


def _not_below_zero(values: Array) -> Array:
    return values.clamp(min=0) if isinstance(values, Tensor) else np.maximum(values, 0)


def _iou(intersection: Tensor, union: Tensor) -> Tensor:
    return torch.where((union == 0) | (intersection == 0), torch.zeros_like(union), intersection / union)


def _around(first: Sequence[Array], second: Sequence[Array]) -> tuple[Array, Array]:
    """``_measures`` -> width and height of the smallest box around both."""
    library = library_of(first[0])
    return (library.maximum(first[2], second[2]) - library.minimum(first[0], second[0]),
            library.maximum(first[3], second[3]) - library.minimum(first[1], second[1]))


def _squared_distances(first: Sequence[Array], second: Sequence[Array]) -> tuple[Array, Array]:
    """``_measures`` -> between the centres, and along the diagonal of the smallest box around both."""
    width, height = _around(first, second)
    across, down = first[5] - second[5], first[6] - second[6]
    square = library_of(width).square
    return square(across) + square(down), square(width) + square(height)


def _less_distance(overlap: Array, first: Sequence[Array], second: Sequence[Array], beta: float) -> Array:
    """What ``diou`` makes of an overlap."""
    distance, diagonal = _squared_distances(first, second)
    return library_of(overlap).where(diagonal == 0, overlap, overlap - (distance / diagonal) ** beta)


def pairwise_iou(first_cxcywh: Tensor, second_cxcywh: Tensor) -> Tensor:
    """``iou`` of every pair: (N, 4), (M, 4) -> (N, M)."""
    return iou(first_cxcywh[:, None], second_cxcywh[None])


# ---- suppression --------------------------------------------------------------------------------------


@np.errstate(all="ignore")  # two boxes without area: zero by zero, which is larger than no threshold
def best_of_groups(boxes_cxcywh: np.ndarray, scores: np.ndarray, groups: np.ndarray, threshold: float, *,
                   kind: str = "default", beta: float = GREEDY_BETA) -> np.ndarray:
    """Greedy suppression: a box falls when a better survivor of its group is too close to it (box.c:845, box.c:880).

    Groups are the classes, or those of each image of a batch; all are done at once. However many boxes there are, no
    more than ``_MOST_PAIRS`` are compared at a time.

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
        raise InputError(f"unknown NMS kind {kind!r}; expected one of {', '.join(NMS_KINDS)}"
                         f"{did_you_mean(kind, NMS_KINDS)}")
    keep = np.ones(len(groups), bool)
    if threshold >= 1:  # rounded, two equal boxes may overlap by more
        return keep
    undecided = np.lexsort((-scores, groups))
    exponent = {"greedynms": GREEDY_BETA, "diounms": beta}.get(kind)
    while len(undecided) > 1:
        better, worse, done = _pairs(groups[undecided])
        close = _too_close(np.array(_measures(boxes_cxcywh[undecided])), better, worse, threshold, exponent)
        fallen = np.zeros(len(undecided), bool)
        for winner, loser in zip(better[close].tolist(), worse[close].tolist(), strict=True):
            if not fallen[winner]:
                fallen[loser] = True
        keep[undecided[fallen]] = False
        undecided = undecided[done:][~fallen[done:]]
    return keep


def _pairs(groups: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Each of the first rows with every later one of its group: the earlier, the later, and of how many rows.

    Args:
        groups: (N,), sorted.
    """
    rows = np.arange(len(groups))
    partners = np.searchsorted(groups, groups, side="right") - rows - 1
    until = partners.cumsum()
    done = len(rows) if until[-1] <= _MOST_PAIRS else max(1, int(np.searchsorted(until, _MOST_PAIRS, side="right")))
    first = rows[:done].repeat(partners[:done])
    within = np.arange(len(first)) - (until - partners)[first]
    return first, first + 1 + within, done


def _too_close(measures: np.ndarray, better: np.ndarray, worse: np.ndarray, threshold: float,
               exponent: float | None) -> np.ndarray:
    """The pairs of which the overlap that an NMS kind looks at is larger than its threshold.

    Args:
        measures: (7, N).
        better, worse: (P,) indices of boxes.
        threshold: see ``best_of_groups``.
        exponent: of what is taken off for the distance; None for nothing.

    Returns:
        Indices of pairs, rising.
    """
    intersection, union = _intersection_and_union(*(list(measures[:5].take(boxes, 1)) for boxes in (better, worse)))
    overlap = intersection / union
    close = np.flatnonzero(overlap > threshold)
    if exponent is None or not len(close):
        return close
    # The distance only ever makes the overlap smaller: few pairs are left to be looked at.
    first, second = (list(measures.take(boxes[close], 1)) for boxes in (better, worse))
    return close[_less_distance(overlap[close], first, second, exponent) > threshold]


def survivors(boxes_cxcywh: Tensor, threshold: float, *, kind: str = "default", beta: float = GREEDY_BETA) -> Tensor:
    """Greedy suppression among boxes of one class: (N, 4) from best to worst -> (N,) bool."""
    equal = np.zeros(len(boxes_cxcywh), np.int64)
    keep = best_of_groups(on_cpu(boxes_cxcywh), equal, equal, threshold, kind=kind, beta=beta)
    return torch.from_numpy(keep).to(boxes_cxcywh.device)


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
    values = on_cpu(scores)
    rows, class_ids = np.nonzero(values)
    fallen = ~best_of_groups(on_cpu(boxes_cxcywh)[rows], values[rows, class_ids], class_ids, threshold, kind=kind,
                             beta=beta)
    kept = scores.clone()
    kept[torch.from_numpy(rows[fallen]), torch.from_numpy(class_ids[fallen])] = 0
    return kept
