"""[yolo]: the head of YOLO v3 to v7 (yolo_layer.c)."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from darknet_builder.boxes.candidates import Candidates, ScoredBoxes
from darknet_builder.boxes.formats import Array, on_cpu
from darknet_builder.cfg.block import Block
from darknet_builder.layers.base import Graph, register
from darknet_builder.layers.heads.anchor_head import (
    BOX_VALUES,
    AnchorHead,
    AnchorOptions,
    anchor_boxes,
    boxes_at,
)
from darknet_builder.layers.representation import format_options
from darknet_builder.shapes import Shape

_ROUNDING = 1e-5
"""Relative margin, far above the rounding error of a float32 logistic."""


@register("yolo")
class Yolo(AnchorHead):
    """Decode x, y, w, h, objectness and C independent class scores for each anchor in each cell.

    Args:
        in_shape: (A * (5 + C), H, W) for A anchors.
        common: anchors, classes and the other options common to such heads.
        new_coords: whether the layer before the head has applied the logistic. Width and height of
            a box are then (2 v)^2 times those of the anchor, for a value v; otherwise e^v times.
    """

    type_number = 28

    def __init__(self, in_shape: Shape, common: AnchorOptions, *, new_coords: bool = False) -> None:
        super().__init__(in_shape, common)
        self.new_coords = new_coords
        self.takes_raw = not new_coords

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Yolo:
        """Build from a cfg section (parser.c:424)."""
        block.ignore(
            "show_details",
            "track_history_size",
            "sim_thresh",
            "dets_for_track",
            "dets_for_show",
            "track_ciou_norm",
            "embedding_layer",
            "beta1",
        )
        return cls(
            graph.image_shape(block),
            AnchorOptions.from_block(block),
            new_coords=block.get_flag("new_coords"),
        )

    def metadata(self) -> dict[str, object]:
        """Add the order of the values, and ``new_coords``."""
        return super().metadata() | {
            "values": "x, y, w, h, objectness",
            "new_coords": self.new_coords,
        }

    def forward(self, x: Tensor) -> Tensor:
        """Raw map (B, A * (5 + C), H, W) -> the map as Darknet stores it (yolo_layer.c:668)."""
        # (B, A, 5 + C, H, W), cut into x and y, w and h, objectness and classes
        xy, wh, rest = self.split(x).split([2, 2, BOX_VALUES - 4 + self.classes], 2)
        return torch.cat((self._in_cell(self._logistic(xy)), wh, self._logistic(rest)), 2).flatten(
            1, 2
        )

    def _logistic(self, values: Array) -> Array:
        """Return the logistic of the values, or with ``new_coords`` the values themselves."""
        if self.new_coords:
            return values
        return values.sigmoid() if isinstance(values, Tensor) else 1 / (1 + np.exp(-values))

    def _in_cell(self, xy: Array) -> Array:
        """Stretch x and y around the cell's centre."""
        return xy * self.scale_x_y - (self.scale_x_y - 1) / 2

    def decode(self, raw: Tensor, net_size: tuple[int, int]) -> Candidates:
        """Raw map -> N = A * H * W candidates (yolo_layer.c:131)."""
        maps = self.split(self(raw)).permute(0, 1, 3, 4, 2)  # (B, A, H, W, 5 + C)
        boxes = self.boxes_of(maps, net_size)
        objectness = maps[..., 4:5].flatten(1, 3)  # (B, N, 1)
        return Candidates(
            boxes, objectness.squeeze(-1), objectness * maps[..., BOX_VALUES:].flatten(1, 3)
        )

    def boxes_of(self, cells: Tensor, net_size: tuple[int, int]) -> Tensor:
        """Scale each anchor by e^v, or by (2 v)^2 with ``new_coords`` (yolo_layer.c:131)."""
        return anchor_boxes(cells[..., :4], self.masked_anchors, net_size, squared=self.new_coords)

    @np.errstate(
        all="ignore"
    )  # exp(100) overflows float32: 1 / (1 + inf) = 0 is the right logistic
    def decode_above(self, raw: Tensor, net_size: tuple[int, int], threshold: float) -> ScoredBoxes:
        """Return ``decode(raw, net_size).above(threshold)``, but compare raw objectness first.

        Of thousands of cells, only the few above the threshold are decoded.
        """
        maps = self.split(raw.detach())  # (B, A, 5 + C, H, W)
        # (K,) each, (K, 5 + C)
        (image, anchor, row, column), values = _cells_above(maps, self._raw_below(threshold))
        objectness = self._logistic(values[:, BOX_VALUES - 1 : BOX_VALUES])  # (K, 1)
        scores = objectness * self._logistic(values[:, BOX_VALUES:])  # (K, C)
        # M pairs of a box and a class above the threshold: indices into K and into C.
        box_id, class_ids = np.nonzero(scores > threshold)

        # From here on the arithmetic of ``decode`` in NumPy, on (M, 4). A test compares the two.
        boxes = values[box_id, :4]
        boxes[:, :2] = self._in_cell(self._logistic(boxes[:, :2]))
        columns = column[box_id, None].astype(np.float32)
        rows = row[box_id, None].astype(np.float32)
        anchors = np.array(self.masked_anchors, np.float32)[anchor[box_id]]
        boxes = boxes_at(
            boxes,
            columns,
            rows,
            anchors,
            (maps.shape[4], maps.shape[3]),
            net_size,
            squared=self.new_coords,
        )
        return ScoredBoxes(
            image[box_id],
            box_id,
            boxes,
            objectness[box_id, 0],
            class_ids,
            scores[box_id, class_ids],
            self.classes,
        )

    def _raw_below(self, objectness: float) -> float:
        """Return a raw number below all those whose objectness exceeds a threshold.

        It includes a margin for rounding. A few extra boxes do no harm: class scores are compared
        with the threshold later, and none is larger than the objectness.
        """
        if self.new_coords:
            return objectness
        # The inverse of the logistic: log(p / (1 - p)).
        lowered = objectness * (1 - _ROUNDING)
        return math.log(lowered / (1 - lowered)) if lowered > 0 else -math.inf

    def extra_repr(self) -> str:
        """Return the options that ``print(network)`` shows."""
        return format_options({"new_coords": self.new_coords}, after=super().extra_repr())


_Cells = tuple[tuple[np.ndarray, ...], np.ndarray]
"""Image, anchor, row and column of K boxes, (K,) each, and their values (K, V)."""


def _cells_above(maps: Tensor, lowest: float) -> _Cells:
    """Return the boxes of (B, A, V, H, W) whose raw objectness is larger than ``lowest``."""
    if maps.device.type != "cpu":
        return _cells_above_on_device(maps, lowest)
    array = on_cpu(maps)
    image, anchor, row, column = np.nonzero(array[:, :, BOX_VALUES - 1] > lowest)
    return (image, anchor, row, column), array[image, anchor, :, row, column]


def _cells_above_on_device(maps: Tensor, lowest: float) -> _Cells:
    """Select the boxes on another device, and copy only these to the CPU."""
    image, anchor, row, column = (maps[:, :, BOX_VALUES - 1] > lowest).nonzero(as_tuple=True)
    return (
        tuple(on_cpu(numbers) for numbers in (image, anchor, row, column)),
        on_cpu(maps[image, anchor, :, row, column]),
    )
