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
"""For so many images every anchor is drawn to its prior (region_layer.c:283)."""
_PRIOR_SCALE = 0.01
_OBJECT = 4


@loss_for("region")
def region_loss(head: Region, raw: Tensor, targets: Targets, context: LossContext) -> HeadLoss:
    """What a [region] learns from, as AlexeyAB's Darknet has it in both dialects.

    The gradient is Darknet's ``delta``: x, y and objectness with the logistic's derivative, w, h
    and classes as differences. It is the derivative of a sum of squares only in parts, because the
    targets of objectness follow the prediction and the classes are those of a cross entropy. Images
    that have a class but no box, with which trees were trained beside detection, are left out.

    Args:
        head: its options.
        raw: (B, A * (5 + C), H, W), the map before the head.
        targets: boxes.
        context: ``seen`` decides whether anchors without a truth are drawn to their priors.

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
    """``delta`` of N = B * A * H * W places in that order, 5 + C values each: x, y, w, h,
    objectness, classes.

    Attributes:
        values: (N, 5 + C); x, y, w, h raw, the rest activated.
        centres: (N, 2): x and y after the logistic.
    """

    def __init__(self, head: Region, raw: Tensor, targets: Targets, context: LossContext) -> None:
        self.head, self.options, self.context = head, head.loss, context
        self.raw_shape, (self.height, self.width) = raw.shape, raw.shape[2:]
        values = head.activate(working(raw)).permute(0, 3, 1, 2, 4)  # (B, A, H, W, 5 + C)
        self.values = values.reshape(-1, values.shape[-1])
        self.centres = self.values[:, :2].sigmoid()
        self.grid = self.values.new_tensor([self.width, self.height])
        self.anchors = torch.tensor(
            head.anchors, dtype=self.values.dtype, device=raw.device
        )  # in cells
        self.boxes = head.decode(working(raw), context.net_size).boxes_cxcywh.flatten(0, 1)
        self.delta = torch.zeros_like(self.values)
        # The data set's classes are those of map= where there is one (region_layer.c:361).
        class_map = torch.tensor(head.class_map or range(head.classes), device=raw.device)
        self.truths = targets.boxes_for(raw, len(class_map), head.loss.max_boxes)
        self.truths[:, 5] = class_map[self.truths[:, 5].long()].to(self.truths)
        self.overlaps = torch.zeros(0, device=raw.device)

    def write(self) -> None:
        """Everything, in Darknet's order."""
        best, best_truth = best_overlaps(self.boxes, self.truths, self.raw_shape[0])
        self._write_background(best, best_truth)
        if self.context.seen < _PRIOR_IMAGES:
            self._write_priors()
        places = self._places()
        self.overlaps = iou(self.boxes[places], self.truths[:, 1:5])
        for chosen in rounds(places):
            self._write_positive(places[chosen], chosen)

    def _write_background(self, best: Tensor, best_truth: Tensor) -> None:
        """Objectness of every place towards 0, or towards its overlap; with ``classfix`` classes
        where it fits.
        """
        objectness, options = self.values[:, _OBJECT], self.options
        goal = best if options.classfix == -1 else torch.zeros_like(best)
        delta = options.noobject_scale * (goal - objectness) * _slope(objectness)
        if options.classfix != -1:
            delta = torch.where(best > options.thresh, torch.zeros_like(delta), delta)
        self.delta[:, _OBJECT] = delta
        if options.classfix > 0:
            places = (best > options.thresh).nonzero().flatten()
            scale = (
                objectness[places, None]
                if options.classfix == 2
                else torch.ones_like(objectness[places, None])
            )
            self._write_classes(
                places, self.truths[best_truth[places], 5].long(), options.class_scale * scale
            )

    def _write_priors(self) -> None:
        """Every box towards the middle of its cell and the size of its anchor."""
        self.delta[:, :2] = _PRIOR_SCALE * (0.5 - self.centres) * _slope(self.centres)
        self.delta[:, 2:4] = -_PRIOR_SCALE * self.values[:, 2:4]

    def _places(self) -> Tensor:
        """(M,): the place of each truth, the anchor of its cell whose size fits best
        (region_layer.c:320).
        """
        cells = cells_of(self.truths[:, 1:3], self.width, self.height)
        anchors = len(self.anchors)
        first = self.truths[:, 0].long() * anchors
        # For every anchor of the truth's cell: ((image * A + anchor) * H + row) * W + column
        place = (
            (first[:, None] + torch.arange(anchors, device=first.device)) * self.height
            + cells[:, 1:]
        ) * self.width + cells[:, :1]  # (M, A)
        # (M, A, 2), as shares of the image
        sizes = (self.anchors / self.grid).expand(len(place), -1, -1)
        if not self.options.bias_match:
            sizes = self.boxes[place][..., 2:]
        # Only sizes are compared, so that all boxes lie around one centre.
        predicted = torch.cat((torch.zeros_like(sizes), sizes), 2)
        truth = torch.cat((torch.zeros_like(self.truths[:, 1:3]), self.truths[:, 3:5]), 1)
        best = iou(predicted, truth[:, None]).nan_to_num(0).argmax(1, keepdim=True)
        return place.gather(1, best).flatten()

    def _write_positive(self, places: Tensor, truths: Tensor) -> None:
        """Box, objectness and classes of each truth; each place once. A later truth replaces an
        earlier one.
        """
        truth, centres = self.truths[truths, 1:5], self.centres[places]
        corner = torch.stack((places % self.width, places // self.width % self.height), 1)
        anchor = self.anchors[places // (self.width * self.height) % len(self.anchors)]
        scale = self.options.coord_scale
        self.delta[places, :2] = (
            scale * (truth[:, :2] * self.grid - corner - centres) * _slope(centres)
        )
        self.delta[places, 2:4] = scale * (
            (truth[:, 2:] * self.grid / anchor).log() - self.values[places, 2:4]
        )
        objectness = self.values[places, _OBJECT]
        goal = self.overlaps[truths] if self.options.rescore else torch.ones_like(objectness)
        self.delta[places, _OBJECT] = (
            self.options.object_scale * (goal - objectness) * _slope(objectness)
        )
        class_scale = self.values.new_full((len(places), 1), self.options.class_scale)
        self._write_classes(places, self.truths[truths, 5].long(), class_scale)

    def _write_classes(self, places: Tensor, classes: Tensor, scale: Tensor) -> None:
        """All classes, or with a tree the siblings of the class and of its ancestors
        (region_layer.c:130).
        """
        shares = self.values[places, BOX_VALUES:]
        if self.head.tree is not None:
            path, siblings = _paths(self.head.tree, classes)
            fresh = scale * (path.to(shares) - shares)
            self.delta[places, BOX_VALUES:] = torch.where(
                siblings, fresh, self.delta[places, BOX_VALUES:]
            )
        elif self.options.focal_loss:
            self.delta[places, BOX_VALUES:] = scale * focal_deltas(shares, classes[:, None])
        else:
            goal = torch.zeros_like(shares).scatter(1, classes[:, None], 1.0)
            self.delta[places, BOX_VALUES:] = scale * (goal - shares)

    def as_map(self) -> Tensor:
        """``delta`` in the raw map's shape."""
        shape = (self.raw_shape[0], len(self.anchors), self.height, self.width, -1)
        # (N, V) -> (B, A, H, W, V) -> (B, A, V, H, W) -> (B, A * V, H, W)
        return self.delta.reshape(shape).permute(0, 1, 4, 2, 3).reshape(self.raw_shape)

    def parts(self) -> dict[str, Tensor]:
        """For people."""
        squares = self.delta.square()
        return {
            "box": squares[:, :4].sum(),
            "objectness": squares[:, _OBJECT].sum(),
            "classes": squares[:, BOX_VALUES:].sum(),
            "count": torch.tensor(len(self.overlaps)),
            "iou": self.overlaps.sum() / max(len(self.overlaps), 1),
        }


def _slope(share: Tensor) -> Tensor:
    """The logistic's derivative, from its value."""
    return (1 - share) * share


def _paths(tree: Tree, classes: Tensor) -> tuple[Tensor, Tensor]:
    """(K,) -> (K, C) bool, twice: each class with its ancestors, and those with their siblings."""
    device = classes.device
    parents = torch.tensor(tree.parents, device=device)
    sizes = torch.tensor(tree.group_sizes, device=device)
    group = torch.arange(len(sizes), device=device).repeat_interleave(sizes)
    path = torch.zeros(len(classes), tree.size, dtype=torch.bool, device=device)
    siblings = torch.zeros_like(path)
    rows, level = torch.arange(len(classes), device=device), classes
    while len(rows):
        path[rows, level] = True
        siblings[rows] |= group == group[level][:, None]
        level = parents[level]
        rows, level = rows[level >= 0], level[level >= 0]
    return path, siblings
