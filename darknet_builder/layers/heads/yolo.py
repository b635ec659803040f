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
"""Relative: far more than a logistic in float32 is off by."""


@register("yolo")
class Yolo(AnchorHead):
    """Boxes from a map of A anchors: x, y, w, h, objectness and C independent class scores at each
    place.

    Args:
        in_shape: (A * (5 + C), H, W).
        common: anchors, classes and what else such heads share.
        new_coords: the layer before it applies the logistic, and w, h are squares, not
            exponentials.
    """

    def __init__(self, in_shape: Shape, common: AnchorOptions, *, new_coords: bool = False) -> None:
        super().__init__(in_shape, common)
        self.new_coords = new_coords
        self.takes_raw = not new_coords

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Yolo:
        """parser.c:424."""
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
        """With its kind of coordinates."""
        return super().metadata() | {
            "values": "x, y, w, h, objectness",
            "new_coords": self.new_coords,
        }

    def forward(self, x: Tensor) -> Tensor:
        """Raw map (B, A * (5 + C), H, W) -> as Darknet holds it (yolo_layer.c:668)."""
        # (B, A, 5 + C, H, W), cut into x and y, w and h, objectness and classes
        xy, wh, rest = self.split(x).split([2, 2, BOX_VALUES - 4 + self.classes], 2)
        return torch.cat((self._in_cell(self._logistic(xy)), wh, self._logistic(rest)), 2).flatten(
            1, 2
        )

    def _logistic(self, values: Array) -> Array:
        """Of raw numbers, unless the layer before has done it."""
        if self.new_coords:
            return values
        return values.sigmoid() if isinstance(values, Tensor) else 1 / (1 + np.exp(-values))

    def _in_cell(self, xy: Array) -> Array:
        """Stretched around the middle."""
        return xy * self.scale_x_y - (self.scale_x_y - 1) / 2

    def decode(self, raw: Tensor, net_size: tuple[int, int]) -> Candidates:
        """Raw map -> N = A * H * W candidates (yolo_layer.c:131)."""
        maps = self.split(self(raw)).permute(0, 1, 3, 4, 2)  # (B, A, H, W, 5 + C)
        boxes = self.boxes_of(maps, net_size)
        objectness = maps[..., 4:5].flatten(1, 3)  # (B, N, 1)
        return Candidates(
            boxes, objectness.squeeze(-1), objectness * maps[..., BOX_VALUES:].flatten(1, 3)
        )

    def boxes_of(self, places: Tensor, net_size: tuple[int, int]) -> Tensor:
        """Scale each anchor by e^v, or by (2 v)^2 with ``new_coords`` (yolo_layer.c:131)."""
        return anchor_boxes(places[..., :4], self.masked_anchors, net_size, squared=self.new_coords)

    @np.errstate(all="ignore")  # the logistic of -100 divides by infinity, as it should
    def decode_above(self, raw: Tensor, net_size: tuple[int, int], threshold: float) -> ScoredBoxes:
        """Compare raw objectness first: of thousands of places a handful is left to be decoded."""
        maps = self.split(raw.detach())  # (B, A, 5 + C, H, W)
        (image, anchor, row, column), values = _places_above(
            maps, self._raw_below(threshold)
        )  # (K,) each, (K, 5 + C)
        objectness = self._logistic(values[:, BOX_VALUES - 1 : BOX_VALUES])
        scores = objectness * self._logistic(values[:, BOX_VALUES:])
        place, class_ids = np.nonzero(scores > threshold)

        boxes = values[place, :4]
        boxes[:, :2] = self._in_cell(self._logistic(boxes[:, :2]))
        columns, rows = (numbers[place, None].astype(np.float32) for numbers in (column, row))
        anchors = np.array(self.masked_anchors, np.float32)[anchor[place]]
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
            image[place],
            place,
            boxes,
            objectness[place, 0],
            class_ids,
            scores[place, class_ids],
            self.classes,
        )

    def _raw_below(self, objectness: float) -> float:
        """A raw number below all that come to more than an objectness, rounding included.

        That a few come to a little less is no harm: the score of no class is larger than the
        objectness.
        """
        if self.new_coords:
            return objectness
        least = objectness * (1 - _ROUNDING)
        return math.log(least / (1 - least)) if least > 0 else -math.inf

    def extra_repr(self) -> str:
        """See ``Layer.extra_repr``."""
        return format_options({"new_coords": self.new_coords}, after=super().extra_repr())


_Places = tuple[tuple[np.ndarray, ...], np.ndarray]
"""Image, anchor, row and column of K places, (K,) each, and their (K, V) values."""


def _places_above(maps: Tensor, lowest: float) -> _Places:
    """(B, A, V, H, W) -> where the objectness is larger."""
    if maps.device.type != "cpu":
        return _places_above_elsewhere(maps, lowest)
    array = on_cpu(maps)
    image, anchor, row, column = np.nonzero(array[:, :, BOX_VALUES - 1] > lowest)
    return (image, anchor, row, column), array[image, anchor, :, row, column]


def _places_above_elsewhere(maps: Tensor, lowest: float) -> _Places:
    """The same on another device, which only these places leave."""
    image, anchor, row, column = (maps[:, :, BOX_VALUES - 1] > lowest).nonzero(as_tuple=True)
    return (
        tuple(on_cpu(numbers) for numbers in (image, anchor, row, column)),
        on_cpu(maps[image, anchor, :, row, column]),
    )
