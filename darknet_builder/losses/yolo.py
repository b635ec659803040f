"""The loss of [yolo] (yolo_layer.c:388)."""

from __future__ import annotations

import torch
from torch import Tensor

from darknet_builder.layers.heads.yolo import Yolo
from darknet_builder.losses.anchored import AnchorDeltas
from darknet_builder.losses.base import HeadLoss, LossContext, Targets, loss_for
from darknet_builder.losses.box_gradient import overlap_gradient


@loss_for("yolo")
def yolo_loss(head: Yolo, raw: Tensor, targets: Targets, context: LossContext) -> HeadLoss:
    """Compute the loss of a [yolo] head.

    The gradient is minus Darknet's ``delta``, which is not the derivative of the printed cost.
    Objectness and classes have the deltas of a binary cross entropy. For x and y the derivative of
    the logistic function is left out. For the overlap kinds (``iou_loss=iou``, ``giou``, ...), the
    factors by which ``decode`` multiplies cells and anchors are left out (``overlap_gradient``).
    The rules are AlexeyAB's in both dialects. Not supported: rejecting samples late in a training
    (``equidistant_point``, ``badlabels_rejection_percentage``) and adversarial steps.

    Args:
        head: the layer, with its anchors and loss options.
        raw: (B, A * (5 + C), H, W), the map before the head.
        targets: the ground truth boxes.
        context: the size of the network's input.

    Returns:
        Darknet's printed cost (yolo_layer.c:860). For ``iou_loss=mse`` it is the sum of squared
        deltas; otherwise that of objectness and classes times ``obj_normalizer``, plus
        ``iou_normalizer`` times the positives' mean 1 - IoU.
    """
    with torch.no_grad():
        deltas = _YoloDeltas(head, raw, targets, context)
        deltas.write()
        mean = deltas.missed()
        cost = deltas.sums() + mean
    return deltas.loss(raw, cost, mean)


class _YoloDeltas(AnchorDeltas):
    head: Yolo

    def sums(self) -> Tensor:
        """Return the part of the printed cost that is a sum over anchor boxes."""
        if self.options.iou_loss == "mse":
            return self.delta.square().sum()
        return self.options.obj_normalizer * self.delta[:, self._object :].square().sum()

    def missed(self) -> Tensor | float:
        """Return the mean of 1 - IoU over the positives times ``iou_normalizer``; 0 for ``mse``."""
        if self.options.iou_loss == "mse":
            return 0.0
        return self.options.iou_normalizer * (
            (1 - self.overlaps).sum() / max(len(self.overlaps), 1)
        )

    def _smooth_ignored(self, indices: Tensor, best: Tensor, best_row: Tensor) -> None:
        towards = self.options.obj_normalizer * (best[indices] - self.values[indices, self._object])
        background = -self.options.obj_normalizer * self.values[indices, self._object]
        self.delta[indices, self._object] = torch.maximum(towards, background)

    @property
    def _keeps_objectness(self) -> bool:
        # With objectness_smooth the background's delta stays in nearly every positive: Darknet
        # compares with exactly 0 (yolo_layer.c:570), which only an objectness that has underflowed
        # gives.
        return self.options.objectness_smooth

    def _box_deltas(self, indices: Tensor, rows: Tensor, multiplier: Tensor) -> Tensor:
        truth, normalizer = self.ground_truth[rows, 1:5], self.options.iou_normalizer * multiplier
        if self.options.iou_loss == "mse":
            # Small boxes count more: 2 - w * h, with w and h relative to the image.
            scale = 2 - truth[:, 2:3] * truth[:, 3:4]
            return scale * (self._goals(indices, truth) - self.values[indices, :4]) * normalizer
        gradient = overlap_gradient(self.options.iou_loss, self.boxes[indices], truth)
        if not self.head.new_coords:
            # w = anchor * exp(raw): the chain rule's factor, but for the anchor.
            gradient = torch.cat(
                (gradient[:, :2], gradient[:, 2:] * self.values[indices, 2:4].exp()), 1
            )
        return self.clipped(gradient * normalizer)

    def _goals(self, indices: Tensor, truth: Tensor) -> Tensor:
        """(K,), (K, 4) -> (K, 4): x and y within the cell, w and h as in the raw map."""
        centre = truth[:, :2] * truth.new_tensor([self.width, self.height]) - self._corners(indices)
        ratio = truth[:, 2:] / self._anchor_of(indices)
        # The inverse of w = anchor * 4 * value^2 (new_coords), or of w = anchor * exp(value).
        return torch.cat((centre, (ratio / 4).sqrt() if self.head.new_coords else ratio.log()), 1)

    def _averaged(self) -> Tensor:
        if self.options.iou_thresh < 1:
            return self.delta[:, self._object] != 0
        return torch.zeros(len(self.delta), dtype=torch.bool, device=self.delta.device)
