"""Compare what an exported graph keeps after suppression with the project's own suppression."""

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

_WANTED = 200
"""How many candidates a comparison of suppression has, more or less."""


_OVERLAPS = (0.3, 0.6)
"""Between these an overlap is chosen for it."""


_CLEAR = 1e-4
"""How far, as a share of it, the nearest score should be from a threshold."""


# ---- suppression ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kept:
    """What is left after suppression, over a batch.

    Attributes:
        rows: (M, 5) of x, y, w, h, score.
        groups: (M, 2) of image and class.
    """

    rows: Tensor
    groups: Tensor


def suppress(
    boxes: Tensor, scores: Tensor, objectness: Tensor, threshold: float, overlap: float
) -> Kept:
    """What a graph of level ``nms`` must give, from the outputs of ``decoded``: (B, N, 4), (B, N,
    C), (B, N).
    """
    rows, groups = [], []
    for image in range(len(boxes)):
        visible = (objectness[image, :, None] > threshold) & (scores[image] > threshold)
        kept = nms_by_class(boxes[image], torch.where(visible, scores[image], 0.0), overlap)
        place, class_id = kept.nonzero(as_tuple=True)
        rows.append(torch.cat((boxes[image, place], kept[place, class_id, None]), 1))
        groups.append(torch.stack((torch.full_like(class_id, image), class_id), 1))
    return Kept(torch.cat(rows), torch.cat(groups))


def clear_thresholds(boxes: Tensor, scores: Tensor, objectness: Tensor) -> tuple[float, float]:
    """A score and an overlap that no candidate comes near, so that rounding decides over none of
    them.

    They leave some hundred candidates, whatever the network was trained for.
    """
    deciding = torch.minimum(
        scores, objectness.unsqueeze(-1)
    ).flatten()  # both must exceed the threshold
    threshold = _clear_score(deciding[deciding > 0].sort(descending=True).values)
    overlaps = [boxes.new_tensor(_OVERLAPS)]
    for image in range(len(boxes)):
        visible = (objectness[image] > threshold) & (scores[image] > threshold).any(1)
        overlaps.append(pairwise_iou(boxes[image, visible], boxes[image, visible]).flatten())
    together = torch.cat(overlaps).sort().values
    return threshold, _widest_gap(
        together[(together >= min(_OVERLAPS)) & (together <= max(_OVERLAPS))]
    )


def _clear_score(best: Tensor) -> float:
    """Between two of the best scores, or of more where these are all but equal, as in a network
    that says 1 everywhere.

    Args:
        best: positive, sorted.
    """
    most = 2 * _WANTED
    while len(best):
        # Zero stands below where all are equal, as the objectness of YOLO v1 is.
        worse = best[min(most, len(best)) // 4 : most].unique()
        threshold = _widest_gap(worse if len(worse) > 1 else torch.cat((worse.new_zeros(1), worse)))
        if most >= len(best) or float((worse - threshold).abs().min()) > _CLEAR * threshold:
            return threshold
        most *= 4
    return 0.0


def _widest_gap(values: Tensor) -> float:
    """The middle between two neighbours of a sorted list."""
    start = int(values.diff().abs().argmax())
    return float((values[start] + values[start + 1]) / 2)


def compare_kept(what: str, wanted: Kept, found: Mapping[str, np.ndarray]) -> Comparison:
    """Hold boxes after suppression against each other; their order within a class may differ where
    scores are equal.

    Args:
        what: the input.
        wanted: PyTorch's.
        found: the outputs of a graph of level ``nms`` by name.

    Raises:
        ExportError: when a box is missing, too much, or further off than float32 explains.
    """
    sizes = {"boxes": 4, "scores": 1}
    rows = torch.cat(
        [torch.as_tensor(found[name]).reshape(-1, size) for name, size in sizes.items()], 1
    )
    groups = torch.stack(
        [torch.as_tensor(found[name]).flatten().long() for name in ("image_ids", "class_ids")], 1
    )
    if len(rows) != len(wanted.rows):
        raise ExportError(
            f"{what}: {len(rows)} boxes are left in the file, {len(wanted.rows)} in PyTorch"
        )
    difference = 0.0
    for group in wanted.groups.unique(dim=0):
        ours = wanted.rows[(wanted.groups == group).all(1)].double()
        theirs = rows[(groups == group).all(1)].double()
        if len(ours) != len(theirs):
            raise ExportError(
                f"{what}: class {int(group[1])} of image {int(group[0])} has {len(theirs)} boxes in"
                f" the file, {len(ours)} in PyTorch"
            )
        apart = (ours[:, None] - theirs[None]).abs().amax(2).amin(1)
        difference = max(difference, float(apart.max()))
        if difference > ABSOLUTE + OF_NORM * float(ours.abs().max()):
            raise ExportError(
                f"{what}: a box of class {int(group[1])} differs from PyTorch's by {difference:.3g}"
            )
    return Comparison(
        what, difference, float(wanted.rows.abs().max()) if len(rows) else 0.0, len(rows)
    )
