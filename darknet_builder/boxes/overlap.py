"""Overlap of boxes: IoU, GIoU, DIoU and CIoU as in AlexeyAB's box.c.

A box is four numbers: ``cxcywh`` (centre, size) or ``xyxy`` (two corners), in pixels or as a
fraction of the image, as long as x and width (y and height) share the unit.

Functions annotated with ``Array`` accept a tensor or a NumPy array and return the same kind: losses
need PyTorch's gradients, while for the few boxes of an image NumPy's calls cost a fraction of
PyTorch's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from darknet_builder.boxes.formats import Array, library_of

CIOU_EPSILON = 1e-6
"""Keeps alpha finite for equal boxes (box.c:253)."""


def iou(first_cxcywh: Tensor, second_cxcywh: Tensor) -> Tensor:
    """Return the intersection over union: (..., 4), (..., 4) broadcast -> (...) (box.c:146).

    It is 0 where the union is 0.

    Example:
        >>> iou(torch.tensor([1.0, 1.0, 2.0, 2.0]), torch.tensor([2.0, 1.0, 2.0, 2.0]))
        tensor(0.3333)
    """
    return _iou(*intersection_and_union(measures(first_cxcywh), measures(second_cxcywh)))


def giou(first_cxcywh: Tensor, second_cxcywh: Tensor) -> Tensor:
    """Return IoU - (C - U) / C, with C the area around both boxes (box.c:160).

    Shapes: (..., 4), (..., 4) broadcast -> (...).

    Example:
        >>> giou(torch.tensor([1.0, 1.0, 2.0, 2.0]), torch.tensor([4.0, 1.0, 2.0, 2.0]))
        tensor(-0.2000)
    """
    first, second = measures(first_cxcywh), measures(second_cxcywh)
    intersection, union = intersection_and_union(first, second)
    width, height = _around(first, second)
    area = width * height
    overlap = _iou(intersection, union)
    return torch.where(area == 0, overlap, overlap - (area - union) / area)


def diou(first_cxcywh: Tensor, second_cxcywh: Tensor, beta: float) -> Tensor:
    """Return IoU - (d^2 / c^2)^beta: d between centres, c the diagonal around both boxes.

    Shapes: (..., 4), (..., 4) broadcast -> (...). Sources: box.c:195, box.c:222.

    Example:
        >>> diou(torch.tensor([1.0, 1.0, 2.0, 2.0]), torch.tensor([3.0, 1.0, 2.0, 2.0]), beta=1)
        tensor(-0.2000)
    """
    first, second = measures(first_cxcywh), measures(second_cxcywh)
    return less_distance(_iou(*intersection_and_union(first, second)), first, second, beta)


def ciou(first_cxcywh: Tensor, second_cxcywh: Tensor) -> Tensor:
    """Return IoU - d^2 / c^2 - alpha v, with v the difference of the shapes (box.c:243).

    Shapes: (..., 4), (..., 4) broadcast -> (...).

    Example:
        >>> ciou(torch.tensor([1.0, 1.0, 2.0, 2.0]), torch.tensor([3.0, 1.0, 2.0, 2.0]))
        tensor(-0.2000)
    """
    first, second = measures(first_cxcywh), measures(second_cxcywh)
    overlap = _iou(*intersection_and_union(first, second))
    distance, diagonal = _squared_distances(first, second)
    shape = 4 / math.pi**2 * (slant(second_cxcywh) - slant(first_cxcywh)).square()
    alpha = shape / (1 - overlap + shape + CIOU_EPSILON)
    return torch.where(diagonal == 0, overlap, overlap - distance / diagonal - alpha * shape)


def slant(boxes_cxcywh: Tensor) -> Tensor:
    """Return the angle whose tangent is width / height: (..., 4) -> (...)."""
    return (boxes_cxcywh[..., 2] / boxes_cxcywh[..., 3]).atan()


# These functions work on x and y separately: a trailing axis of length 2 would make every pairwise
# operation loop over 2 elements, which is slow.


def measures(boxes_cxcywh: Array) -> tuple[Array, ...]:
    """Return left, top, right, bottom, area, centre x and centre y of boxes.

    Shapes: (..., 4) -> (...) each.
    """
    x, y, width, height = (boxes_cxcywh[..., axis] for axis in range(4))
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2, width * height, x, y


def intersection_and_union(first: Sequence[Array], second: Sequence[Array]) -> tuple[Array, Array]:
    """Return the areas of intersection and union of boxes given by their ``measures``."""
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
    return torch.where(
        (union == 0) | (intersection == 0), torch.zeros_like(union), intersection / union
    )


def _around(first: Sequence[Array], second: Sequence[Array]) -> tuple[Array, Array]:
    """Return width and height of the smallest box around both, from their ``measures``."""
    library = library_of(first[0])
    return (
        library.maximum(first[2], second[2]) - library.minimum(first[0], second[0]),
        library.maximum(first[3], second[3]) - library.minimum(first[1], second[1]),
    )


def _squared_distances(first: Sequence[Array], second: Sequence[Array]) -> tuple[Array, Array]:
    """Return the squared distance of the centres, and the squared diagonal around both."""
    width, height = _around(first, second)
    across, down = first[5] - second[5], first[6] - second[6]
    square = library_of(width).square
    return square(across) + square(down), square(width) + square(height)


def less_distance(
    overlap: Array, first: Sequence[Array], second: Sequence[Array], beta: float
) -> Array:
    """Subtract the distance from an overlap, as ``diou`` does."""
    distance, diagonal = _squared_distances(first, second)
    return library_of(overlap).where(
        diagonal == 0, overlap, overlap - (distance / diagonal) ** beta
    )


def pairwise_iou(first_cxcywh: Tensor, second_cxcywh: Tensor) -> Tensor:
    """Return ``iou`` of every pair: (N, 4), (M, 4) -> (N, M).

    Example:
        >>> boxes = torch.tensor([[1.0, 1.0, 2.0, 2.0], [2.0, 1.0, 2.0, 2.0]])
        >>> pairwise_iou(boxes, boxes)
        tensor([[1.0000, 0.3333],
                [0.3333, 1.0000]])
    """
    return iou(first_cxcywh[:, None], second_cxcywh[None])  # (N, 1, 4), (1, M, 4) -> (N, M)
