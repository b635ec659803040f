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
    """What a [yolo] learns from.

    The gradient is Darknet's ``delta`` and the derivative of no loss: objectness and classes are
    those of a binary cross entropy, x and y are taken after the logistic without its derivative,
    and the overlap kinds leave out the scale of cells and anchors (see ``overlap_gradient``). The
    rules are AlexeyAB's in both dialects; what they reject late in a training
    (``equidistant_point``, ``badlabels_rejection_percentage``) and adversarial steps are left out.

    Args:
        head: its options.
        raw: (B, A * (5 + C), H, W), the map before the head.
        targets: boxes.
        context: the size of the input.

    Returns:
        Darknet's printed cost (yolo_layer.c:860): the sum of squared deltas for ``iou_loss=mse``;
        otherwise that of objectness and classes times ``obj_normalizer``, plus ``iou_normalizer``
        times the positives' mean 1 - IoU.
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
        """What Darknet prints, but for ``missed``."""
        if self.options.iou_loss == "mse":
            return self.delta.square().sum()
        return self.options.obj_normalizer * self.delta[:, self._object :].square().sum()

    def missed(self) -> Tensor | float:
        """The positives' mean 1 - IoU, where Darknet prints that of the boxes."""
        if self.options.iou_loss == "mse":
            return 0.0
        return self.options.iou_normalizer * (
            (1 - self.overlaps).sum() / max(len(self.overlaps), 1)
        )

    def _smooth_ignored(self, places: Tensor, best: Tensor, best_truth: Tensor) -> None:
        towards = self.options.obj_normalizer * (best[places] - self.values[places, self._object])
        background = -self.options.obj_normalizer * self.values[places, self._object]
        self.delta[places, self._object] = torch.maximum(towards, background)

    @property
    def _keeps_objectness(self) -> bool:
        # With objectness_smooth the background's delta stays in nearly every positive: Darknet asks
        # for an exact 0 (yolo_layer.c:578), which only an objectness that has underflowed gives.
        return self.options.objectness_smooth

    def _box_deltas(self, places: Tensor, truths: Tensor, multiplier: Tensor) -> Tensor:
        truth, normalizer = self.truths[truths, 1:5], self.options.iou_normalizer * multiplier
        if self.options.iou_loss == "mse":
            scale = 2 - truth[:, 2:3] * truth[:, 3:4]
            return scale * (self._goals(places, truth) - self.values[places, :4]) * normalizer
        gradient = overlap_gradient(self.options.iou_loss, self.boxes[places], truth)
        if not self.head.new_coords:
            gradient = torch.cat(
                (gradient[:, :2], gradient[:, 2:] * self.values[places, 2:4].exp()), 1
            )
        return self.clipped(gradient * normalizer)

    def _goals(self, places: Tensor, truth: Tensor) -> Tensor:
        """(K, 4): x and y within the cell, w and h as the raw map has them."""
        centre = truth[:, :2] * truth.new_tensor([self.width, self.height]) - self._corners(places)
        ratio = truth[:, 2:] / self._anchor_of(places)
        return torch.cat((centre, (ratio / 4).sqrt() if self.head.new_coords else ratio.log()), 1)

    def _averaged(self) -> Tensor:
        if self.options.iou_thresh < 1:
            return self.delta[:, self._object] != 0
        return torch.zeros(len(self.delta), dtype=torch.bool, device=self.delta.device)
