"""The parts that the losses of [yolo] and [Gaussian_yolo] share (yolo_layer.c:388)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property

import torch
from torch import Tensor

from darknet_builder.boxes.nms import GREEDY_BETA
from darknet_builder.boxes.overlap import ciou, diou, giou, iou, pairwise_iou
from darknet_builder.layers.heads.anchor_head import AnchorHead
from darknet_builder.losses.base import HeadLoss, LossContext, Targets, working, written_loss
from darknet_builder.losses.steps import best_overlaps, cells_of, focal_deltas, rounds

_CLASS_THRESHOLD = 0.25
"""An overlap spares an anchor box only if some class is above this probability
(yolo_layer.c:375)."""


class AnchorDeltas(ABC):
    """Darknet's ``delta`` of one head for one part of a batch, written in Darknet's order.

    An anchor box is one anchor at one cell of one image. There are N = B * A * H * W of them, and
    each has V values: those of the box, objectness, C classes. Nothing here has a gradient::

        index = ((image * A + anchor) * H + row) * W + column
        value = 0 ... box_values - 2 | box_values - 1 | box_values ... V - 1
                the box              | objectness     | classes

    Args:
        head: the layer, with its anchors and loss options.
        raw: (B, A * V, H, W), the map before the head.
        targets: the ground truth boxes.
        context: the size of the network's input.

    Attributes:
        values: (N, V), activated as Darknet holds them.
        boxes: (N, 4), decoded, relative to the image.
        delta: (N, V), the deltas written so far.
        ground_truth: (M, 6), rows image, x, y, w, h, class.
        overlaps: (K,), the reported overlap of each positive with its ground truth box.
    """

    def __init__(
        self, head: AnchorHead, raw: Tensor, targets: Targets, context: LossContext
    ) -> None:
        self.head, self.options, self.context = head, head.loss, context
        self.raw_shape = raw.shape
        self.height, self.width = raw.shape[2:]
        activated = head.split(head(working(raw))).permute(0, 1, 3, 4, 2)  # (B, A, H, W, V)
        self.values = activated.reshape(-1, head.box_values + head.classes)  # (N, V)
        self.boxes = head.boxes_of(activated, context.net_size).flatten(0, 1)  # (N, 4)
        self.delta = torch.zeros_like(self.values)
        self.ground_truth = targets.boxes_for(raw, head.classes, head.loss.max_boxes)
        self.overlaps = torch.zeros(0, device=raw.device)

    # ---- the steps, in Darknet's order -----------------------------------------------------------

    def write(self) -> None:
        """Fill ``delta``, in Darknet's order of steps."""
        best, best_row = best_overlaps(self.boxes, self.ground_truth, self.raw_shape[0])
        self._write_background(best, best_row)
        # (N,) bool -> (K,) indices
        confident = (best > self.options.truth_thresh).nonzero().flatten()
        if len(confident):  # rare: most cfgs say truth_thresh=1
            self._write_confident(confident, best_row[confident], best[confident])
        indices, rows = self._positives()
        self.overlaps = self._metric(self.boxes[indices], self.ground_truth[rows, 1:5])
        self._add_box_deltas(indices, rows)
        for chosen in rounds(indices):
            self._write_positive(indices[chosen], self._classes_of(rows[chosen]))
        self._average_box_deltas()

    def _write_background(self, best: Tensor, best_row: Tensor) -> None:
        """Pull objectness to 0, except where a likely object overlaps a ground truth box."""
        objectness = self.values[:, self._object]
        delta = -self.options.obj_normalizer * objectness
        has_class = (self.values[:, self._first_class :] > _CLASS_THRESHOLD).any(1)
        ignored = has_class & (best > self.options.ignore_thresh)
        self.delta[:, self._object] = torch.where(ignored, torch.zeros_like(delta), delta)
        if self.options.objectness_smooth:
            self._smooth_ignored(ignored.nonzero().flatten(), best, best_row)

    @abstractmethod
    def _smooth_ignored(self, indices: Tensor, best: Tensor, best_row: Tensor) -> None:
        """Apply ``objectness_smooth`` to the ignored anchor boxes."""

    def _write_confident(self, indices: Tensor, rows: Tensor, best: Tensor) -> None:
        """Make anchor boxes positive that overlap by more than ``truth_thresh``."""
        # Any anchor may match here, not only the best one for the ground truth box.
        classes = self._classes_of(rows)
        goal = best.square() if self.options.objectness_smooth else torch.ones_like(best)
        self.delta[indices, self._object] = self.options.obj_normalizer * (
            goal - self.values[indices, self._object]
        )
        self._write_classes(indices, classes)
        if self.options.objectness_smooth:
            column = self._first_class + classes
            self.delta[indices, column] = self._multipliers[classes] * (
                goal - self.values[indices, column]
            )
        self._add_box_deltas(indices, rows)

    def _positives(self) -> tuple[Tensor, Tensor]:
        """Return (K,) indices of anchor boxes and (K,) rows of ``ground_truth``, by rising row."""
        # Only sizes are compared: anchors and ground truth boxes lie around one centre.
        sizes = self.ground_truth[:, 1:5].clone()
        sizes[:, :2] = 0
        anchors = torch.cat((torch.zeros_like(self._anchor_sizes), self._anchor_sizes), 1)
        best = pairwise_iou(anchors, sizes).argmax(0)  # (M,), over all anchors of the cfg
        mask = torch.tensor(self.head.mask, device=best.device)
        matched = best[:, None] == mask  # (M, A): whether the best anchor is one of this head's
        if self.options.iou_thresh < 1:
            kind = _OVERLAPS[self.options.iou_thresh_kind]
            # (1, A, 4) with (M, 1, 4) -> (M, A)
            matched |= kind(anchors[mask][None], sizes[:, None]) > self.options.iou_thresh
        rows, anchor = matched.nonzero(as_tuple=True)
        cells = self._cells_of(self.ground_truth[rows, 1:5])
        # index = ((image * A + anchor) * H + row) * W + column
        plane = self.ground_truth[rows, 0].long() * len(mask) + anchor
        return (plane * self.height + cells[:, 1]) * self.width + cells[:, 0], rows

    def _cells_of(self, boxes: Tensor) -> Tensor:
        """(K, 4) -> (K, 2): column and row of the cell that is responsible for a box."""
        return cells_of(boxes[:, :2], self.width, self.height)

    def _write_positive(self, indices: Tensor, classes: Tensor) -> None:
        """Pull objectness to 1 and classes to the target's; ``indices`` has no repeats."""
        delta = (
            self._multipliers[classes]
            * self.options.obj_normalizer
            * (1 - self.values[indices, self._object])
        )
        if self._keeps_objectness:
            written = self.delta[indices, self._object]
            delta = torch.where(written == 0, delta, written)
        self.delta[indices, self._object] = delta
        self._write_classes(indices, classes)

    def _write_classes(self, indices: Tensor, classes: Tensor) -> None:
        """Write the deltas of all classes, or of the target's alone if some were written before."""
        # The second case lets an anchor box learn several classes, one ground truth box each.
        columns, target = slice(self._first_class, None), classes[:, None]
        written, predicted = self.delta[indices, columns], self.values[indices, columns]  # (K, C)
        smooth = self.options.label_smooth_eps
        multiplier = self._multipliers[classes][:, None]
        again = written.scatter(
            1, target, (1 - smooth / 2 - predicted.gather(1, target)) * multiplier
        )
        goal = torch.full_like(predicted, smooth / 2).scatter(1, target, 1 - smooth / 2)
        fresh = goal - predicted
        if self.options.counters_per_class:
            # Without counters_per_class Darknet never uses cls_normalizer (yolo_layer.c:350).
            fresh = fresh.scatter(
                1, target, fresh.gather(1, target) * multiplier * self.options.cls_normalizer
            )
        if self.options.focal_loss and self._knows_focal_loss:
            fresh = focal_deltas(predicted, target)
        self.delta[indices, columns] = torch.where(self._has_classes(written, target), again, fresh)

    def _add_box_deltas(self, indices: Tensor, rows: Tensor) -> None:
        multiplier = self._multipliers[self._classes_of(rows)][:, None]  # (K, 1)
        # index_add_, not assignment: an anchor box with several ground truth boxes gets the sum.
        self.delta[:, : self._object].index_add_(
            0, indices, self._box_deltas(indices, rows, multiplier)
        )

    @abstractmethod
    def _box_deltas(self, indices: Tensor, rows: Tensor, multiplier: Tensor) -> Tensor:
        """(K,), (K,), (K, 1) -> (K, box values): what to add to the deltas of the boxes."""

    def _average_box_deltas(self) -> None:
        """Divide the deltas of a box by the number of classes that it learns."""
        learnt = (self.delta[:, self._first_class :] > 0).sum(1)
        divisor = torch.where(self._averaged(), learnt.clamp(min=1), 1)
        # (N, box values) / (N, 1)
        self.delta[:, : self._object] /= divisor[:, None]

    @abstractmethod
    def _averaged(self) -> Tensor:
        """Return (N,) bool: where ``_average_box_deltas`` applies."""

    # ---- hooks that subclasses override ----------------------------------------------------------

    _knows_focal_loss = True

    @property
    def _keeps_objectness(self) -> bool:
        """Whether a positive keeps an objectness delta that was written before."""
        return False

    def _has_classes(self, written: Tensor, target: Tensor) -> Tensor:
        """(K, C), (K, 1) -> (K, 1): whether class deltas were written before."""
        return written.gather(1, target) != 0

    def _metric(self, predicted: Tensor, truth: Tensor) -> Tensor:
        """(K, 4), (K, 4) -> (K,): the overlap that is reported."""
        return (giou if self.options.iou_loss == "giou" else iou)(predicted, truth)

    # ---- columns, cells and anchors --------------------------------------------------------------

    @property
    def _object(self) -> int:
        return self.head.box_values - 1

    @property
    def _first_class(self) -> int:
        return self.head.box_values

    def _classes_of(self, rows: Tensor) -> Tensor:
        return self.ground_truth[rows, 5].long()

    def _corners(self, indices: Tensor) -> Tensor:
        """(K,) -> (K, 2): column and row of anchor boxes, as floats."""
        # index = ((image * A + anchor) * H + row) * W + column
        return torch.stack((indices % self.width, indices // self.width % self.height), 1).to(
            self.values.dtype
        )

    @cached_property
    def _anchor_sizes(self) -> Tensor:
        """(all anchors of the cfg, 2): width and height relative to the image."""
        anchors = torch.tensor(
            self.head.anchors, dtype=self.values.dtype, device=self.values.device
        )
        return anchors / anchors.new_tensor(self.context.net_size)

    def _anchor_of(self, indices: Tensor) -> Tensor:
        """(K,) -> (K, 2): the size of each one's anchor, relative to the image."""
        mask = torch.tensor(self.head.mask, device=indices.device)
        # index // (H * W) = image * A + anchor
        return self._anchor_sizes[mask[indices // (self.width * self.height) % len(mask)]]

    @cached_property
    def _multipliers(self) -> Tensor:
        """(C,): the weight of each class, 1 for the most frequent one (parser.c:413)."""
        if not self.options.counters_per_class:
            return self.values.new_ones(self.head.classes)
        counts = self.values.new_tensor(self.options.counters_per_class).clamp(min=1)
        return (counts.max() / counts).clamp(max=self.options.max_delta)

    def clipped(self, deltas: Tensor) -> Tensor:
        """Replace NaN and infinity by 0, then clip to ``max_delta`` (yolo_layer.c:154)."""
        limit = self.options.max_delta
        return torch.where(deltas.isfinite(), deltas, torch.zeros_like(deltas)).clamp(-limit, limit)

    # ---- the result ------------------------------------------------------------------------------

    def loss(self, raw: Tensor, cost: Tensor, mean: Tensor | float = 0.0) -> HeadLoss:
        """Return the finished loss, whose gradient is minus ``delta``.

        Args:
            raw: (B, A * V, H, W), the map that the gradient belongs to.
            cost: scalar, Darknet's printed cost.
            mean: the component ``mean`` of the returned ``HeadLoss``.
        """
        anchors = len(self.head.mask)
        shape = (self.raw_shape[0], anchors, self.height, self.width, -1)
        # (N, V) -> (B, A, H, W, V) -> (B, A, V, H, W) -> (B, A * V, H, W)
        delta = self.delta.reshape(shape).permute(0, 1, 4, 2, 3).reshape(self.raw_shape)
        squares = self.delta.square()
        parts = {
            "box": squares[:, : self._object].sum(),
            "objectness": squares[:, self._object].sum(),
            "classes": squares[:, self._first_class :].sum(),
            "count": torch.tensor(len(self.overlaps)),
            "iou": self.overlaps.sum() / max(len(self.overlaps), 1),
        }
        return HeadLoss(
            written_loss(raw, delta * self.options.delta_normalizer, cost, self.context),
            parts,
            mean,
        )


def _diou(first: Tensor, second: Tensor) -> Tensor:
    # box_diou has the exponent of greedy suppression (box.c:205).
    return diou(first, second, GREEDY_BETA)


_OVERLAPS = {"iou": iou, "giou": giou, "diou": _diou, "ciou": ciou}
