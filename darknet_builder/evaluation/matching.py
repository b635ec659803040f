"""Match boxes with the ground truth, as ``darknet detector map`` does (detector.c:937)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from darknet_builder.boxes.overlap import pairwise_iou

if TYPE_CHECKING:
    from darknet_builder.evaluation.darknet_map import ImageBoxes

_UNMATCHED = -1


@dataclass(frozen=True)
class Matches:
    """The boxes of many images, and what became of them.

    Attributes:
        scores: (N,) float32, 0 to 1; image after image.
        class_ids: (N,) int32, the class of each box.
        hits: (N,) bool, whether the box has the highest score on its ground truth.
        ranked: (N,) bool, False for a box on a difficult object.
        positive: (N,) bool, whether it is a true positive above the confidence threshold.
        negative: (N,) bool, whether it is a false positive above the confidence threshold.
        overlaps: (N,) float32, IoU with its ground truth; 0 without one.
    """

    scores: np.ndarray
    class_ids: np.ndarray
    hits: np.ndarray
    ranked: np.ndarray
    positive: np.ndarray
    negative: np.ndarray
    overlaps: np.ndarray

    def by_class(self, classes: int) -> Iterator[Matches]:
        """Yield the part of each class, in the same order.

        Args:
            classes: number of classes, also of those without boxes.
        """
        order = np.argsort(self.class_ids, kind="stable")
        for rows in np.split(order, np.searchsorted(self.class_ids[order], np.arange(1, classes))):
            yield Matches(*(values[rows] for values in vars(self).values()))


def match_all(images: Sequence[ImageBoxes], iou: float, confidence: float) -> Matches:
    """Match the boxes of all images.

    Args:
        images: detections and ground truth of each image.
        iou: IoU above which a box matches a ground truth.
        confidence: score above which boxes are true or false positives.
    """
    scores = np.concatenate([image.scores for image in images])
    class_ids = np.concatenate([image.class_ids for image in images])
    parts = [_match(image, np.float32(iou)) for image in images]
    truth = _number_through(images, [part[0] for part in parts])
    overlaps = np.concatenate([part[1] for part in parts])
    ranked = np.concatenate([part[2] for part in parts])
    above = scores > np.float32(confidence)
    # Of several boxes on one ground truth, the first in Darknet's list is the true positive above
    # the confidence threshold, but the one with the highest score is the hit in the ranking.
    positive = above & _first_of_each(truth, np.arange(len(truth)))
    hits = _first_of_each(truth, np.argsort(-scores, kind="stable"))
    return Matches(scores, class_ids, hits, ranked, positive, above & ~positive, overlaps)


def _number_through(images: Sequence[ImageBoxes], numbers: Sequence[np.ndarray]) -> np.ndarray:
    """Number the ground truth of all images continuously.

    Args:
        images: detections and ground truth of each image.
        numbers: for each image (N,), the number of each box's ground truth in that image, or -1.

    Returns:
        The numbers over all images, concatenated. One ``np.unique`` can then find the best box of
        each ground truth.
    """
    # With 2, 0 and 3 ground truths in three images, the first ones get the numbers 0, 2 and 2:
    #   in each image    0 1 -1      -1 -1      2 0
    #   in all images    0 1 -1      -1 -1      4 2
    starts = np.cumsum([0, *(len(image.truths) for image in images)])[:-1]
    parts = []
    for number, start in zip(numbers, starts, strict=True):
        parts.append(np.where(number >= 0, number + start, _UNMATCHED))
    return np.concatenate(parts)


def _match(image: ImageBoxes, iou: np.float32) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Match the boxes of one image.

    Returns:
        (N,) number of each box's ground truth or -1; (N,) IoU with it; (N,) whether the box is
        ranked.
    """
    number, overlap = _best_ground_truth(image, image.truths, iou)
    ranked = np.ones(len(number), bool)
    if image.difficult is not None:
        # Such a box is left out of the ranking, but still counts as a false positive above the
        # confidence threshold, because Darknet has counted it there already.
        ranked = (number >= 0) | (_best_ground_truth(image, image.difficult, iou)[0] < 0)
    return number, overlap, ranked


def _best_ground_truth(
    image: ImageBoxes, ground_truth: np.ndarray, iou: np.float32
) -> tuple[np.ndarray, np.ndarray]:
    """Find the ground truth that each box overlaps most.

    Args:
        image: detections of one image.
        ground_truth: (T, 5) float32 in rows x, y, w, h, class.
        iou: IoU above which a box matches.

    Returns:
        (N,) number of the ground truth or -1; (N,) float32 IoU with it, or 0.
    """
    if not len(ground_truth) or not len(image.scores):
        return np.full(len(image.scores), _UNMATCHED), np.zeros(len(image.scores), np.float32)
    overlaps = pairwise_iou(
        torch.from_numpy(image.boxes_cxcywh), torch.from_numpy(ground_truth[:, :4])
    ).numpy()  # (N, T)
    same_class = image.class_ids[:, None] == ground_truth[None, :, 4]  # (N, 1) == (1, T) -> (N, T)
    overlaps = np.where(same_class & (overlaps > iou), overlaps, 0)
    best = overlaps.argmax(1)  # (N,)
    value = overlaps[np.arange(len(best)), best]
    return np.where(value > 0, best, _UNMATCHED), value


def _first_of_each(truth: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return (N,) bool: which boxes come first, in an order, among those on the same ground truth.

    Args:
        truth: (N,) number of each box's ground truth, or -1.
        order: (N,) indices of the boxes.
    """
    first = np.zeros(len(truth), bool)
    # np.unique returns where each number occurs first in the given order:
    #   truth[order]  3 -1 3 0      numbers  -1 0 3      positions  1 3 0
    numbers, positions = np.unique(truth[order], return_index=True)
    first[order[positions[numbers >= 0]]] = True
    return first
