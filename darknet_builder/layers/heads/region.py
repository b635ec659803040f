"""[region]: the head of YOLO v2 and YOLO9000 (region_layer.c)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from darknet_builder.boxes.candidates import Candidates
from darknet_builder.cfg.block import Block
from darknet_builder.cfg.dialects import Dialect, get_dialect
from darknet_builder.errors import ShapeError
from darknet_builder.layers.base import AugmentOptions, Graph, Head, register
from darknet_builder.layers.heads.anchor_head import (
    BOX_VALUES,
    MOST_ANCHORS,
    anchor_boxes,
    read_pairs,
)
from darknet_builder.layers.representation import format_options
from darknet_builder.layers.tree import Tree, read_map, read_tree
from darknet_builder.shapes import Shape


@dataclass(frozen=True)
class RegionLossOptions:
    """Options that only the loss reads (parser.c:556), with Darknet's defaults."""

    thresh: float = 0.5
    coord_scale: float = 1.0
    object_scale: float = 1.0
    noobject_scale: float = 1.0
    class_scale: float = 1.0
    rescore: bool = False
    bias_match: bool = False
    classfix: int = 0
    focal_loss: bool = False
    max_boxes: int = 200

    @classmethod
    def from_block(cls, block: Block) -> RegionLossOptions:
        """Read the options of a [region] section."""
        block.ignore("log", "sqrt", "absolute", "mask_scale", "coords")
        return cls(
            thresh=block.get_float("thresh", 0.5),
            coord_scale=block.get_float("coord_scale", 1.0),
            object_scale=block.get_float("object_scale", 1.0),
            noobject_scale=block.get_float("noobject_scale", 1.0),
            class_scale=block.get_float("class_scale", 1.0),
            rescore=block.get_flag("rescore"),
            bias_match=block.get_flag("bias_match"),
            classfix=block.get_int("classfix", 0),
            focal_loss=block.get_flag("focal_loss"),
            max_boxes=block.get_int("max", 200, minimum=1),
        )


