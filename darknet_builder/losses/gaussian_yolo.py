"""The loss of [Gaussian_yolo] (gaussian_yolo_layer.c:411)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from darknet_builder.boxes.overlap import giou, iou
from darknet_builder.layers.heads.gaussian_yolo import YOLO_POINTS, GaussianYolo
from darknet_builder.losses.anchored import AnchorDeltas
from darknet_builder.losses.base import HeadLoss, LossContext, Targets, loss_for
from darknet_builder.losses.box_gradient import overlap_gradient
from darknet_builder.losses.steps import cells_of

_SIGMA_CONSTANT = 0.3
_EPSILON = 1e-9


@loss_for("Gaussian_yolo")
def gaussian_yolo_loss(
    head: GaussianYolo, raw: Tensor, targets: Targets, context: LossContext
) -> HeadLoss:
    """What a [Gaussian_yolo] learns from.

    As for [yolo], the gradient is Darknet's ``delta`` and the derivative of no loss. Each
    coordinate and its uncertainty come from the likelihood of a normal distribution whose width is
    the uncertainty in the exponent and 0.3 more in the factor; with an overlap kind of ``iou_loss``
    the coordinates come from that, the uncertainties stay.

    Args:
        head: its options.
        raw: (B, A * (9 + C), H, W), the map before the head.
        targets: boxes.
        context: the size of the input.

    Returns:
        Darknet's printed cost: the sum of squared deltas (gaussian_yolo_layer.c:740).
    """
    with torch.no_grad():
        deltas = _GaussianDeltas(head, raw, targets, context)
        deltas.write()
        cost = deltas.delta.square().sum()
    return deltas.loss(raw, cost)


class _GaussianDeltas(AnchorDeltas):
    """Box values are x, y, w, h, each with its uncertainty behind it."""

    head: GaussianYolo
    _knows_focal_loss = False

    @property
    def _share(self) -> float:
        return YOLO_POINTS[self.head.yolo_point]

    def _points_of(self, boxes: Tensor) -> Tensor:
        """(K, 4) -> (K, 2): the centre or corner that x and y mean."""
        return boxes[:, :2] - self._share * boxes[:, 2:]

    def _cells_of(self, boxes: Tensor) -> Tensor:
        return cells_of(self._points_of(boxes), self.width, self.height)

    def _smooth_ignored(self, places: Tensor, best: Tensor, best_truth: Tensor) -> None:
        goal = best[places].square()
        self.delta[places, self._object] = self.options.obj_normalizer * (
            goal - self.values[places, self._object]
        )
        self._write_classes(places, self._classes_of(best_truth[places]))

    def _has_classes(self, written: Tensor, own: Tensor) -> Tensor:
        # The first class stands for all of them here (gaussian_yolo_layer.c:365), unlike in [yolo].
        return written[:, :1] != 0

    def _metric(self, predicted: Tensor, truth: Tensor) -> Tensor:
        return (iou if self.options.iou_loss == "mse" else giou)(predicted, truth)

    def _box_deltas(self, places: Tensor, truths: Tensor, multiplier: Tensor) -> Tensor:
        truth = self.truths[truths, 1:5]
        means, sigmas = self._likelihood(places, truth)
        if self.options.iou_loss != "mse":
            means = self._overlap(places, truth)
        means = self.clipped(means * self.options.iou_normalizer * multiplier)
        sigmas = self.clipped(sigmas * self.options.uc_normalizer)
        # (K, 4, 2) -> (K, 8): x, its uncertainty, y, its uncertainty, ...
        return torch.stack((means, sigmas), 2).flatten(1)

    def _likelihood(self, places: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        """(K, 4) for the coordinates and (K, 4) for their uncertainties
        (gaussian_yolo_layer.c:225).
        """
        grid = truth.new_tensor([self.width, self.height])
        goals = torch.cat(
            (
                self._points_of(truth) * grid - self._corners(places),
                (truth[:, 2:] / self._anchor_of(places)).log(),
            ),
            1,
        )
        sigma = self.values[places, 1:8:2]
        reduced = (goals - self.values[places, 0:8:2]) / sigma
        density = (-reduced.square() / 2).exp() / (
            math.sqrt(2 * math.pi) * (sigma + _SIGMA_CONSTANT)
        )
        weight = density / (density + _EPSILON) / 2 * (2 - truth[:, 2:3] * truth[:, 3:4])
        return weight * reduced / sigma, weight * (
            reduced.square() / sigma - 1 / (sigma + _SIGMA_CONSTANT)
        )

    def _overlap(self, places: Tensor, truth: Tensor) -> Tensor:
        """(K, 4): from the overlap kind; a corner moves the centre, and the size about the
        corner.
        """
        gradient = overlap_gradient(self.options.iou_loss, self.boxes[places], truth)
        point, size = gradient[:, :2] - self._share * gradient[:, 2:], gradient[:, 2:]
        return torch.cat((point, size * self.values[places, 4:8:2].exp()), 1)

    def _averaged(self) -> Tensor:
        return torch.ones(len(self.delta), dtype=torch.bool, device=self.delta.device)
