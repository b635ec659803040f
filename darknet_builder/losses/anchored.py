"""What the losses of the heads with masked anchors share: [yolo] and [Gaussian_yolo]
(yolo_layer.c:388).
"""

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

_LIKELY = 0.25
"""A place counts as seen by some truth only when it is this sure of any class
(yolo_layer.c:375)."""


class AnchorDeltas(ABC):
    """Darknet's ``delta`` of one head for one part of a batch, written step by step in Darknet's
    order.

    A place is one anchor at one cell of one image; there are N = B * A * H * W of them, in that
    order: ``place = ((image * A + anchor) * H + row) * W + column``. Values of a place are the
    box's, objectness, C classes. Nothing here has a gradient.

    Attributes:
        values: (N, V), activated as Darknet holds them.
        boxes: (N, 4), decoded, relative to the image.
        delta: (N, V), what has been written so far.
        truths: (M, 6), rows image, x, y, w, h, class.
    """

    def __init__(
        self, head: AnchorHead, raw: Tensor, targets: Targets, context: LossContext
    ) -> None:
        self.head, self.options, self.context = head, head.loss, context
        self.raw_shape = raw.shape
        self.height, self.width = raw.shape[2:]
        places = head.split(head(working(raw))).permute(0, 1, 3, 4, 2)  # (B, A, H, W, V)
        self.values = places.reshape(-1, head.box_values + head.classes)  # (N, V)
        self.boxes = head.boxes_of(places, context.net_size).flatten(0, 1)  # (N, 4)
        self.delta = torch.zeros_like(self.values)
        self.truths = targets.boxes_for(raw, head.classes, head.loss.max_boxes)
        self.overlaps = torch.zeros(0, device=raw.device)

    # ---- the steps, in Darknet's order -----------------------------------------------------------

    def write(self) -> None:
        """All of them."""
        best, best_truth = best_overlaps(self.boxes, self.truths, self.raw_shape[0])
        self._write_background(best, best_truth)
        confident = (best > self.options.truth_thresh).nonzero().flatten()
        if len(confident):  # rare: most cfgs say truth_thresh=1
            self._write_confident(confident, best_truth[confident], best[confident])
        places, truths = self._positives()
        self.overlaps = self._metric(self.boxes[places], self.truths[truths, 1:5])
        self._add_box_deltas(places, truths)
        for chosen in rounds(places):
            self._write_positive(places[chosen], self._classes_of(truths[chosen]))
        self._average_box_deltas()

    def _write_background(self, best: Tensor, best_truth: Tensor) -> None:
        """Objectness of every place towards 0, but for those that overlap a truth and are sure of
        some class.
        """
        objectness = self.values[:, self._object]
        delta = -self.options.obj_normalizer * objectness
        likely = (self.values[:, self._first_class :] > _LIKELY).any(1)
        ignored = likely & (best > self.options.ignore_thresh)
        self.delta[:, self._object] = torch.where(ignored, torch.zeros_like(delta), delta)
        if self.options.objectness_smooth:
            self._smooth_ignored(ignored.nonzero().flatten(), best, best_truth)

    @abstractmethod
    def _smooth_ignored(self, places: Tensor, best: Tensor, best_truth: Tensor) -> None:
        """What ``objectness_smooth`` makes of the ignored places."""

    def _write_confident(self, places: Tensor, truths: Tensor, best: Tensor) -> None:
        """Places that overlap any truth by more than ``truth_thresh`` are positive, whatever their
        anchor.
        """
        classes = self._classes_of(truths)
        goal = best.square() if self.options.objectness_smooth else torch.ones_like(best)
        self.delta[places, self._object] = self.options.obj_normalizer * (
            goal - self.values[places, self._object]
        )
        self._write_classes(places, classes)
        if self.options.objectness_smooth:
            column = self._first_class + classes
            self.delta[places, column] = self._multipliers[classes] * (
                goal - self.values[places, column]
            )
        self._add_box_deltas(places, truths)

    def _positives(self) -> tuple[Tensor, Tensor]:
        """Which place is to find which truth: two (K,), in the truths' order."""
        sizes = self.truths[:, 1:5].clone()
        sizes[:, :2] = 0
        anchors = torch.cat((torch.zeros_like(self._anchor_sizes), self._anchor_sizes), 1)
        best = pairwise_iou(anchors, sizes).argmax(0)
        mask = torch.tensor(self.head.mask, device=best.device)
        matched = best[:, None] == mask
        if self.options.iou_thresh < 1:
            kind = _OVERLAPS[self.options.iou_thresh_kind]
            matched |= kind(anchors[mask][None], sizes[:, None]) > self.options.iou_thresh
        truths, anchor = matched.nonzero(as_tuple=True)
        cells = self._cells_of(self.truths[truths, 1:5])
        place = self.truths[truths, 0].long() * len(mask) + anchor
        return (place * self.height + cells[:, 1]) * self.width + cells[:, 0], truths

    def _cells_of(self, boxes: Tensor) -> Tensor:
        """(K, 4) -> (K, 2): column and row of the cell that answers for a box."""
        return cells_of(boxes[:, :2], self.width, self.height)

    def _write_positive(self, places: Tensor, classes: Tensor) -> None:
        """Objectness towards 1, classes towards the truth's; each place once."""
        delta = (
            self._multipliers[classes]
            * self.options.obj_normalizer
            * (1 - self.values[places, self._object])
        )
        if self._keeps_objectness:
            written = self.delta[places, self._object]
            delta = torch.where(written == 0, delta, written)
        self.delta[places, self._object] = delta
        self._write_classes(places, classes)

    def _write_classes(self, places: Tensor, classes: Tensor) -> None:
        """All classes where nothing stands yet, otherwise the truth's alone: so a place can have
        several classes.
        """
        columns, own = slice(self._first_class, None), classes[:, None]
        written, shares = self.delta[places, columns], self.values[places, columns]
        smooth = self.options.label_smooth_eps
        multiplier = self._multipliers[classes][:, None]
        again = written.scatter(1, own, (1 - smooth / 2 - shares.gather(1, own)) * multiplier)
        goal = torch.full_like(shares, smooth / 2).scatter(1, own, 1 - smooth / 2)
        fresh = goal - shares
        if self.options.counters_per_class:
            # Without counters_per_class Darknet never uses cls_normalizer (yolo_layer.c:350).
            fresh = fresh.scatter(
                1, own, fresh.gather(1, own) * multiplier * self.options.cls_normalizer
            )
        if self.options.focal_loss and self._knows_focal_loss:
            fresh = focal_deltas(shares, own)
        self.delta[places, columns] = torch.where(self._has_classes(written, own), again, fresh)

    def _add_box_deltas(self, places: Tensor, truths: Tensor) -> None:
        multiplier = self._multipliers[self._classes_of(truths)][:, None]
        self.delta[:, : self._object].index_add_(
            0, places, self._box_deltas(places, truths, multiplier)
        )

    @abstractmethod
    def _box_deltas(self, places: Tensor, truths: Tensor, multiplier: Tensor) -> Tensor:
        """(K,), (K,), (K, 1) -> (K, box values): what each truth adds to its place."""

    def _average_box_deltas(self) -> None:
        """Where a place learns several classes, its box is pulled by their mean."""
        learnt = (self.delta[:, self._first_class :] > 0).sum(1)
        divisor = torch.where(self._averaged(), learnt.clamp(min=1), 1)
        self.delta[:, : self._object] /= divisor[:, None]

    @abstractmethod
    def _averaged(self) -> Tensor:
        """(N,) bool: where ``_average_box_deltas`` applies."""

    # ---- hooks that subclasses override------------------------------------------------------------------

    _knows_focal_loss = True

    @property
    def _keeps_objectness(self) -> bool:
        """Whether a positive leaves an objectness alone that has been written already."""
        return False

    def _has_classes(self, written: Tensor, own: Tensor) -> Tensor:
        """(K, C), (K, 1) -> (K, 1): whether the place has learnt a class already."""
        return written.gather(1, own) != 0

    def _metric(self, predicted: Tensor, truth: Tensor) -> Tensor:
        """The overlap that is reported."""
        return (giou if self.options.iou_loss == "giou" else iou)(predicted, truth)

    # ---- where things stand ----------------------------------------------------------------------

    @property
    def _object(self) -> int:
        return self.head.box_values - 1

    @property
    def _first_class(self) -> int:
        return self.head.box_values

    def _classes_of(self, truths: Tensor) -> Tensor:
        return self.truths[truths, 5].long()

    def _corners(self, places: Tensor) -> Tensor:
        """(K,) -> (K, 2): column and row of places, as floats."""
        # place = ((image * A + anchor) * H + row) * W + column
        return torch.stack((places % self.width, places // self.width % self.height), 1).to(
            self.values.dtype
        )

    @cached_property
    def _anchor_sizes(self) -> Tensor:
        """(all anchors, 2): relative to the image."""
        anchors = torch.tensor(
            self.head.anchors, dtype=self.values.dtype, device=self.values.device
        )
        return anchors / anchors.new_tensor(self.context.net_size)

    def _anchor_of(self, places: Tensor) -> Tensor:
        """(K,) -> (K, 2): the relative size of each place's anchor."""
        mask = torch.tensor(self.head.mask, device=places.device)
        return self._anchor_sizes[mask[places // (self.width * self.height) % len(mask)]]

    @cached_property
    def _multipliers(self) -> Tensor:
        """(C,): how much more a rare class counts (parser.c:413)."""
        if not self.options.counters_per_class:
            return self.values.new_ones(self.head.classes)
        counts = self.values.new_tensor(self.options.counters_per_class).clamp(min=1)
        return (counts.max() / counts).clamp(max=self.options.max_delta)

    def clipped(self, deltas: Tensor) -> Tensor:
        """NaN and infinity to 0, then within ``max_delta`` (yolo_layer.c:154)."""
        limit = self.options.max_delta
        return torch.where(deltas.isfinite(), deltas, torch.zeros_like(deltas)).clamp(-limit, limit)

    # ---- what comes out --------------------------------------------------------------------------

    def loss(self, raw: Tensor, cost: Tensor, mean: Tensor | float = 0.0) -> HeadLoss:
        """The finished loss with ``delta`` for a gradient; ``mean`` is that of ``HeadLoss``."""
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
    return diou(
        first, second, GREEDY_BETA
    )  # box_diou has the exponent of greedy suppression (box.c:205)


_OVERLAPS = {"iou": iou, "giou": giou, "diou": _diou, "ciou": ciou}
