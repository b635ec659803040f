"""Steps that several losses share: match boxes, order the writes, focal loss."""

from __future__ import annotations

import torch
from torch import Tensor

from darknet_builder.boxes.overlap import pairwise_iou

_FOCAL_ALPHA = 0.5
_TINY = 1e-15


def rounds(indices: Tensor) -> list[Tensor]:
    """Split writes into rounds in which each target index occurs at most once.

    Darknet writes one ground truth box after the other, and a write depends on what was written
    before to the same anchor box. Writes to different anchor boxes do not affect each other, so
    each round can be written at once::

        indices  7  3  7  5  7
        round    0  0  1  0  2   ->  [0, 1, 3], [2], [4]

    Args:
        indices: (M,) int64, the target of each write.

    Returns:
        Positions in ``indices``, one (K,) tensor a round, each rising.
    """
    # A stable sort puts equal indices side by side and keeps their order. The rank of a write is
    # its distance from the first one of its group.
    order = torch.argsort(indices, stable=True)
    ordered = indices[order]
    starts = torch.ones_like(ordered, dtype=torch.bool)
    starts[1:] = ordered[1:] != ordered[:-1]
    position = torch.arange(len(indices), device=indices.device)
    first = torch.where(starts, position, 0).cummax(0).values
    # For 7 3 7 5 7:   ordered 3 5 7 7 7   position - first 0 0 0 1 2   rank 0 0 1 0 2
    rank = torch.empty_like(order)
    rank[order] = position - first
    num_rounds = int(rank.max()) + 1 if len(indices) else 0
    return [(rank == number).nonzero().flatten() for number in range(num_rounds)]


def best_overlaps(boxes: Tensor, ground_truth: Tensor, batch: int) -> tuple[Tensor, Tensor]:
    """Find the ground truth box of the same image that each predicted box overlaps most.

    Args:
        boxes: (N, 4) predicted, image after image, equally many of each.
        ground_truth: (M, 6), rows image, x, y, w, h, class.
        batch: number of images, B; N is a multiple of it.

    Returns:
        (N,) IoU, 0 without an overlap, and (N,) rows of ``ground_truth``.
    """
    best = boxes.new_zeros(len(boxes))
    best_row = torch.zeros(len(boxes), dtype=torch.long, device=boxes.device)
    per_image = len(boxes) // batch
    for image in range(batch):
        rows = (ground_truth[:, 0] == image).nonzero().flatten()
        if len(rows):
            here = slice(image * per_image, (image + 1) * per_image)
            # A comparison with NaN is false in C, so NaN is never the best one.
            # (N / B, rows of this image)
            overlap = pairwise_iou(boxes[here], ground_truth[rows, 1:5]).nan_to_num(0)
            best[here], column = overlap.max(1)
            best_row[here] = rows[column]
    return best, best_row


def cells_of(points: Tensor, width: int, height: int) -> Tensor:
    """Find the cells of points.

    Args:
        points: (K, 2) x and y, relative to the image.
        width: number of columns of the grid.
        height: number of rows of the grid.

    Returns:
        (K, 2) int64, column and row, clipped to the grid.
    """
    cells = (points * points.new_tensor([width, height])).long().clamp(min=0)
    return torch.minimum(cells, torch.tensor([width - 1, height - 1], device=cells.device))


def focal_deltas(predicted: Tensor, target: Tensor) -> Tensor:
    """Return class deltas with focal loss, alpha 0.5 and gamma 2 (yolo_layer.c:320).

    Args:
        predicted: (K, C) class probabilities.
        target: (K, 1) int64, the class of the ground truth box.
    """
    true = predicted.gather(1, target) + _TINY
    weight = -(1 - true) * (2 * true * true.log() + true - 1)
    return (torch.zeros_like(predicted).scatter(1, target, 1.0) - predicted) * _FOCAL_ALPHA * weight
