"""Predictions of a head: all boxes before a threshold, and the rows above it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from darknet_builder.boxes.formats import on_cpu


@dataclass(frozen=True)
class Candidates:
    """The decoded output of a head, before any threshold.

    B images, N boxes, C classes.

    Attributes:
        boxes_cxcywh: (B, N, 4) relative to the network's input, in [0, 1] where the object is
            inside.
        objectness: (B, N) in [0, 1].
        scores: (B, N, C), the probability of each class, times the objectness if the head has one.

    Example:
        >>> import torch
        >>> boxes = torch.tensor([[[0.5, 0.5, 0.2, 0.2], [0.1, 0.1, 0.1, 0.1]]])
        >>> objectness = torch.tensor([[0.8, 0.1]])
        >>> scores = torch.tensor([[[0.7, 0.05], [0.1, 0.0]]])
        >>> Candidates(boxes, objectness, scores).above(0.5).class_ids
        array([0])
    """

    boxes_cxcywh: Tensor
    objectness: Tensor
    scores: Tensor

    def above(self, threshold: float) -> ScoredBoxes:
        """Return the boxes and classes whose objectness and score both exceed a threshold."""
        # Select on the device, so that only the K boxes above the threshold are copied.
        image_ids, indices = (self.objectness > threshold).nonzero(as_tuple=True)  # (K,) each
        scores = on_cpu(self.scores[image_ids, indices])  # (K, C)
        box_ids, class_ids = np.nonzero(scores > threshold)  # (M,) each
        return ScoredBoxes(
            on_cpu(image_ids)[box_ids],
            box_ids,
            on_cpu(self.boxes_cxcywh[image_ids, indices])[box_ids],
            on_cpu(self.objectness[image_ids, indices])[box_ids],
            class_ids,
            scores[box_ids, class_ids],
            self.scores.shape[2],
        )


@dataclass(frozen=True)
class ScoredBoxes:
    """Rows above a threshold in a batch: one box and one of its classes per row.

    A box of two classes has two rows.

    Attributes:
        image_ids: (M,) int64, index of the image in the batch.
        box_ids: (M,) int64, non-decreasing. Rows with equal values are one box, listed once for
            each class.
        boxes_cxcywh: (M, 4) float32. From a head, relative to the network's input; they may be
            infinite for an untrained network. From ``postprocess``, relative to the image, whose
            edges they may cross.
        objectness: (M,) float32, above the threshold.
        class_ids: (M,) int64. From a head, increasing within a box.
        scores: (M,) float32, above the threshold: the probability of the class times the
            objectness.
        num_classes: number of classes that the head reports.

    Example:
        >>> one = np.zeros(1, np.int64)
        >>> boxes = np.full((1, 4), 0.5, np.float32)
        >>> rows = ScoredBoxes(one, one, boxes, np.ones(1), one, np.ones(1), num_classes=80)
        >>> len(rows), len(rows.take(np.array([False])))
        (1, 0)
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
        """Return some rows, given (K,) indices or (M,) booleans."""
        if rows.dtype == bool:
            rows = rows.nonzero()[0]
        # Faster than indexing.
        return ScoredBoxes(
            self.image_ids.take(rows),
            self.box_ids.take(rows),
            self.boxes_cxcywh.take(rows, 0),
            self.objectness.take(rows),
            self.class_ids.take(rows),
            self.scores.take(rows),
            self.num_classes,
        )
