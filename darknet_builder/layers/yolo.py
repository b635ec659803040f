"""[yolo]: the head of YOLO v3 to v7 (yolo_layer.c)."""

from __future__ import annotations

import torch
from torch import Tensor

from darknet_builder.boxes import Candidates, Likely
from darknet_builder.layers.base import Graph, register
from darknet_builder.layers.heads import BOX_VALUES, AnchorHead, AnchorOptions, anchor_boxes, boxes_at
from darknet_builder.parser import Block
from darknet_builder.shapes import Shape


@register("yolo")
class Yolo(AnchorHead):
    """Boxes from a map of A anchors: x, y, w, h, objectness and C independent class scores at each place.

    Args:
        in_shape: (A * (5 + C), H, W).
        common: anchors, classes and what else such heads share.
        new_coords: the layer before it applies the logistic, and w, h are squares, not exponentials.
    """

    def __init__(self, in_shape: Shape, common: AnchorOptions, *, new_coords: bool = False) -> None:
        super().__init__(in_shape, common)
        self.new_coords = new_coords

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Yolo:
        """parser.c:424."""
        block.ignore("show_details", "track_history_size", "sim_thresh", "dets_for_track", "dets_for_show",
                     "track_ciou_norm", "embedding_layer", "beta1")
        return cls(graph.image_shape(block), AnchorOptions.from_block(block), new_coords=block.get_flag("new_coords"))

    def facts(self) -> dict[str, object]:
        """With its kind of coordinates."""
        return super().facts() | {"values": "x, y, w, h, objectness", "new_coords": self.new_coords}

    def forward(self, x: Tensor) -> Tensor:
        """Raw map (B, A * (5 + C), H, W) -> as Darknet holds it (yolo_layer.c:668)."""
        return self._activate(self.split(x), 2).flatten(1, 2)

    def _activate(self, values: Tensor, dim: int) -> Tensor:
        """x, y, w, h, objectness and classes along ``dim``, raw -> as Darknet holds them."""
        xy, wh, rest = values.split([2, 2, BOX_VALUES - 4 + self.classes], dim)
        if not self.new_coords:
            xy, rest = xy.sigmoid(), rest.sigmoid()
        xy = xy * self.scale_x_y - (self.scale_x_y - 1) / 2
        return torch.cat((xy, wh, rest), dim)

    def decode(self, raw: Tensor, net_size: tuple[int, int]) -> Candidates:
        """Raw map -> N = A * H * W candidates (yolo_layer.c:131)."""
        maps = self.split(self(raw)).permute(0, 1, 3, 4, 2)  # (B, A, H, W, 5 + C)
        boxes = anchor_boxes(maps[..., :4], self.masked_anchors, net_size, squared=self.new_coords)
        objectness = maps[..., 4:5].flatten(1, 3)  # (B, N, 1)
        return Candidates(boxes, objectness.squeeze(-1), objectness * maps[..., BOX_VALUES:].flatten(1, 3))

    def find_likely(self, raw: Tensor, net_size: tuple[int, int], threshold: float) -> Likely:
        """Objectness first: of thousands of places a handful is left to be decoded."""
        maps = self.split(raw)  # (B, A, 5 + C, H, W)
        objectness = maps[:, :, BOX_VALUES - 1] if self.new_coords else maps[:, :, BOX_VALUES - 1].sigmoid()
        image, anchor, row, column = (objectness > threshold).nonzero(as_tuple=True)
        values = self._activate(maps[image, anchor, :, row, column], 1)  # (K, 5 + C)
        boxes = boxes_at(values, column[:, None], row[:, None], values.new_tensor(self.masked_anchors)[anchor],
                         (maps.shape[4], maps.shape[3]), net_size, squared=self.new_coords)
        scores = values[:, BOX_VALUES - 1:BOX_VALUES] * values[:, BOX_VALUES:]
        return Likely.of(image, boxes, values[:, BOX_VALUES - 1], scores, threshold)
