"""The loss of [detection], the head of YOLO v1 (detection_layer.c:52)."""

from __future__ import annotations

import torch
from torch import Tensor

from darknet_builder.boxes.overlap import iou
from darknet_builder.layers.heads.detection import Detection
from darknet_builder.losses.base import (
    HeadLoss,
    LossContext,
    Targets,
    loss_for,
    working,
    written_loss,
)
from darknet_builder.losses.steps import cells_of, rounds

_SMALLEST = 0.005
"""Minimum width and height of a box, relative to the image; YOLO v1 drops smaller ones
(data.c:210)."""
_RANDOM_IMAGES = 64000
"""With ``random=1`` each cell picks its box at random for this number of images
(detection_layer.c:140)."""


@loss_for("detection")
def detection_loss(
    head: Detection, raw: Tensor, targets: Targets, context: LossContext
) -> HeadLoss:
    """Compute the loss of a [detection] head, the one of YOLO v1.

    Each cell learns the first box whose centre lies in it. The gradient is minus Darknet's
    ``delta``. It is that of half a weighted sum of squares, with two exceptions: the target of
    ``rescore`` follows the prediction, and the derivative of ``softmax`` is left out.

    Args:
        head: the layer, with its grid and loss options.
        raw: (B, side^2 * (C + num * 5)) or a map with the same number of values, before the head.
        targets: the ground truth boxes.
        context: ``seen`` decides whether ``random`` still applies.

    Returns:
        Darknet's printed cost: the sum of squared deltas (detection_layer.c:196).
    """
    with torch.no_grad():
        deltas = _DetectionDeltas(head, raw, targets)
        deltas.write(context.seen)
        delta = deltas.joined().reshape(raw.shape)  # the raw map may be (B, C, H, W)
    return HeadLoss(written_loss(raw, delta, delta.square().sum(), context), deltas.parts())


class _DetectionDeltas:
    """Values and deltas of N = B * side^2 cells.

    The vector of an image holds all classes, then all confidences, then all coordinates::

        side^2 * C | side^2 * num | side^2 * num * 4

    Attributes:
        classes: (N, C) predicted class probabilities.
        confidences: (N, num), of the boxes of each cell.
        coordinates: (N, num, 4), x and y within the cell, w and h relative to the image.
        ground_truth: (M, 6), rows image, x, y, w, h, class.
        overlaps: (K,) IoU of each positive with its ground truth box.
    """

    def __init__(self, head: Detection, raw: Tensor, targets: Targets) -> None:
        self.head, self.options, self.batch = head, head.loss, raw.shape[0]
        cells = head.side * head.side
        parts = head(working(raw)).split(
            [cells * head.classes, cells * head.num, cells * head.num * 4], 1
        )
        self.classes = parts[0].reshape(-1, head.classes)  # (N, C)
        self.confidences = parts[1].reshape(-1, head.num)  # (N, num)
        self.coordinates = parts[2].reshape(-1, head.num, 4)  # (N, num, 4)
        self.d_classes, self.d_coordinates = (
            torch.zeros_like(self.classes),
            torch.zeros_like(self.coordinates),
        )
        self.d_confidences = -self.options.noobject_scale * self.confidences
        self.ground_truth = targets.boxes_for(raw, head.classes, head.loss.max_boxes)
        self.overlaps = torch.zeros(0, device=raw.device)

    def write(self, seen: int) -> None:
        """Fill the deltas, in Darknet's order of steps."""
        cells, truth, classes = self._first_of_each_cell()
        self._write_classes(cells, classes)
        predicted = self._boxes(self.coordinates[cells])  # (K, num, 4)
        goal = torch.cat((truth[:, :2] / self.head.side, truth[:, 2:]), 1)
        rows = torch.arange(len(cells), device=cells.device)
        best = self._choose(predicted, goal, seen)
        self.overlaps = iou(predicted[rows, best], goal)
        confidence = self.confidences[cells, best]
        wanted = self.overlaps if self.options.rescore else torch.ones_like(confidence)
        self.d_confidences[cells, best] = self.options.object_scale * (wanted - confidence)
        size = truth[:, 2:].sqrt() if self.head.square_root else truth[:, 2:]
        coordinates = torch.cat((truth[:, :2], size), 1)
        self.d_coordinates[cells, best] = self.options.coord_scale * (
            coordinates - self.coordinates[cells, best]
        )

    def _first_of_each_cell(self) -> tuple[Tensor, Tensor, Tensor]:
        """Find the first ground truth box of each cell (data.c:216).

        Returns:
            (K,) cells, (K, 4) boxes with x and y within the cell, (K,) classes.
        """
        side = self.head.side
        rows = self.ground_truth[(self.ground_truth[:, 3:5] >= _SMALLEST).all(1)]
        corners = cells_of(rows[:, 1:3], side, side)  # (M, 2) column, row
        # cell = (image * side + row) * side + column
        cells = (rows[:, 0].long() * side + corners[:, 1]) * side + corners[:, 0]
        # The first round has the first box of each cell.
        chosen = rounds(cells)[0] if len(cells) else cells
        rows, corners = rows[chosen], corners[chosen]
        return (
            cells[chosen],
            torch.cat((rows[:, 1:3] * side - corners, rows[:, 3:5]), 1),
            rows[:, 5].long(),
        )

    def _write_classes(self, cells: Tensor, classes: Tensor) -> None:
        goal = torch.nn.functional.one_hot(classes, self.head.classes).to(self.classes)
        self.d_classes[cells] = self.options.class_scale * (goal - self.classes[cells])

    def _boxes(self, coordinates: Tensor) -> Tensor:
        """Convert (..., 4) coordinates to boxes relative to the image, with the cell at 0, 0."""
        size = coordinates[..., 2:].square() if self.head.square_root else coordinates[..., 2:]
        return torch.cat((coordinates[..., :2] / self.head.side, size), -1)

    def _choose(self, predicted: Tensor, goal: Tensor, seen: int) -> Tensor:
        """Choose the box of each cell that learns: the best overlap, or else the nearest one.

        Args:
            predicted: (K, num, 4), the boxes of the cells.
            goal: (K, 4), their ground truth boxes.
            seen: number of images trained on.

        Returns:
            (K,), 0 to num - 1.
        """
        # (K, num, 4) with (K, 1, 4) -> (K, num)
        overlap = iou(predicted, goal[:, None])
        distance = (predicted - goal[:, None]).square().sum(2)
        best = torch.where((overlap > 0).any(1), overlap.argmax(1), distance.argmin(1))
        if self.options.forced:
            best = (goal[:, 2] * goal[:, 3] < 0.1).long().clamp(max=self.head.num - 1)
        if self.head.augment.random and seen < _RANDOM_IMAGES:
            best = torch.randint_like(best, self.head.num)
        return best

    def joined(self) -> Tensor:
        """Return the deltas as (B, side^2 * (C + num * 5)), in the vector's order."""
        return torch.cat(
            [
                # (N, ...) -> (B, side^2 * ...): N runs through the cells of one image after
                # another.
                part.reshape(self.batch, -1)
                for part in (self.d_classes, self.d_confidences, self.d_coordinates)
            ],
            1,
        )

    def parts(self) -> dict[str, Tensor]:
        """Return the numbers for ``HeadLoss.parts``."""
        return {
            "box": self.d_coordinates.square().sum(),
            "objectness": self.d_confidences.square().sum(),
            "classes": self.d_classes.square().sum(),
            "count": torch.tensor(len(self.overlaps)),
            "iou": self.overlaps.sum() / max(len(self.overlaps), 1),
        }
