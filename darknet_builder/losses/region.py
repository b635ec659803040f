"""The loss of [region] (region_layer.c:187)."""

from __future__ import annotations

import torch
from torch import Tensor

from darknet_builder.boxes.overlap import iou
from darknet_builder.layers.heads.anchor_head import BOX_VALUES
from darknet_builder.layers.heads.region import Region
from darknet_builder.layers.tree import Tree
from darknet_builder.losses.base import (
    HeadLoss,
    LossContext,
    Targets,
    loss_for,
    working,
    written_loss,
)
from darknet_builder.losses.steps import best_overlaps, cells_of, focal_deltas, rounds

_PRIOR_IMAGES = 12800
"""All anchor boxes are pulled to their priors for this number of images (region_layer.c:283)."""
_PRIOR_SCALE = 0.01
_OBJECT = 4


@loss_for("region")
def region_loss(head: Region, raw: Tensor, targets: Targets, context: LossContext) -> HeadLoss:
    """Compute the loss of a [region] head, with AlexeyAB's rules in both dialects.

    The gradient is minus Darknet's ``delta``: x, y and objectness with the logistic's derivative,
    w, h and classes as differences. It is not the derivative of the printed sum of squares,
    because the targets of objectness follow the prediction and the classes have the deltas of a
    cross entropy.
    Not supported: images that have a class but no box, with which class trees were trained.

    Args:
        head: the layer, with its anchors and loss options.
        raw: (B, A * (5 + C), H, W), the map before the head.
        targets: the ground truth boxes.
        context: ``seen`` decides whether unmatched anchor boxes are pulled to their priors.

    Returns:
        Darknet's printed cost: the sum of squared deltas (region_layer.c:369).
    """
    with torch.no_grad():
        deltas = _RegionDeltas(head, raw, targets, context)
        deltas.write()
        delta = deltas.as_map()
        parts = deltas.parts()
    return HeadLoss(written_loss(raw, delta, delta.square().sum(), context), parts)


