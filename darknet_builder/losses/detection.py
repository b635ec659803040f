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
"""The reader of YOLO v1 drops boxes thinner than this share of the image (data.c:210)."""
_RANDOM_IMAGES = 64000
"""With ``random=1`` a cell's box is drawn by lot for so many images (detection_layer.c:140)."""


@loss_for("detection")
def detection_loss(
    head: Detection, raw: Tensor, targets: Targets, context: LossContext
) -> HeadLoss:
    """What a [detection] learns from: each cell the first box whose centre lies in it.

    The gradient is Darknet's ``delta``, which is that of half a weighted sum of squares, but for
    ``rescore``, whose target follows the prediction, and for ``softmax``, whose derivative is left
    out.

    Args:
        head: its options.
        raw: (B, side^2 * (C + num * 5)) or a map of as many values, before the head.
        targets: boxes.
        context: ``seen`` ends ``random``.

    Returns:
        Darknet's printed cost: the sum of squared deltas (detection_layer.c:196).
    """
    with torch.no_grad():
        deltas = _DetectionDeltas(head, raw, targets)
        deltas.write(context.seen)
        delta = deltas.joined().reshape(raw.shape)
    return HeadLoss(written_loss(raw, delta, delta.square().sum(), context), deltas.parts())


class _DetectionDeltas:
    """Values and deltas of N = B * side^2 cells: classes (N, C), confidences (N, n), coordinates
    (N, n, 4).
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
        self.truths = targets.boxes_for(raw, head.classes, head.loss.max_boxes)
        self.overlaps = torch.zeros(0, device=raw.device)

    def write(self, seen: int) -> None:
        """Everything, in Darknet's order."""
        cells, truth, classes = self._first_of_each_cell()
        self._write_classes(cells, classes)
        predicted = self._boxes(self.coordinates[cells])  # (K, n, 4)
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
        """Cells (K,), their boxes (K, 4) with x and y within the cell, and classes (K,)
        (data.c:216).
        """
        side = self.head.side
        truths = self.truths[(self.truths[:, 3:5] >= _SMALLEST).all(1)]
        places = cells_of(truths[:, 1:3], side, side)
        # cell = (image * side + row) * side + column
        cells = (truths[:, 0].long() * side + places[:, 1]) * side + places[:, 0]
        chosen = rounds(cells)[0] if len(cells) else cells
        truths, places = truths[chosen], places[chosen]
        return (
            cells[chosen],
            torch.cat((truths[:, 1:3] * side - places, truths[:, 3:5]), 1),
            truths[:, 5].long(),
        )

    def _write_classes(self, cells: Tensor, classes: Tensor) -> None:
        goal = torch.nn.functional.one_hot(classes, self.head.classes).to(self.classes)
        self.d_classes[cells] = self.options.class_scale * (goal - self.classes[cells])

    def _boxes(self, coordinates: Tensor) -> Tensor:
        """Coordinates -> boxes in units of the image, about the cell's corner."""
        size = coordinates[..., 2:].square() if self.head.square_root else coordinates[..., 2:]
        return torch.cat((coordinates[..., :2] / self.head.side, size), -1)

    def _choose(self, predicted: Tensor, goal: Tensor, seen: int) -> Tensor:
        """(K,): which of the cell's boxes learns: the best overlap, or the nearest where none
        overlaps.
        """
        overlap = iou(predicted, goal[:, None])
        distance = (predicted - goal[:, None]).square().sum(2)
        best = torch.where((overlap > 0).any(1), overlap.argmax(1), distance.argmin(1))
        if self.options.forced:
            best = (goal[:, 2] * goal[:, 3] < 0.1).long().clamp(max=self.head.num - 1)
        if self.head.augment.random and seen < _RANDOM_IMAGES:
            best = torch.randint_like(best, self.head.num)
        return best

    def joined(self) -> Tensor:
        """(B, side^2 * (C + num * 5)) in the vector's order."""
        return torch.cat(
            [
                part.reshape(self.batch, -1)
                for part in (self.d_classes, self.d_confidences, self.d_coordinates)
            ],
            1,
        )

    def parts(self) -> dict[str, Tensor]:
        """For people."""
        return {
            "box": self.d_coordinates.square().sum(),
            "objectness": self.d_confidences.square().sum(),
            "classes": self.d_classes.square().sum(),
            "count": torch.tensor(len(self.overlaps)),
            "iou": self.overlaps.sum() / max(len(self.overlaps), 1),
        }
