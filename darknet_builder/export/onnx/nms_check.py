"""Compare the boxes that an exported graph keeps with those of the project's own suppression."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from darknet_builder.boxes.nms import nms_by_class
from darknet_builder.boxes.overlap import pairwise_iou
from darknet_builder.errors import ExportError
from darknet_builder.export.tolerance import ABSOLUTE, OF_NORM, Comparison

_NUM_CANDIDATES = 200
"""About how many scores should exceed the threshold of a comparison."""


_IOU_RANGE = (0.3, 0.6)
"""The IoU threshold of a comparison is chosen in this range."""


_MIN_MARGIN = 1e-4
"""Minimum distance of the threshold from every score, as a fraction of the threshold."""


# ---- suppression ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kept:
    """The boxes that are left in a batch after suppression.

    Attributes:
        rows: (M, 5) of x, y, w, h and score; centre and size as fractions of the input.
        groups: (M, 2) int64 of image index and class id.
    """

    rows: Tensor
    groups: Tensor


def suppress(
    boxes: Tensor, scores: Tensor, objectness: Tensor, threshold: float, overlap: float
) -> Kept:
    """Compute what a graph of level ``nms`` must return, from the outputs of level ``decoded``.

    Args:
        boxes: (B, N, 4) of x, y, w, h, as fractions of the input.
        scores: (B, N, C) in [0, 1].
        objectness: (B, N) in [0, 1].
        threshold: score and objectness must both exceed it.
        overlap: the NMS IoU threshold, in [0, 1].
    """
    rows, groups = [], []
    for image in range(len(boxes)):
        # (N, 1) & (N, C): as in Darknet, an object needs both its objectness and its score.
        visible = (objectness[image, :, None] > threshold) & (scores[image] > threshold)
        kept_scores = nms_by_class(boxes[image], torch.where(visible, scores[image], 0.0), overlap)
        box_index, class_id = kept_scores.nonzero(as_tuple=True)  # (M,) each
        score = kept_scores[box_index, class_id, None]  # (M, 1)
        rows.append(torch.cat((boxes[image, box_index], score), 1))
        groups.append(torch.stack((torch.full_like(class_id, image), class_id), 1))
    return Kept(torch.cat(rows), torch.cat(groups))


def clear_thresholds(boxes: Tensor, scores: Tensor, objectness: Tensor) -> tuple[float, float]:
    """Choose two thresholds that lie well away from every score and every IoU.

    With them, rounding cannot decide whether a box is kept. They leave some hundred candidates,
    whatever the network was trained for.

    Args:
        boxes: (B, N, 4) of x, y, w, h, as fractions of the input.
        scores: (B, N, C) in [0, 1].
        objectness: (B, N) in [0, 1].

    Returns:
        The confidence threshold and the IoU threshold.
    """
    # Score and objectness must both exceed the threshold, so the smaller of them decides.
    deciding = torch.minimum(scores, objectness.unsqueeze(-1)).flatten()  # (B * N * C,)
    threshold = _clear_score(deciding[deciding > 0].sort(descending=True).values)
    # With the two ends of the range in the list, it has a gap even if no boxes overlap.
    overlaps = [boxes.new_tensor(_IOU_RANGE)]
    for image in range(len(boxes)):
        visible = (objectness[image] > threshold) & (scores[image] > threshold).any(1)
        overlaps.append(pairwise_iou(boxes[image, visible], boxes[image, visible]).flatten())
    ious = torch.cat(overlaps).sort().values
    in_range = (ious >= min(_IOU_RANGE)) & (ious <= max(_IOU_RANGE))
    return threshold, _widest_gap(ious[in_range])


def _clear_score(best: Tensor) -> float:
    """Return the middle of the widest gap between two scores of about rank 200.

    Args:
        best: positive scores in descending order; may be empty, which gives 0.
    """
    limit = 2 * _NUM_CANDIDATES
    while len(best):
        # Look between these ranks; the slice is wider on each round:
        #     round 1: best[100:400]   round 2: best[400:1600]   ...
        # A network may give nearly equal scores everywhere, for example 1. Then the first slice
        # has no clear gap, and further scores are needed.
        low_ranks = best[min(limit, len(best)) // 4 : limit].unique()
        if len(low_ranks) == 1:
            # All equal, as the objectness of YOLO v1 is: use the gap between 0 and that score.
            low_ranks = torch.cat((low_ranks.new_zeros(1), low_ranks))
        threshold = _widest_gap(low_ranks)
        margin = float((low_ranks - threshold).abs().min())
        if limit >= len(best) or margin > _MIN_MARGIN * threshold:
            return threshold
        limit *= 4
    return 0.0


def _widest_gap(values: Tensor) -> float:
    """Return the middle of the widest gap between neighbours in a sorted list."""
    start = int(values.diff().abs().argmax())
    return float((values[start] + values[start + 1]) / 2)


# ---- comparison ----------------------------------------------------------------------------------


def compare_kept(what: str, wanted: Kept, found: Mapping[str, np.ndarray]) -> Comparison:
    """Compare the boxes that are left after suppression in PyTorch and in a file.

    The order within a class does not count, because it may change where scores are equal.

    Args:
        what: the name of the input, for messages.
        wanted: the boxes that PyTorch keeps.
        found: the outputs of a graph of level ``nms`` by name.

    Raises:
        ExportError: if a box is missing, added, or further away than float32 rounding explains.
    """
    kept = _to_kept(found)
    if len(kept.rows) != len(wanted.rows):
        raise ExportError(
            f"{what}: the file keeps {len(kept.rows)} boxes after suppression, PyTorch keeps"
            f" {len(wanted.rows)}"
        )
    difference = 0.0
    for group in wanted.groups.unique(dim=0):
        ours = wanted.rows[(wanted.groups == group).all(1)].double()  # (M, 5)
        theirs = kept.rows[(kept.groups == group).all(1)].double()
        image_id, class_id = group.tolist()
        if len(ours) != len(theirs):
            raise ExportError(
                f"{what}: the file keeps {len(theirs)} boxes of class {class_id} in image"
                f" {image_id}, PyTorch keeps {len(ours)}"
            )
        # (M, 1, 5) - (1, M, 5): for each of our boxes, the distance to the nearest of theirs.
        nearest = (ours[:, None] - theirs[None]).abs().amax(2).amin(1)
        difference = max(difference, float(nearest.max()))
        if difference > ABSOLUTE + OF_NORM * float(ours.abs().max()):
            raise ExportError(
                f"{what}: a box of class {class_id} differs from PyTorch's by {difference:.3g}"
            )
    largest = float(wanted.rows.abs().max()) if len(kept.rows) else 0.0
    return Comparison(what, difference, largest, len(kept.rows))


def _to_kept(outputs: Mapping[str, np.ndarray]) -> Kept:
    """Convert the outputs of a graph of level ``nms``."""
    # Programs differ in the shape of a vector: (M,) or (M, 1).
    boxes = torch.as_tensor(outputs["boxes"]).reshape(-1, 4)
    scores = torch.as_tensor(outputs["scores"]).reshape(-1, 1)
    image_ids = torch.as_tensor(outputs["image_ids"]).flatten().long()
    class_ids = torch.as_tensor(outputs["class_ids"]).flatten().long()
    return Kept(torch.cat((boxes, scores), 1), torch.stack((image_ids, class_ids), 1))
