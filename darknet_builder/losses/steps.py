"""Steps that several losses share: who overlaps whom, in which order to write, focal loss."""

from __future__ import annotations

import torch
from torch import Tensor

from darknet_builder.boxes.overlap import pairwise_iou

_FOCAL_ALPHA = 0.5
_TINY = 1e-15


def rounds(places: Tensor) -> list[Tensor]:
    """Cut assignments into rounds in which no place comes twice: (M,) -> index tensors, in the
    places' order.

    Darknet writes one truth after the other, and what it writes depends on what stands there.
    Truths of different places do not meet, so each round can be written at once; there are as many
    rounds as truths in the fullest place.
    """
    order = torch.argsort(places, stable=True)
    ordered = places[order]
    starts = torch.ones_like(ordered, dtype=torch.bool)
    starts[1:] = ordered[1:] != ordered[:-1]
    index = torch.arange(len(places), device=places.device)
    first = torch.where(starts, index, 0).cummax(0).values
    rank = torch.empty_like(order)
    rank[order] = index - first
    most = int(rank.max()) + 1 if len(places) else 0
    return [(rank == number).nonzero().flatten() for number in range(most)]


def best_overlaps(boxes: Tensor, truths: Tensor, batch: int) -> tuple[Tensor, Tensor]:
    """Each place's best IoU over its image's truths, and which truth that is.

    Args:
        boxes: (N, 4) predicted, image after image.
        truths: (M, 6), rows image, x, y, w, h, class.
        batch: how many images.

    Returns:
        (N,) 0 where nothing overlaps, and (N,) rows of ``truths``.
    """
    best = boxes.new_zeros(len(boxes))
    which = torch.zeros(len(boxes), dtype=torch.long, device=boxes.device)
    per_image = len(boxes) // batch
    for image in range(batch):
        rows = (truths[:, 0] == image).nonzero().flatten()
        if len(rows):
            here = slice(image * per_image, (image + 1) * per_image)
            overlap = pairwise_iou(boxes[here], truths[rows, 1:5]).nan_to_num(
                0
            )  # a comparison with NaN fails in C
            best[here], column = overlap.max(1)
            which[here] = rows[column]
    return best, which


def cells_of(points: Tensor, width: int, height: int) -> Tensor:
    """(K, 2) relative to the image -> (K, 2) column and row, within the grid."""
    cells = (points * points.new_tensor([width, height])).long().clamp(min=0)
    return torch.minimum(cells, torch.tensor([width - 1, height - 1], device=cells.device))


def focal_deltas(shares: Tensor, own: Tensor) -> Tensor:
    """Class deltas with focal loss, alpha 0.5 and gamma 2 (yolo_layer.c:320).

    Args:
        shares: (K, C) predicted.
        own: (K, 1), the truth's class.
    """
    true = shares.gather(1, own) + _TINY
    weight = -(1 - true) * (2 * true * true.log() + true - 1)
    return (torch.zeros_like(shares).scatter(1, own, 1.0) - shares) * _FOCAL_ALPHA * weight
