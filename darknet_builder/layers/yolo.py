"""[yolo]: the head of YOLO v3 to v7 (yolo_layer.c)."""

from __future__ import annotations

import torch
from torch import Tensor

from darknet_builder.boxes import GREEDY_BETA, NMS_KINDS, Candidates
from darknet_builder.layers.base import Graph, register
from darknet_builder.layers.heads import (
    BOX_VALUES,
    AnchorHead,
    AugmentOptions,
    YoloLossOptions,
    anchor_boxes,
    read_anchors,
)
from darknet_builder.parser import Block
from darknet_builder.shapes import Shape


@register("yolo")
class Yolo(AnchorHead):
    """Boxes from a map of A anchors: x, y, w, h, objectness and C independent class scores at each place.

    Args:
        in_shape: (A * (5 + C), H, W).
        new_coords: the layer before it applies the logistic, and w, h are squares, not exponentials.
        anchors, mask, classes, scale_x_y, nms_kind, beta_nms, loss, augment: see ``AnchorHead``.
    """

    def __init__(self, in_shape: Shape, *, new_coords: bool = False, anchors: list[tuple[float, float]],
                 mask: list[int], classes: int, scale_x_y: float = 1.0, nms_kind: str = "default",
                 beta_nms: float = GREEDY_BETA, loss: YoloLossOptions | None = None,
                 augment: AugmentOptions | None = None) -> None:
        super().__init__(in_shape, anchors=anchors, mask=mask, classes=classes, scale_x_y=scale_x_y,
                         nms_kind=nms_kind, beta_nms=beta_nms, loss=loss, augment=augment)
        self.new_coords = new_coords

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Yolo:
        """parser.c:424."""
        anchors, mask = read_anchors(block)
        classes = block.get_int("classes", 20, minimum=1)
        block.ignore("map", "show_details", "track_history_size", "sim_thresh", "dets_for_track", "dets_for_show",
                     "track_ciou_norm", "embedding_layer", "beta1")
        return cls(
            graph.image_shape(block), anchors=anchors, mask=mask, classes=classes,
            new_coords=block.get_flag("new_coords"), scale_x_y=block.get_float("scale_x_y", 1.0),
            nms_kind=block.get_choice("nms_kind", "default", NMS_KINDS),
            beta_nms=block.get_float("beta_nms", GREEDY_BETA),
            loss=YoloLossOptions.from_block(block, classes), augment=AugmentOptions.from_block(block),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Raw map (B, A * (5 + C), H, W) -> as Darknet holds it (yolo_layer.c:668)."""
        maps = self.split(x)
        xy, wh, rest = maps[:, :, :2], maps[:, :, 2:4], maps[:, :, 4:]
        if not self.new_coords:
            xy, rest = xy.sigmoid(), rest.sigmoid()
        xy = xy * self.scale_x_y - (self.scale_x_y - 1) / 2
        return torch.cat((xy, wh, rest), 2).flatten(1, 2)

    def decode(self, raw: Tensor, net_size: tuple[int, int]) -> Candidates:
        """Raw map -> N = A * H * W candidates (yolo_layer.c:131)."""
        maps = self.split(self(raw)).permute(0, 1, 3, 4, 2).flatten(1, 3)  # (B, N, 5 + C)
        boxes = anchor_boxes(maps[..., :4], raw.shape[2:], self.masked_anchors, net_size, squared=self.new_coords)
        objectness = maps[..., 4]
        return Candidates(boxes, objectness, objectness.unsqueeze(-1) * maps[..., BOX_VALUES:])
