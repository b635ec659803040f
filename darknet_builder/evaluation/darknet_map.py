"""Precision, recall and average precision of boxes, as ``darknet detector map`` computes them
(detector.c:937).

Not COCO's rules: a box belongs to the truth of its class that it overlaps most, whether or not a
better box has that truth already, and the overlap must be larger than the threshold, not equal to
it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from darknet_builder.boxes.overlap import pairwise_iou
from darknet_builder.errors import InputError
from darknet_builder.evaluation.map_rules import POINTS

_NO_TRUTH = -1


@dataclass(frozen=True)
class ImageBoxes:
    """What was found in one image, and what is there; boxes are relative to the image.

    Attributes:
        boxes_cxcywh: (N, 4) float32, one row for each class that a box counts for, in Darknet's
            order.
        scores: (N,) float32.
        class_ids: (N,) int32.
        truths: (T, 5) float32, rows x, y, w, h, class.
        image_size: (width, height) in pixels.
        difficult: (D, 5) float32: objects that need not be found; a box on one of them does not
            count.
    """

    boxes_cxcywh: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    truths: np.ndarray
    image_size: tuple[int, int]
    difficult: np.ndarray | None = None


@dataclass(frozen=True)
class Curve:
    """Precision and recall of a class after each of its boxes, the best box first.

    Attributes:
        scores: (N,) of the boxes.
        precision: (N,) float64.
        recall: (N,) float64.
    """

    scores: np.ndarray
    precision: np.ndarray
    recall: np.ndarray

    @property
    def envelope(self) -> np.ndarray:
        """(N,): the best precision at each recall or a higher one."""
        return np.maximum.accumulate(self.precision[::-1])[::-1]

    def precision_at(self, recalls: np.ndarray) -> np.ndarray:
        """(R,): the envelope at any recalls; 0 beyond the last one that was reached."""
        return np.append(self.envelope, 0.0)[np.searchsorted(self.recall, recalls, side="left")]


@dataclass(frozen=True)
class Counts:
    """What boxes above the confidence threshold come to.

    A ratio whose denominator is 0 is 0.

    Attributes:
        true_positives: boxes that are the first on their truth.
        false_positives: all others.
        truths: how many objects there are.
        overlap: sum of the true positives' overlaps.
    """

    true_positives: int
    false_positives: int
    truths: int
    overlap: float

    @property
    def false_negatives(self) -> int:
        """Objects that were not found."""
        return self.truths - self.true_positives

    @property
    def precision(self) -> float:
        """The share of the boxes that are right."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """The share of the objects that were found."""
        return _ratio(self.true_positives, self.truths)

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        return _ratio(2 * self.precision * self.recall, self.precision + self.recall)

    @property
    def average_iou(self) -> float:
        """Mean overlap of the boxes; one that is wrong counts as 0."""
        return _ratio(self.overlap, self.true_positives + self.false_positives)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, fit for JSON."""
        return {
            "truths": self.truths,
            "true_positives": self.true_positives,
            "false_positives": self.false_positives,
            "false_negatives": self.false_negatives,
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "average_iou": self.average_iou,
        }


@dataclass(frozen=True)
class ClassResult:
    """One class.

    Attributes:
        class_id: its number.
        name: its name.
        average_precision: 0 to 1; 0 for a class without truths.
        counts: above the confidence threshold.
        curve: over all its boxes.
    """

    class_id: int
    name: str
    average_precision: float
    counts: Counts
    curve: Curve = field(repr=False)


