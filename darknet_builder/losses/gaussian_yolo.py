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
    """Compute the loss of a [Gaussian_yolo] head.

    The gradient is minus Darknet's ``delta``, which is not the derivative of the printed cost, as
    for [yolo]. Each coordinate and its uncertainty learn from the likelihood of a normal
    distribution. Its standard deviation is the uncertainty in the exponent, and the uncertainty
    plus 0.3 in the factor. With an overlap kind of ``iou_loss``, the coordinates learn from the
    overlap instead.

    Args:
        head: the layer, with its anchors and loss options.
        raw: (B, A * (9 + C), H, W), the map before the head.
        targets: the ground truth boxes.
        context: the size of the network's input.

    Returns:
        Darknet's printed cost: the sum of squared deltas (gaussian_yolo_layer.c:740).
    """
    with torch.no_grad():
        deltas = _GaussianDeltas(head, raw, targets, context)
        deltas.write()
        cost = deltas.delta.square().sum()
    return deltas.loss(raw, cost)


class _GaussianDeltas(AnchorDeltas):
    """The deltas of [Gaussian_yolo].

    The 9 values before the classes are x, sigma x, y, sigma y, w, sigma w, h, sigma h, objectness:
    coordinates are columns 0:8:2, their uncertainties columns 1:8:2.
    """

    head: GaussianYolo
    _knows_focal_loss = False

    @property
    def _share(self) -> float:
        return YOLO_POINTS[self.head.yolo_point]

    def _points_of(self, boxes: Tensor) -> Tensor:
        """(K, 4) -> (K, 2): the centre or corner of a box that x and y stand for."""
        return boxes[:, :2] - self._share * boxes[:, 2:]

    def _cells_of(self, boxes: Tensor) -> Tensor:
        return cells_of(self._points_of(boxes), self.width, self.height)

    def _smooth_ignored(self, indices: Tensor, best: Tensor, best_row: Tensor) -> None:
        goal = best[indices].square()
        self.delta[indices, self._object] = self.options.obj_normalizer * (
            goal - self.values[indices, self._object]
        )
        self._write_classes(indices, self._classes_of(best_row[indices]))

    def _has_classes(self, written: Tensor, target: Tensor) -> Tensor:
        # Unlike [yolo], Darknet looks at the first class alone here (gaussian_yolo_layer.c:365).
        return written[:, :1] != 0

    def _metric(self, predicted: Tensor, truth: Tensor) -> Tensor:
        return (iou if self.options.iou_loss == "mse" else giou)(predicted, truth)

    def _box_deltas(self, indices: Tensor, rows: Tensor, multiplier: Tensor) -> Tensor:
        truth = self.ground_truth[rows, 1:5]
        means, sigmas = self._likelihood(indices, truth)
        if self.options.iou_loss != "mse":
            means = self._overlap(indices, truth)
        means = self.clipped(means * self.options.iou_normalizer * multiplier)
        sigmas = self.clipped(sigmas * self.options.uc_normalizer)
        # (K, 4, 2) -> (K, 8): x, its uncertainty, y, its uncertainty, ...
        return torch.stack((means, sigmas), 2).flatten(1)

    def _likelihood(self, indices: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        """Return (K, 4) deltas of coordinates and of uncertainties (gaussian_yolo_layer.c:225)."""
        grid = truth.new_tensor([self.width, self.height])
        goals = torch.cat(
            (
                self._points_of(truth) * grid - self._corners(indices),
                (truth[:, 2:] / self._anchor_of(indices)).log(),
            ),
            1,
        )
        # (K, 4) each: columns 1, 3, 5, 7 are uncertainties, 0, 2, 4, 6 the values themselves.
        sigma = self.values[indices, 1:8:2]
        reduced = (goals - self.values[indices, 0:8:2]) / sigma
        # The 0.3 is only in the factor, not in the exponent.
        density = (-reduced.square() / 2).exp() / (
            math.sqrt(2 * math.pi) * (sigma + _SIGMA_CONSTANT)
        )
        weight = density / (density + _EPSILON) / 2 * (2 - truth[:, 2:3] * truth[:, 3:4])
        return weight * reduced / sigma, weight * (
            reduced.square() / sigma - 1 / (sigma + _SIGMA_CONSTANT)
        )

    def _overlap(self, indices: Tensor, truth: Tensor) -> Tensor:
        """Return (K, 4) deltas of the coordinates from the overlap kind of ``iou_loss``."""
        gradient = overlap_gradient(self.options.iou_loss, self.boxes[indices], truth)
        # Where x and y are a corner, the size grows about it and moves the centre.
        point, size = gradient[:, :2] - self._share * gradient[:, 2:], gradient[:, 2:]
        return torch.cat((point, size * self.values[indices, 4:8:2].exp()), 1)

    def _averaged(self) -> Tensor:
        return torch.ones(len(self.delta), dtype=torch.bool, device=self.delta.device)
