"""Precision, recall and average precision of boxes, as ``darknet detector map`` computes them.

The rules are those of detector.c:937, not COCO's: a box belongs to the ground truth of its class
that it overlaps most, even if a better box already has it, and the overlap must be larger than the
threshold, not equal to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from darknet_builder.errors import InputError
from darknet_builder.evaluation.map_rules import POINTS
from darknet_builder.evaluation.matching import Matches, match_all


@dataclass(frozen=True)
class ImageBoxes:
    """Detections and ground truth of one image; boxes are relative to the image.

    Attributes:
        boxes_cxcywh: (N, 4) float32, one row for each class of a box, in Darknet's order.
        scores: (N,) float32, 0 to 1.
        class_ids: (N,) int32, the class of each row.
        truths: (T, 5) float32, ground truth in rows x, y, w, h, class.
        image_size: (width, height) in pixels.
        difficult: (D, 5) float32, objects that need not be found, in the same format; a box on one
            of them is left out of the ranking. None without such objects.

    Example:
        >>> nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32)
        >>> truths = np.array([[0.5, 0.5, 0.2, 0.2, 0]], np.float32)  # one object of class 0
        >>> image = ImageBoxes(*nothing, truths, image_size=(640, 480))
        >>> mean_average_precision([image], ["cat"]).counts.false_negatives
        1
    """

    boxes_cxcywh: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    truths: np.ndarray
    image_size: tuple[int, int]
    difficult: np.ndarray | None = None


@dataclass(frozen=True)
class Curve:
    """Precision and recall of a class after each of its boxes, the highest score first.

    Attributes:
        scores: (N,) scores of the boxes.
        precision: (N,) float64, 0 to 1.
        recall: (N,) float64, 0 to 1, non-decreasing.
    """

    scores: np.ndarray
    precision: np.ndarray
    recall: np.ndarray

    @property
    def envelope(self) -> np.ndarray:
        """Return (N,): the highest precision at each recall or a higher one."""
        # precision  1  .5 .67 .5      from the right, the largest so far:  1  .67 .67 .5
        return np.maximum.accumulate(self.precision[::-1])[::-1]

    def precision_at(self, recalls: np.ndarray) -> np.ndarray:
        """Return the envelope at given recalls; 0 beyond the highest recall that was reached.

        Args:
            recalls: (R,), 0 to 1.

        Returns:
            (R,) float64.
        """
        # searchsorted gives the first box that reaches the recall, or N if none does.
        return np.append(self.envelope, 0.0)[np.searchsorted(self.recall, recalls, side="left")]


@dataclass(frozen=True)
class Counts:
    """True and false positives above the confidence threshold.

    A ratio whose denominator is 0 is 0.

    Attributes:
        true_positives: boxes that are the first on their ground truth.
        false_positives: number of all other boxes above the threshold.
        truths: number of objects in the ground truth.
        overlap: sum of the IoUs of the true positives.
    """

    true_positives: int
    false_positives: int
    truths: int
    overlap: float

    @property
    def false_negatives(self) -> int:
        """Return the number of objects that were not found."""
        return self.truths - self.true_positives

    @property
    def precision(self) -> float:
        """Return the share of the boxes that are right."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """Return the share of the objects that were found."""
        return _ratio(self.true_positives, self.truths)

    @property
    def f1(self) -> float:
        """Return the harmonic mean of precision and recall."""
        return _ratio(2 * self.precision * self.recall, self.precision + self.recall)

    @property
    def average_iou(self) -> float:
        """Return the mean IoU of the boxes, in which a false positive counts as 0."""
        return _ratio(self.overlap, self.true_positives + self.false_positives)

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers for JSON."""
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
    """The result of one class.

    Attributes:
        class_id: number of the class.
        name: name of the class.
        average_precision: 0 to 1; 0 for a class without ground truth.
        counts: counts above the confidence threshold.
        curve: curve over all boxes of the class.
    """

    class_id: int
    name: str
    average_precision: float
    counts: Counts
    curve: Curve = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers for JSON, without the curve."""
        return {
            "class_id": self.class_id,
            "name": self.name,
            "average_precision": self.average_precision,
            **self.counts.to_dict(),
        }


@dataclass(frozen=True)
class MapResult:
    """The numbers that ``darknet detector map`` prints.

    Attributes:
        classes: all classes, in order.
        num_images: number of images, with and without objects.
        iou: IoU above which a box matches a ground truth.
        points: number of points at which the curve is read, one of ``POINTS``.
        confidence: score above which boxes count for precision, recall and F1.

    Example:
        >>> result = MapResult((), num_images=0, iou=0.5, points=0, confidence=0.25)
        >>> result.mean_average_precision, result.counts.f1
        (0.0, 0.0)
    """

    classes: tuple[ClassResult, ...]
    num_images: int
    iou: float
    points: int
    confidence: float

    @property
    def mean_average_precision(self) -> float:
        """Return the mean over all classes; a class without ground truth counts as 0."""
        return _ratio(sum(row.average_precision for row in self.classes), len(self.classes))

    @property
    def present(self) -> tuple[ClassResult, ...]:
        """Return the classes with ground truth."""
        return tuple(row for row in self.classes if row.counts.truths)

    @property
    def mean_over_present(self) -> float:
        """Return the mean over the classes with ground truth."""
        return _ratio(sum(row.average_precision for row in self.present), len(self.present))

    @property
    def counts(self) -> Counts:
        """Return the counts of all classes together."""
        parts = [row.counts for row in self.classes]

        def total(name: str) -> Any:
            return sum(getattr(part, name) for part in parts)

        return Counts(
            total("true_positives"), total("false_positives"), total("truths"), total("overlap")
        )

    def to_dict(self) -> dict[str, Any]:
        """Return numbers, strings and lists for JSON, without the curves."""
        return {
            "iou": self.iou,
            "points": self.points,
            "confidence": self.confidence,
            "images": self.num_images,
            "mean_average_precision": self.mean_average_precision,
            "mean_average_precision_of_present_classes": self.mean_over_present,
            **self.counts.to_dict(),
            "classes": [row.to_dict() for row in self.classes],
        }


def mean_average_precision(
    images: Sequence[ImageBoxes],
    names: Sequence[str],
    *,
    iou: float = 0.5,
    points: int = 0,
    confidence: float = 0.25,
) -> MapResult:
    """Compute Darknet's numbers for a set of images.

    Args:
        images: detections and ground truth of each image. The scores should begin at a low
            threshold (Darknet uses .005).
        names: names of all classes.
        iou: IoU above which a box matches a ground truth.
        points: number of points at which the curve is read, one of ``POINTS``.
        confidence: score above which boxes count for precision, recall and F1.

    Raises:
        InputError: for an empty list of images, or if ``points`` is not one of ``POINTS``.

    Example:
        >>> boxes = np.array([[0.5, 0.5, 0.2, 0.2], [0.1, 0.1, 0.1, 0.1]], np.float32)
        >>> truths = np.array([[0.5, 0.5, 0.2, 0.2, 0]], np.float32)
        >>> scores, class_ids = np.array([0.9, 0.6], np.float32), np.array([0, 0], np.int32)
        >>> image = ImageBoxes(boxes, scores, class_ids, truths, (640, 480))
        >>> result = mean_average_precision([image], ["cat"])
        >>> result.mean_average_precision, result.counts.precision, result.counts.recall
        (1.0, 0.5, 1.0)
    """
    if not images:
        raise InputError("expected the boxes of one or more images")
    if points not in POINTS:
        raise InputError(
            f"expected {', '.join(map(str, POINTS[:-1]))} or {POINTS[-1]}",
            argument="points",
            value=points,
        )
    class_ids = np.concatenate([image.truths[:, 4] for image in images]).astype(np.int64)
    num_truths = np.bincount(class_ids, minlength=len(names)).tolist()  # of each class
    matches = match_all(images, iou, confidence).by_class(len(names))
    classes = []
    for class_id, (name, part) in enumerate(zip(names, matches, strict=True)):
        curve = _curve(part, num_truths[class_id])
        counts = _counts(part, num_truths[class_id])
        classes.append(ClassResult(class_id, name, average_precision(curve, points), counts, curve))
    return MapResult(tuple(classes), len(images), iou, points, confidence)


def average_precision(curve: Curve, points: int) -> float:
    """Reduce a curve to one number, 0 to 1.

    Args:
        curve: precision and recall of a class.
        points: number of recalls over which precision is averaged; 0 for the area under the curve.
    """
    if not points:
        # The sum of steps in recall times the best precision from there on.
        return float(np.diff(curve.recall, prepend=0) @ curve.envelope)
    # Darknet is built with -Ofast, which turns the division by 10 into a multiplication by .1.
    # 6 * .1 is slightly above 3 / 5, which decides whether a recall of 3 of 5 objects counts.
    return float(curve.precision_at(np.arange(points) * (1 / (points - 1))).sum() / points)


def _curve(matches: Matches, num_truths: int) -> Curve:
    """Return the curve of one class.

    Args:
        matches: boxes of this class.
        num_truths: number of its objects in the ground truth.
    """
    order = np.argsort(-matches.scores[matches.ranked], kind="stable")
    hits = matches.hits[matches.ranked][order].cumsum()  # hits among the first 1, 2, ... N boxes
    return Curve(
        matches.scores[matches.ranked][order],
        hits / np.arange(1, len(hits) + 1),
        hits / max(num_truths, 1),
    )


def _counts(matches: Matches, num_truths: int) -> Counts:
    """Return the counts of one class.

    Args:
        matches: boxes of this class.
        num_truths: number of its objects in the ground truth.
    """
    return Counts(
        int(matches.positive.sum()),
        int(matches.negative.sum()),
        num_truths,
        float(matches.overlaps[matches.positive].sum(dtype=np.float64)),
    )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
