"""[Gaussian_yolo]: a yolo head that also predicts the uncertainty of each coordinate.

Source: gaussian_yolo_layer.c.
"""

from __future__ import annotations

import torch
from torch import Tensor

from darknet_builder.boxes.candidates import Candidates
from darknet_builder.cfg.block import Block
from darknet_builder.layers.base import Graph, register
from darknet_builder.layers.heads.anchor_head import AnchorHead, AnchorOptions, anchor_boxes
from darknet_builder.layers.representation import format_options, unless
from darknet_builder.shapes import Shape

YOLO_POINTS = {"center": 0.0, "left_top": 0.5, "right_bottom": -0.5}
"""``yolo_point=``: the fraction of the box's size to add to (x, y) to get its centre."""


@register("Gaussian_yolo", dialects=("alexeyab",))
class GaussianYolo(AnchorHead):
    """Decode x, y, w, h, each followed by its uncertainty, objectness and C class scores.

    Args:
        in_shape: (A * (9 + C), H, W) for A anchors.
        common: anchors, classes and the other options common to such heads.
        yolo_point: the point that x and y mean: ``center``, ``left_top`` or ``right_bottom``.
    """

    box_values = 9
    type_number = 29

    def __init__(
        self, in_shape: Shape, common: AnchorOptions, *, yolo_point: str = "center"
    ) -> None:
        super().__init__(in_shape, common)
        self.yolo_point = yolo_point

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> GaussianYolo:
        """Build from a cfg section (parser.c:600)."""
        return cls(
            graph.image_shape(block),
            AnchorOptions.from_block(block, hash_ends=False),
            yolo_point=block.get_choice("yolo_point", "center", tuple(YOLO_POINTS)),
        )

    def metadata(self) -> dict[str, object]:
        """Add the point that x and y mean."""
        values = (
            "x, x uncertainty, y, y uncertainty, w, w uncertainty, h, h uncertainty, objectness"
        )
        return super().metadata() | {"values": values, "yolo_point": self.yolo_point}

    def forward(self, x: Tensor) -> Tensor:
        """Raw map (B, A * (9 + C), H, W) -> the map as Darknet stores it, with only w and h raw.

        Source: gaussian_yolo_layer.c:411.
        """
        # Channels of an anchor: x, its uncertainty, y, its, w, its, h, its, objectness, classes
        #                        0        1          2   3   4   5   6   7       8       9 ...
        maps = self.split(x)  # (B, A, 9 + C, H, W)
        stretched = maps[:, :, 0:3:2].sigmoid() * self.scale_x_y - (self.scale_x_y - 1) / 2
        # (B, A, 9 + C, H, W) -> (B, A * (9 + C), H, W)
        return torch.cat(
            (
                stretched[:, :, :1],
                maps[:, :, 1:2].sigmoid(),
                stretched[:, :, 1:],
                maps[:, :, 3:4].sigmoid(),
                maps[:, :, 4:5],
                maps[:, :, 5:6].sigmoid(),
                maps[:, :, 6:7],
                maps[:, :, 7:].sigmoid(),
            ),
            2,
        ).flatten(1, 2)

    def decode(self, raw: Tensor, net_size: tuple[int, int]) -> Candidates:
        """Raw map -> N = A * H * W candidates (gaussian_yolo_layer.c:819).

        Scores are multiplied by one minus the mean uncertainty.
        """
        cells = self.split(self(raw)).permute(0, 1, 3, 4, 2)  # (B, A, H, W, 9 + C)
        boxes = self.boxes_of(cells, net_size)
        maps = cells.flatten(1, 3)  # (B, N, 9 + C)
        objectness = maps[..., 8]
        # Channels 1, 3, 5 and 7 are the uncertainties of x, y, w and h.
        certainty = 1 - maps[..., 1:8:2].mean(-1)
        return Candidates(
            boxes, objectness, (objectness * certainty).unsqueeze(-1) * maps[..., self.box_values :]
        )

    def boxes_of(self, cells: Tensor, net_size: tuple[int, int]) -> Tensor:
        """Decode the means, and move x and y from the point ``yolo_point`` to the centre."""
        boxes = anchor_boxes(cells[..., 0:8:2], self.masked_anchors, net_size)
        share = YOLO_POINTS[self.yolo_point]
        if share:
            boxes = torch.cat((boxes[..., :2] + share * boxes[..., 2:], boxes[..., 2:]), -1)
        return boxes

    def extra_repr(self) -> str:
        """Return the options that ``print(network)`` shows."""
        yolo_point = unless(self.yolo_point, "center")
        return format_options({"yolo_point": yolo_point}, after=super().extra_repr())
