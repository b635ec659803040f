"""[detection]: the head of YOLO v1 (detection_layer.c)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from darknet_builder.boxes.candidates import Candidates
from darknet_builder.cfg.block import Block
from darknet_builder.errors import ShapeError
from darknet_builder.layers.base import AugmentOptions, Graph, Head, register
from darknet_builder.layers.heads.anchor_head import BOX_VALUES, MOST_ANCHORS
from darknet_builder.layers.representation import format_options
from darknet_builder.shapes import Shape, flat

_COORDS = BOX_VALUES - 1


@dataclass(frozen=True)
class DetectionLossOptions:
    """Options that only the loss reads (parser.c:582), with Darknet's defaults."""

    coord_scale: float = 1.0
    object_scale: float = 1.0
    noobject_scale: float = 1.0
    class_scale: float = 1.0
    rescore: bool = False
    forced: bool = False
    max_boxes: int = 200

    @classmethod
    def from_block(cls, block: Block) -> DetectionLossOptions:
        """Read the options of a [detection] section."""
        block.ignore("reorg")
        return cls(
            coord_scale=block.get_float("coord_scale", 1.0),
            object_scale=block.get_float("object_scale", 1.0),
            noobject_scale=block.get_float("noobject_scale", 1.0),
            class_scale=block.get_float("class_scale", 1.0),
            rescore=block.get_flag("rescore"),
            forced=block.get_flag("forced"),
            max_boxes=block.get_int("max", 200, minimum=1),
        )


@register("detection")
class Detection(Head):
    """Decode boxes from a vector: class scores of all cells, then confidences, then coordinates.

    Args:
        in_shape: any shape of side^2 * (classes + num * 5) values.
        side: number of cells in a row, and in a column.
        num: number of boxes in each cell.
        classes: number of classes; each cell has a score for every one.
        softmax: apply softmax to each cell's class scores.
        square_root: the map holds the square roots of w and h.
        loss: options that only the loss reads.
        augment: options that change the training images.

    Raises:
        ShapeError: if the input has another number of values.
    """

    formless_in = ("alexeyab", "pjreddie")  # detection_layer.c
    takes_raw = False
    source_option = "output"
    loss: DetectionLossOptions

    def __init__(
        self,
        in_shape: Shape,
        *,
        side: int = 7,
        num: int = 1,
        classes: int = 1,
        softmax: bool = False,
        square_root: bool = False,
        loss: DetectionLossOptions | None = None,
        augment: AugmentOptions | None = None,
    ) -> None:
        expected = side * side * (classes + num * BOX_VALUES)
        if in_shape.size != expected:
            raise ShapeError(
                f"needs {expected} values from the layer before it, which gives {in_shape.size}:"
                f" side^2 * (classes + num * {BOX_VALUES}) = {side}^2 * ({classes} + {num} *"
                f" {BOX_VALUES})",
                source_key="output",
                source_value=expected,
            )
        super().__init__(in_shape, flat(expected))
        self.side, self.num, self.classes = side, num, classes
        self.softmax, self.square_root = softmax, square_root
        self.loss = loss or DetectionLossOptions()
        self.augment = augment or AugmentOptions()

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Detection:
        """Build from a cfg section (parser.c:582)."""
        if block.get_int("coords", 1) != _COORDS:
            raise block.error("only coords=4 (x, y, w, h) is supported", "coords")
        return cls(
            graph.shape,
            side=block.get_int("side", 7, minimum=1),
            num=block.get_int("num", 1, minimum=1, maximum=MOST_ANCHORS),
            classes=block.get_int("classes", 1, minimum=1),
            softmax=block.get_flag("softmax"),
            square_root=block.get_flag("sqrt"),
            loss=DetectionLossOptions.from_block(block),
            augment=AugmentOptions.from_block(block),
        )

    def source_values(self, classes: int, num_anchors: int) -> int:
        """See ``Head.source_values`` (detection_layer.c:27); ``num=`` stays as it is."""
        return self.side * self.side * (classes + self.num * BOX_VALUES)

    def metadata(self) -> dict[str, object]:
        """Add the order of the vector, and whether sizes are square roots."""
        return super().metadata() | {
            "side": self.side,
            "boxes_a_cell": self.num,
            "softmax": self.softmax,
            "sqrt": self.square_root,
            "layout": "classes of all cells, objectness of all boxes, x, y, w, h of all boxes",
        }

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, side^2 * (classes + num * 5)).

        Class scores are after the softmax, if the section has one.
        """
        x = x.flatten(1)  # (B, side^2 * (C + num * 5))
        if not self.softmax:
            return x
        cells = self.side * self.side
        # (B, cells, C)
        scores = x[:, : cells * self.classes].reshape(-1, cells, self.classes).softmax(2)
        return torch.cat((scores.flatten(1), x[:, cells * self.classes :]), 1)

    def decode(self, raw: Tensor, net_size: tuple[int, int]) -> Candidates:
        """(B, side^2 * (classes + num * 5)) -> side^2 * num candidates (detection_layer.c:300)."""
        values = self(raw)
        cells = self.side * self.side
        batch = values.shape[0]
        # One image's vector, for C classes and n boxes a cell:
        #   | C of cell 0 | C of cell 1 | ... | n of cell 0 | ... | n * (x, y, w, h) of cell 0 | ...
        classes, confidences, coords = values.split(
            [cells * self.classes, cells * self.num, cells * self.num * _COORDS], 1
        )
        objectness = confidences.reshape(batch, -1)  # (B, cells * num)
        boxes = coords.reshape(batch, cells, self.num, _COORDS)  # (B, cells, num, 4)
        cell = torch.arange(cells, device=raw.device)  # row by row: cell = row * side + column
        # (cells, 1, 2): column and row, the same for all boxes of a cell
        corner = torch.stack((cell % self.side, cell // self.side), -1).to(raw.dtype)[:, None]
        size = boxes[..., 2:].square() if self.square_root else boxes[..., 2:]
        # (B, cells, num, 4) -> (B, cells * num, 4); x and y were relative to their cell.
        boxes = torch.cat(((boxes[..., :2] + corner) / self.side, size), -1).flatten(1, 2)
        # All boxes of a cell share its classes: (B, cells, 1, C) -> (B, cells * num, C)
        scores = (
            classes.reshape(batch, cells, 1, self.classes)
            .expand(-1, -1, self.num, -1)
            .flatten(1, 2)
        )
        # Darknet compares only the products with the threshold (get_detection_detections), not
        # the objectness: class scores may be above 1 here.
        reported = (objectness != 0).to(objectness)
        return Candidates(boxes, reported, objectness.unsqueeze(-1) * scores)

    def extra_repr(self) -> str:
        """Return the options that ``print(network)`` shows."""
        return format_options(
            {
                "side": self.side,
                "num": self.num,
                "classes": self.classes,
                "softmax": self.softmax,
                "sqrt": self.square_root,
            }
        )
