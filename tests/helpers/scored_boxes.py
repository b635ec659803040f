"""Between the rows of ``ScoredBoxes`` and a table of scores with a column for each class."""

from __future__ import annotations

import numpy as np

from darknet_builder.boxes.candidates import ScoredBoxes


def scored_boxes(boxes_cxcywh: np.ndarray, scores: np.ndarray) -> ScoredBoxes:
    """Boxes (K, 4) and scores (K, C), zero where a class is below the threshold, as the rows of one
    image."""
    box_ids, class_ids = np.nonzero(scores)
    ones = np.ones(len(box_ids), np.float32)
    return ScoredBoxes(
        np.zeros_like(box_ids),
        box_ids,
        boxes_cxcywh[box_ids],
        ones,
        class_ids,
        scores[box_ids, class_ids],
        scores.shape[1],
    )


def score_table(rows: ScoredBoxes) -> np.ndarray:
    """(K, C): a row for each box that has one above the threshold."""
    kept, boxes = np.unique(rows.box_ids, return_inverse=True)
    table = np.zeros((len(kept), rows.num_classes), np.float32)
    table[boxes, rows.class_ids] = rows.scores
    return table