@dataclass(frozen=True)
class MapResult:
    """What ``detector map`` prints.

    Attributes:
        classes: every one, in order.
        num_images: how many.
        iou: overlap above which a box is on a truth.
        points: one of ``POINTS``.
        confidence: above which boxes count for precision, recall and F1.
    """

    classes: tuple[ClassResult, ...]
    num_images: int
    iou: float
    points: int
    confidence: float

    @property
    def mean_average_precision(self) -> float:
        """Over all classes, those without truths included, which count as 0."""
        return _ratio(sum(row.average_precision for row in self.classes), len(self.classes))

    @property
    def present(self) -> tuple[ClassResult, ...]:
        """The classes of which there are truths."""
        return tuple(row for row in self.classes if row.counts.truths)

    @property
    def mean_over_present(self) -> float:
        """Over the classes of which there are truths."""
        return _ratio(sum(row.average_precision for row in self.present), len(self.present))

    @property
    def counts(self) -> Counts:
        """Of all classes together."""
        parts = [row.counts for row in self.classes]
        return Counts(
            sum(part.true_positives for part in parts),
            sum(part.false_positives for part in parts),
            sum(part.truths for part in parts),
            sum(part.overlap for part in parts),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists, fit for JSON; the curves are left out."""
        return {
            "iou": self.iou,
            "points": self.points,
            "confidence": self.confidence,
            "images": self.num_images,
            "mean_average_precision": self.mean_average_precision,
            "mean_average_precision_of_present_classes": self.mean_over_present,
            **self.counts.to_dict(),
            "classes": [
                {
                    "class_id": row.class_id,
                    "name": row.name,
                    "average_precision": row.average_precision,
                    **row.counts.to_dict(),
                }
                for row in self.classes
            ],
        }


def mean_average_precision(
    images: Sequence[ImageBoxes],
    names: Sequence[str],
    *,
    iou: float = 0.5,
    points: int = 0,
    confidence: float = 0.25,
) -> MapResult:
    """Darknet's numbers for a set of images.

    Args:
        images: what was found, with scores from some low threshold on (Darknet's is .005), and what
            is there.
        names: of all classes.
        iou: how much a box must overlap a truth.
        points: how the curve is read, one of ``POINTS``.
        confidence: above which boxes count for precision, recall and F1.

    Raises:
        InputError: without images, or for another number of points.
    """
    if not images:
        raise InputError("expected the boxes of one or more images")
    if points not in POINTS:
        raise InputError(
            f"expected {', '.join(map(str, POINTS[:-1]))} or {POINTS[-1]}",
            argument="points",
            value=points,
        )
    truths = np.bincount(
        np.concatenate([image.truths[:, 4] for image in images]).astype(np.int64),
        minlength=len(names),
    ).tolist()
    classes = []
    for class_id, (name, own) in enumerate(
        zip(names, _match_all(images, iou, confidence).by_class(len(names)), strict=True)
    ):
        curve = own.curve(truths[class_id])
        classes.append(
            ClassResult(
                class_id,
                name,
                average_precision(curve, points),
                own.counts(truths[class_id]),
                curve,
            )
        )
    return MapResult(tuple(classes), len(images), iou, points, confidence)


def average_precision(curve: Curve, points: int) -> float:
    """One number for a curve: the mean precision at ``points`` recalls, or the area under it for
    0.
    """
    if not points:
        return float(np.diff(curve.recall, prepend=0) @ curve.envelope)
    # Darknet is built with -Ofast, which makes point / 10 a multiplication with .1: 6 * .1 is a
    # hair above 3 / 5.
    return float(curve.precision_at(np.arange(points) * (1 / (points - 1))).sum() / points)


# ---- boxes and truths ----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Matches:
    """Boxes of many images.

    Attributes:
        scores: (N,).
        class_ids: (N,).
        hits: (N,) whether it is the best box on its truth.
        ranked: (N,) whether it stands in the ranking; one on a difficult object does not.
        positive, negative: (N,) whether it is a true or a false positive above the confidence
            threshold.
        overlaps: (N,) with its truth.
    """

    scores: np.ndarray
    class_ids: np.ndarray
    hits: np.ndarray
    ranked: np.ndarray
    positive: np.ndarray
    negative: np.ndarray
    overlaps: np.ndarray

    def by_class(self, classes: int) -> Iterator[_Matches]:
        """The part of each class, in the same order."""
        order = np.argsort(self.class_ids, kind="stable")
        for rows in np.split(order, np.searchsorted(self.class_ids[order], np.arange(1, classes))):
            yield _Matches(*(values[rows] for values in vars(self).values()))

    def curve(self, truths: int) -> Curve:
        """Of one class of which there are so many truths."""
        order = np.argsort(-self.scores[self.ranked], kind="stable")
        hits = self.hits[self.ranked][order].cumsum()
        return Curve(
            self.scores[self.ranked][order],
            hits / np.arange(1, len(hits) + 1),
            hits / max(truths, 1),
        )

    def counts(self, truths: int) -> Counts:
        """Likewise."""
        return Counts(
            int(self.positive.sum()),
            int(self.negative.sum()),
            truths,
            float(self.overlaps[self.positive].sum(dtype=np.float64)),
        )


def _match_all(images: Sequence[ImageBoxes], iou: float, confidence: float) -> _Matches:
    scores = np.concatenate([image.scores for image in images])
    parts = [_match(image, np.float32(iou)) for image in images]
    # Truths are numbered through all images, so that one look finds the best box of each.
    starts = np.cumsum([0, *(len(image.truths) for image in images)])
    truth = np.concatenate(
        [
            np.where(part[0] >= 0, part[0] + start, _NO_TRUTH)
            for part, start in zip(parts, starts, strict=False)
        ]
    )
    above = scores > np.float32(confidence)
    # Above the confidence threshold, the first in Darknet's list has the truth; in the ranking, the
    # best one.
    positive = above & _first_of_each(truth, np.arange(len(truth)))
    return _Matches(
        scores,
        np.concatenate([image.class_ids for image in images]),
        hits=_first_of_each(truth, np.argsort(-scores, kind="stable")),
        ranked=np.concatenate([part[2] for part in parts]),
        positive=positive,
        negative=above & ~positive,
        overlaps=np.concatenate([part[1] for part in parts]),
    )


def _match(image: ImageBoxes, iou: np.float32) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N,) index of each box's truth or -1, (N,) overlap with it, (N,) whether the box stands in
    the ranking.
    """
    number, overlap = _best_truth(image, image.truths, iou)
    ranked = np.ones(len(number), bool)
    if image.difficult is not None:
        # Such a box is taken out of the ranking, yet Darknet has counted it above the confidence
        # threshold.
        ranked = (number >= 0) | (_best_truth(image, image.difficult, iou)[0] < 0)
    return number, overlap, ranked


def _best_truth(
    image: ImageBoxes, truths: np.ndarray, iou: np.float32
) -> tuple[np.ndarray, np.ndarray]:
    if not len(truths) or not len(image.scores):
        return np.full(len(image.scores), _NO_TRUTH), np.zeros(len(image.scores), np.float32)
    overlaps = pairwise_iou(
        torch.from_numpy(image.boxes_cxcywh), torch.from_numpy(truths[:, :4])
    ).numpy()
    overlaps = np.where(
        (image.class_ids[:, None] == truths[None, :, 4]) & (overlaps > iou), overlaps, 0
    )
    best = overlaps.argmax(1)
    value = overlaps[np.arange(len(best)), best]
    return np.where(value > 0, best, _NO_TRUTH), value


def _first_of_each(truth: np.ndarray, order: np.ndarray) -> np.ndarray:
    """(N,) bool: which boxes come first, in an order, of those on the same truth."""
    first = np.zeros(len(truth), bool)
    numbers, places = np.unique(truth[order], return_index=True)
    first[order[places[numbers >= 0]]] = True
    return first


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