@register("region")
class Region(Head):
    """Decode x, y, w, h, objectness and C class scores that share one softmax.

    Args:
        in_shape: (A * (5 + C), H, W) for A anchors.
        anchors: (width, height) of A anchors in cells.
        classes: number of classes, C.
        softmax: apply softmax to the class scores.
        dialect: the Darknet variant, which decides the order of the output and how scores are read.
        tree: a hierarchy of the classes, or None.
        hierarchy_threshold: minimum probability of a path down the tree (``-hier``).
        class_map: for each class of the labels, the class that is trained (``map=``).
        loss: options that only the loss reads.
        augment: options that change the training images.

    Attributes:
        report_map: classes to report with their probability down the tree. None reports the end of
            the path, as ``detector test`` does; ``map=`` in the ``.data`` file sets it, as for
            ``detector valid``.

    Raises:
        ShapeError: if the number of channels or the tree's size does not match.
    """

    box_values = BOX_VALUES
    type_number = 27
    anchor_unit = "cell"
    file_options = ("tree", "map")
    anchors: list[tuple[float, float]]
    loss: RegionLossOptions

    def __init__(
        self,
        in_shape: Shape,
        *,
        anchors: list[tuple[float, float]],
        classes: int,
        softmax: bool = False,
        dialect: Dialect | None = None,
        tree: Tree | None = None,
        hierarchy_threshold: float = 0.5,
        class_map: list[int] | None = None,
        loss: RegionLossOptions | None = None,
        augment: AugmentOptions | None = None,
    ) -> None:
        expected = len(anchors) * (classes + BOX_VALUES)
        if in_shape.channels != expected:
            raise ShapeError(
                f"needs filters={expected} in the layer before it, which gives {in_shape.channels}:"
                f" num * (classes + {BOX_VALUES}) = {len(anchors)} * ({classes} + {BOX_VALUES})",
                source_key="filters",
                source_value=expected,
            )
        if tree is not None and tree.size != classes:
            raise ShapeError(f"classes={classes}, but the tree has {tree.size}")
        super().__init__(in_shape, in_shape)
        self.anchors, self.classes, self.softmax, self.tree = anchors, classes, softmax, tree
        self.dialect = dialect or get_dialect("alexeyab")
        self.hierarchy_threshold, self.class_map = hierarchy_threshold, class_map
        self.loss = loss or RegionLossOptions()
        self.augment = augment or AugmentOptions()

    @classmethod
    def from_block(cls, block: Block, graph: Graph) -> Region:
        """Build from a cfg section (parser.c:537)."""
        num = block.get_int("num", 1, minimum=1, maximum=MOST_ANCHORS)
        classes = block.get_int("classes", 20, minimum=1)
        if block.get_int("coords", 4) != 4:
            raise block.error("only coords=4 (x, y, w, h) is supported", "coords")
        block.refuse("background")
        return cls(
            graph.image_shape(block),
            anchors=read_pairs(block, num, range(num), hash_ends=False)[:num],
            classes=classes,
            softmax=block.get_flag("softmax"),
            dialect=graph.dialect,
            tree=read_tree(block, graph.folder),
            class_map=read_map(block, graph.folder, classes),
            loss=RegionLossOptions.from_block(block),
            augment=AugmentOptions.from_block(block),
        )

    def metadata(self) -> dict[str, object]:
        """Add the anchors, the activation of the classes, and their hierarchy."""
        activation = "logistic" if self.dialect.region_logistic_classes else "linear"
        if self.softmax or self.tree is not None:
            activation = "softmax"
        return super().metadata() | {
            "anchors": self.anchors,
            "anchor_unit": self.anchor_unit,
            "values_a_box": self.box_values,
            "softmax": self.softmax,
            "values": "x, y, w, h, objectness",
            "layout": "anchors, values and classes, rows, columns",
            "class_activation": activation,
            "parents": None if self.tree is None else self.tree.parents,
        }

    def forward(self, x: Tensor) -> Tensor:
        """Raw map (B, A * (5 + C), H, W) -> the output as Darknet stores it.

        AlexeyAB's is (B, H * W * A * (5 + C)), cell by cell, with x and y raw; pjreddie's is a map
        of the input's shape, with x and y activated.
        """
        values = self.activate(x)  # (B, H, W, A, 5 + C)
        if self.dialect.region_by_cell:
            return values.flatten(1)
        values = torch.cat((values[..., :2].sigmoid(), values[..., 2:]), -1)
        # (B, H, W, A, 5 + C) -> (B, A, 5 + C, H, W) -> (B, A * (5 + C), H, W)
        return values.permute(0, 3, 4, 1, 2).flatten(1, 2)

    def activate(self, raw: Tensor) -> Tensor:
        """Raw map -> (B, H, W, A, 5 + C) with only x, y, w, h raw (region_layer.c:160)."""
        # (B, A, 5 + C, H, W) -> (B, H, W, A, 5 + C)
        values = raw.unflatten(1, (len(self.anchors), -1)).permute(0, 3, 4, 1, 2)
        scores = values[..., BOX_VALUES:]
        if self.tree is not None:
            scores = self.tree.softmax(scores, -1)
        elif self.softmax:
            scores = scores.softmax(-1)
        elif self.dialect.region_logistic_classes:
            scores = scores.sigmoid()
        return torch.cat((values[..., :4], values[..., 4:5].sigmoid(), scores), -1)

    @property
    def walks_tree(self) -> bool:
        """Whether the class is the end of the most probable path (pjreddie's ``detector test``)."""
        return self.tree is not None and self.report_map is None and self.dialect.region_objectness

    @property
    def reported_classes(self) -> int:
        """Length of ``report_map``, or the number of classes without it."""
        if self.tree is None or self.report_map is None:
            return self.classes
        return len(self.report_map)

    def decode(self, raw: Tensor, net_size: tuple[int, int]) -> Candidates:
        """Raw map -> N = A * H * W candidates (region_layer.c:380)."""
        cells = self.activate(raw).permute(0, 3, 1, 2, 4)  # (B, A, H, W, 5 + C)
        # (B, A, H, W, 4): x and y within the cell, w and h still raw
        coords = torch.cat((cells[..., :2].sigmoid(), cells[..., 2:4]), -1)
        # Anchors are in cells of this map, so the whole image is (W, H) of them.
        boxes = anchor_boxes(coords, self.anchors, (raw.shape[3], raw.shape[2]))
        values = cells.flatten(1, 3)  # (B, N, 5 + C)
        objectness = values[..., 4]
        if self.loss.classfix == -1 and not self.dialect.region_objectness:
            # region_layer.c:389
            objectness = torch.where(objectness < 0.5, torch.zeros_like(objectness), objectness)
        scores = self._scores(objectness.unsqueeze(-1), values[..., BOX_VALUES:])
        # Candidates are reported where ``reported`` is above the threshold. A path down the tree
        # has no score to compare, so the objectness decides (region_layer.c:398). AlexeyAB
        # otherwise compares only the products: the sign is 1 wherever there is a product.
        by_path = self.tree is not None and self.report_map is None
        reported = objectness if by_path or self.dialect.region_objectness else objectness.sign()
        return Candidates(boxes, reported, scores)

    def _scores(self, objectness: Tensor, classes: Tensor) -> Tensor:
        if self.tree is None:
            return objectness * classes
        absolute = self.tree.multiply_down(classes)
        if self.report_map is not None:
            return objectness * absolute[..., self.report_map]
        if self.dialect.region_objectness:
            top = self.tree.top_class(absolute, self.hierarchy_threshold)
            # (B, N, C): the objectness at the class that the walk ended at, 0 elsewhere
            return torch.zeros_like(absolute).scatter(-1, top.unsqueeze(-1), objectness)
        return self.tree.last_above_half(absolute)

    def extra_repr(self) -> str:
        """Return the options that ``print(network)`` shows."""
        return format_options(
            {
                "num": len(self.anchors),
                "classes": self.classes,
                "softmax": self.softmax,
                "tree": self.tree and f"{self.tree.size} classes",
            }
        )
