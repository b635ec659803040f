"""The gradient of an overlap with respect to the predicted box, as in Darknet (box.c:258)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from darknet_builder.boxes.formats import cxcywh_to_xyxy
from darknet_builder.boxes.overlap import CIOU_EPSILON, slant


def overlap_gradient(kind: str, predicted_cxcywh: Tensor, truth_cxcywh: Tensor) -> Tensor:
    """Compute Darknet's ``dx_box_iou``, the direction in which an overlap grows.

    It differs from the derivative:

    - w and h are not halved, so they have twice their derivative;
    - for boxes that do not overlap, ``giou``, ``diou`` and ``ciou`` drop the part of the IoU
      instead of adding to it, and ``iou`` uses the product of two negative extents as if it were
      an intersection;
    - the part of the diagonal has the opposite sign for x and y;
    - the part of the shape in ``ciou`` leaves out 1 / (w^2 + h^2) and takes alpha for a constant.

    Args:
        kind: ``iou``, ``giou``, ``diou`` or ``ciou``.
        predicted_cxcywh: (M, 4) predicted boxes, relative to the image.
        truth_cxcywh: (M, 4) ground truth boxes, relative to the image.

    Returns:
        (M, 4), for x, y, w and h of the prediction.
    """
    size = predicted_cxcywh[:, 2:]
    predicted = torch.cat(
        (predicted_cxcywh[:, :2], torch.where(size == 0, torch.ones_like(size), size)), 1
    )
    sides = _Sides(predicted, truth_cxcywh)
    grown = sides.giou() if kind == "giou" else sides.iou()
    # x moves both sides. w moves each of them by half, a factor that Darknet leaves out.
    gradient = torch.cat((grown[:, 0] + grown[:, 1], grown[:, 1] - grown[:, 0]), 1)
    if kind not in ("diou", "ciou"):
        return gradient
    extra = _distance_part(predicted, truth_cxcywh)
    if kind == "ciou":
        extra = extra + _shape_part(predicted, truth_cxcywh, sides.intersection / sides.union)
    return torch.where(sides.apart[:, None], extra, gradient + extra)


class _Sides:
    """Derivatives with respect to the four sides of the predicted box.

    Tensors are (M, 2, 2): [low side, high side] of [x, y].
    """

    def __init__(self, predicted: Tensor, truth: Tensor) -> None:
        # [[left, top], [right, bottom]] of each box
        ours = cxcywh_to_xyxy(predicted).unflatten(1, (2, 2))  # (M, 2, 2)
        theirs = cxcywh_to_xyxy(truth).unflatten(1, (2, 2))
        low, high = ours[:, 0], ours[:, 1]
        # (M, 2), negative along an axis on which the boxes lie apart
        extent = torch.minimum(high, theirs[:, 1]) - torch.maximum(low, theirs[:, 0])
        around = torch.maximum(high, theirs[:, 1]) - torch.minimum(low, theirs[:, 0])
        self.proper = (low < high)[:, None]
        self.apart = (extent <= 0).any(1)
        self.intersection, self.area = extent.prod(1), around.prod(1)
        self.union = (
            (high - low).prod(1) + (theirs[:, 1] - theirs[:, 0]).prod(1) - self.intersection
        )
        sign = torch.tensor([[-1.0], [1.0]], dtype=ours.dtype, device=ours.device)
        # (M, 2, 2): whether a side bounds the intersection (inside) or the enclosing box (outside)
        inside = torch.stack((low > theirs[:, 0], high < theirs[:, 1]), 1)
        outside = torch.stack((low < theirs[:, 0], high > theirs[:, 1]), 1)
        zero = torch.zeros_like(ours)
        # When a side moves, an area changes by the length of the other axis; hence the flips.
        self.d_intersection = torch.where(inside, sign * extent.flip(1)[:, None], zero)
        self.d_union = sign * (high - low).flip(1)[:, None] - self.d_intersection
        self.d_area = torch.where(outside, sign * around.flip(1)[:, None], zero)

    def iou(self) -> Tensor:
        """Return the derivative of I / U, intersection over union."""
        # (M,) -> (M, 1, 1), for the two sides of two axes
        union = self.union[:, None, None]
        grown = (
            union * self.d_intersection - self.intersection[:, None, None] * self.d_union
        ) / union.square()
        grown = torch.where(union > 0, grown, torch.zeros_like(grown))
        return torch.where(self.proper, grown, grown[:, 1:].expand_as(grown))

    def giou(self) -> Tensor:
        """Return that of I / U + U / C, C the enclosing box; of U / C alone for boxes apart."""
        area = self.area[:, None, None]  # (M, 1, 1)
        rest = (area * self.d_union - self.union[:, None, None] * self.d_area) / area.square()
        both = self.iou() + torch.where(area > 0, rest, torch.zeros_like(rest))
        return torch.where(self.apart[:, None, None], rest, both)


def _distance_part(predicted: Tensor, truth: Tensor) -> Tensor:
    """Return (M, 4) for -d^2 / c^2: d between the centres, c the diagonal of the enclosing box."""
    ours, theirs = cxcywh_to_xyxy(predicted), cxcywh_to_xyxy(truth)
    around = torch.maximum(ours[:, 2:], theirs[:, 2:]) - torch.minimum(ours[:, :2], theirs[:, :2])
    low = (ours[:, :2] < theirs[:, :2]).to(ours.dtype)
    high = (ours[:, 2:] > theirs[:, 2:]).to(ours.dtype)
    offset = truth[:, :2] - predicted[:, :2]
    diagonal, distance = around.square().sum(1, keepdim=True), offset.square().sum(1, keepdim=True)
    centre = (2 * offset * diagonal - 2 * around * (high - low) * distance) / diagonal.square()
    size = around * (high + low) * distance / diagonal.square()
    return torch.cat((centre, size), 1)


def _shape_part(predicted: Tensor, truth: Tensor, overlap: Tensor) -> Tensor:
    """Return (M, 4) for -alpha v, the shape term of CIoU; it is 0 for x and y."""
    turn = slant(truth) - slant(predicted)
    shape = 4 / math.pi**2 * turn.square()
    alpha = shape / (1 - overlap + shape + CIOU_EPSILON)
    push = alpha * 8 / math.pi**2 * turn
    zero = torch.zeros_like(push)
    return torch.stack((zero, zero, push * predicted[:, 3], -push * predicted[:, 2]), 1)