class _RegionDeltas:
    """Darknet's ``delta`` of N = B * A * H * W anchor boxes with 5 + C values each.

    ::

        index = ((image * A + anchor) * H + row) * W + column
        value = 0 1 2 3 | 4          | 5 ... 4 + C
                x y w h | objectness | classes

    Attributes:
        values: (N, 5 + C); x, y, w, h raw, the rest activated.
        centres: (N, 2), x and y after the logistic, within the cell.
        anchors: (A, 2), width and height in cells.
        boxes: (N, 4), decoded, relative to the image.
        ground_truth: (M, 6), rows image, x, y, w, h, class.
    """

    def __init__(self, head: Region, raw: Tensor, targets: Targets, context: LossContext) -> None:
        self.head, self.options, self.context = head, head.loss, context
        self.raw_shape, (self.height, self.width) = raw.shape, raw.shape[2:]
        values = head.activate(working(raw)).permute(0, 3, 1, 2, 4)  # (B, A, H, W, 5 + C)
        self.values = values.reshape(-1, values.shape[-1])  # (N, 5 + C)
        self.centres = self.values[:, :2].sigmoid()
        self.grid = self.values.new_tensor([self.width, self.height])
        self.anchors = torch.tensor(head.anchors, dtype=self.values.dtype, device=raw.device)
        self.boxes = head.decode(working(raw), context.net_size).boxes_cxcywh.flatten(0, 1)
        self.delta = torch.zeros_like(self.values)
        # With map=, the data set's class is an index into the map (region_layer.c:361).
        class_map = torch.tensor(head.class_map or range(head.classes), device=raw.device)
        self.ground_truth = targets.boxes_for(raw, len(class_map), head.loss.max_boxes)
        self.ground_truth[:, 5] = class_map[self.ground_truth[:, 5].long()].to(self.ground_truth)
        self.overlaps = torch.zeros(0, device=raw.device)

    def write(self) -> None:
        """Fill ``delta``, in Darknet's order of steps."""
        best, best_row = best_overlaps(self.boxes, self.ground_truth, self.raw_shape[0])
        self._write_background(best, best_row)
        if self.context.seen < _PRIOR_IMAGES:
            self._write_priors()
        indices = self._matches()
        self.overlaps = iou(self.boxes[indices], self.ground_truth[:, 1:5])
        for chosen in rounds(indices):
            self._write_positive(indices[chosen], chosen)

    def _write_background(self, best: Tensor, best_row: Tensor) -> None:
        """Pull objectness to 0, or to the overlap where ``classfix`` is -1.

        With ``classfix`` above 0, anchor boxes with a good overlap learn the class as well.
        """
        objectness, options = self.values[:, _OBJECT], self.options
        goal = best if options.classfix == -1 else torch.zeros_like(best)
        delta = options.noobject_scale * (goal - objectness) * _slope(objectness)
        if options.classfix != -1:
            delta = torch.where(best > options.thresh, torch.zeros_like(delta), delta)
        self.delta[:, _OBJECT] = delta
        if options.classfix > 0:
            indices = (best > options.thresh).nonzero().flatten()  # (N,) bool -> (K,) indices
            scale = objectness[indices, None]
            if options.classfix != 2:
                scale = torch.ones_like(scale)
            classes = self.ground_truth[best_row[indices], 5].long()
            self._write_classes(indices, classes, options.class_scale * scale)

    def _write_priors(self) -> None:
        """Pull every box to the middle of its cell and the size of its anchor."""
        self.delta[:, :2] = _PRIOR_SCALE * (0.5 - self.centres) * _slope(self.centres)
        self.delta[:, 2:4] = -_PRIOR_SCALE * self.values[:, 2:4]

    def _matches(self) -> Tensor:
        """Return (M,) indices: the anchor box for each ground truth box (region_layer.c:320).

        It is the anchor of the box's cell whose size fits best.
        """
        cells = cells_of(self.ground_truth[:, 1:3], self.width, self.height)
        anchors = len(self.anchors)
        first = self.ground_truth[:, 0].long() * anchors
        # All anchors of the box's cell: index = ((image * A + anchor) * H + row) * W + column
        indices = (
            (first[:, None] + torch.arange(anchors, device=first.device)) * self.height
            + cells[:, 1:]
        ) * self.width + cells[:, :1]  # (M, A)
        # (A, 2) -> (M, A, 2), relative to the image
        sizes = (self.anchors / self.grid).expand(len(indices), -1, -1)
        if not self.options.bias_match:
            sizes = self.boxes[indices][..., 2:]
        # Only sizes are compared: all boxes lie around one centre.
        predicted = torch.cat((torch.zeros_like(sizes), sizes), 2)
        truth = torch.cat(
            (torch.zeros_like(self.ground_truth[:, 1:3]), self.ground_truth[:, 3:5]), 1
        )
        # A comparison with NaN is false in C, so NaN is never the best one.
        # (M, A, 4) with (M, 1, 4) -> (M, A) -> (M, 1)
        best = iou(predicted, truth[:, None]).nan_to_num(0).argmax(1, keepdim=True)
        return indices.gather(1, best).flatten()

    def _write_positive(self, indices: Tensor, rows: Tensor) -> None:
        """Write box, objectness and classes over the earlier deltas.

        Args:
            indices: (K,) anchor boxes, without repeats.
            rows: (K,) rows of ``ground_truth``.
        """
        truth, centres = self.ground_truth[rows, 1:5], self.centres[indices]
        # index = ((image * A + anchor) * H + row) * W + column
        corner = torch.stack((indices % self.width, indices // self.width % self.height), 1)
        anchor = self.anchors[indices // (self.width * self.height) % len(self.anchors)]
        scale = self.options.coord_scale
        self.delta[indices, :2] = (
            scale * (truth[:, :2] * self.grid - corner - centres) * _slope(centres)
        )
        self.delta[indices, 2:4] = scale * (
            (truth[:, 2:] * self.grid / anchor).log() - self.values[indices, 2:4]
        )
        objectness = self.values[indices, _OBJECT]
        goal = self.overlaps[rows] if self.options.rescore else torch.ones_like(objectness)
        self.delta[indices, _OBJECT] = (
            self.options.object_scale * (goal - objectness) * _slope(objectness)
        )
        class_scale = self.values.new_full((len(indices), 1), self.options.class_scale)
        self._write_classes(indices, self.ground_truth[rows, 5].long(), class_scale)

    def _write_classes(self, indices: Tensor, classes: Tensor, scale: Tensor) -> None:
        """Write all classes; with a tree, those beside the class and beside its ancestors.

        Args:
            indices: (K,) rows of the anchor boxes to write to.
            classes: (K,) their target classes.
            scale: (K, 1) factors of the deltas.
        """
        predicted = self.values[indices, BOX_VALUES:]
        if self.head.tree is not None:
            # Groups that the path does not touch keep their deltas (region_layer.c:130).
            path, siblings = _paths(self.head.tree, classes)
            fresh = scale * (path.to(predicted) - predicted)
            self.delta[indices, BOX_VALUES:] = torch.where(
                siblings, fresh, self.delta[indices, BOX_VALUES:]
            )
        elif self.options.focal_loss:
            self.delta[indices, BOX_VALUES:] = scale * focal_deltas(predicted, classes[:, None])
        else:
            # One-hot rows (K, C)
            goal = torch.zeros_like(predicted).scatter(1, classes[:, None], 1.0)
            self.delta[indices, BOX_VALUES:] = scale * (goal - predicted)

    def as_map(self) -> Tensor:
        """Return ``delta`` in the shape of the raw map."""
        shape = (self.raw_shape[0], len(self.anchors), self.height, self.width, -1)
        # (N, V) -> (B, A, H, W, V) -> (B, A, V, H, W) -> (B, A * V, H, W)
        return self.delta.reshape(shape).permute(0, 1, 4, 2, 3).reshape(self.raw_shape)

    def parts(self) -> dict[str, Tensor]:
        """Return the numbers for ``HeadLoss.parts``."""
        squares = self.delta.square()
        return {
            "box": squares[:, :4].sum(),
            "objectness": squares[:, _OBJECT].sum(),
            "classes": squares[:, BOX_VALUES:].sum(),
            "count": torch.tensor(len(self.overlaps)),
            "iou": self.overlaps.sum() / max(len(self.overlaps), 1),
        }


def _slope(share: Tensor) -> Tensor:
    """Return the logistic's derivative, from its value."""
    return (1 - share) * share


def _paths(tree: Tree, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Mark the ancestors of classes, and the siblings of those.

    Args:
        tree: parents and groups of the classes.
        classes: (K,) class numbers, which are indices of the tree's nodes.

    Returns:
        (K, C) bool: each class with its ancestors, and (K, C) bool: all members of their groups.
    """
    device = classes.device
    parents = torch.tensor(tree.parents, device=device)
    sizes = torch.tensor(tree.group_sizes, device=device)
    # (C,), the group of each class: sizes 1, 3, 2 -> 0 1 1 1 2 2
    group = torch.arange(len(sizes), device=device).repeat_interleave(sizes)
    path = torch.zeros(len(classes), tree.size, dtype=torch.bool, device=device)
    siblings = torch.zeros_like(path)
    rows, level = torch.arange(len(classes), device=device), classes
    # One step from child to parent a turn; rows whose class has no parent (-1) drop out.
    while len(rows):
        path[rows, level] = True
        siblings[rows] |= group == group[level][:, None]  # (C,) == (K, 1) -> (K, C)
        level = parents[level]
        rows, level = rows[level >= 0], level[level >= 0]
    return path, siblings
