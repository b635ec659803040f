"""Overlap of boxes: IoU, GIoU, DIoU and CIoU as in AlexeyAB's box.c.

A box is four numbers: ``cxcywh`` (centre, size) or ``xyxy`` (two corners), in pixels or as a
fraction of the image, as long as x and width (y and height) share the unit.

Functions annotated with ``Array`` accept a tensor or a NumPy array and return the same kind: losses
need PyTorch's gradients, while for the few boxes of an image NumPy's calls cost a fraction of
PyTorch's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, overload

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
    width, height = _for_x_and_y(_around, first, second)
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
# operation loop over 2 elements, which is slow. In an array, they are neighbouring rows, computed
# by one call: for few boxes, a call of NumPy costs more than its arithmetic.

Measures = Sequence[Tensor] | np.ndarray
"""Left, top, right, bottom, area, centre x and centre y of boxes: tensors (...) each, or an array
(7, ...)."""


@overload
def measures(boxes_cxcywh: Tensor) -> tuple[Tensor, ...]: ...


@overload
def measures(boxes_cxcywh: np.ndarray) -> np.ndarray: ...


def measures(boxes_cxcywh: Tensor | np.ndarray) -> Measures:
    """Return the measures of tensors of boxes (..., 4), or (7, M) of an array (M, 4)."""
    if isinstance(boxes_cxcywh, np.ndarray):
        centre, size = boxes_cxcywh.T[:2], boxes_cxcywh.T[2:]
        near, far = _near(centre, size), _far(centre, size)
        return np.concatenate((near, far, size[:1] * size[1:], centre))
    x, y, width, height = boxes_cxcywh.unbind(-1)
    return _near(x, width), _near(y, height), _far(x, width), _far(y, height), width * height, x, y


def _near(centre: Array, size: Array) -> Array:
    """Return the left or top edges of boxes."""
    return centre - size / 2


def _far(centre: Array, size: Array) -> Array:
    """Return the right or bottom edges of boxes."""
    return centre + size / 2


def intersection_and_union(first: Measures, second: Measures) -> tuple[Any, Any]:
    """Return the areas of intersection and union of boxes."""
    width, height = _for_x_and_y(_inside, first, second)
    intersection = width * height
    return intersection, first[4] + second[4] - intersection


def _for_x_and_y(formula: Callable[..., Any], first: Measures, second: Measures) -> Any:
    """Apply a formula to the near and far edges of two boxes, along x and along y."""
    sides = first[:2], first[2:4], second[:2], second[2:4]
    if isinstance(first, np.ndarray):
        return formula(*sides)
    return map(formula, *sides)


def _inside(near: Array, far: Array, other_near: Array, other_far: Array) -> Array:
    """Return the side of the intersection of boxes."""
    library = library_of(near)
    return _not_below_zero(library.minimum(far, other_far) - library.maximum(near, other_near))


def _not_below_zero(values: Array) -> Array:
    return values.clamp(min=0) if isinstance(values, Tensor) else np.maximum(values, 0)


def _around(near: Array, far: Array, other_near: Array, other_far: Array) -> Array:
    """Return the side of the smallest box around both."""
    library = library_of(near)
    return library.maximum(far, other_far) - library.minimum(near, other_near)


def _iou(intersection: Tensor, union: Tensor) -> Tensor:
    return torch.where(
        (union == 0) | (intersection == 0), torch.zeros_like(union), intersection / union
    )


def _squared_distances(first: Measures, second: Measures) -> tuple[Any, Any]:
    """Return the squared distance of the centres, and the squared diagonal around both."""
    width, height = _for_x_and_y(_around, first, second)
    across, down = first[5] - second[5], first[6] - second[6]
    square = library_of(width).square
    return square(across) + square(down), square(width) + square(height)


def less_distance(overlap: Array, first: Measures, second: Measures, beta: float) -> Array:
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
