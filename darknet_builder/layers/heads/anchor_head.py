"""What the detection heads share: options of the loss, anchors, boxes from cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from darknet_builder.boxes.formats import Array, join, library_of
from darknet_builder.boxes.nms import GREEDY_BETA, NMS_KINDS
from darknet_builder.cfg.block import Block
from darknet_builder.errors import ShapeError
from darknet_builder.layers.base import AugmentOptions, Head
from darknet_builder.layers.representation import format_options, unless
from darknet_builder.shapes import Shape

BOX_VALUES = 5
"""x, y, w, h, objectness: the values of a map before the classes."""
_NO_ANCHOR = 0.5
"""What a number of an anchor is that the cfg does not give (yolo_layer.c:54, region_layer.c:41)."""
_IOU_KINDS = ("mse", "iou", "giou", "diou", "ciou")


@dataclass(frozen=True)
class YoloLossOptions:
    """What only the loss reads (parser.c:436), with Darknet's defaults."""

    ignore_thresh: float = 0.5
    truth_thresh: float = 1.0
    iou_thresh: float = 1.0
    iou_thresh_kind: str = "iou"
    iou_loss: str = "mse"
    iou_normalizer: float = 0.75
    obj_normalizer: float = 1.0
    cls_normalizer: float = 1.0
    delta_normalizer: float = 1.0
    uc_normalizer: float = 1.0
    max_delta: float = float("inf")
    label_smooth_eps: float = 0.0
    objectness_smooth: bool = False
    focal_loss: bool = False
    counters_per_class: tuple[int, ...] = ()
    max_boxes: int = 200

    @classmethod
    def from_block(cls, block: Block, classes: int) -> YoloLossOptions:
        """Read them from [yolo] or [Gaussian_yolo]."""
        counters = tuple(block.get_ints("counters_per_class", ()))
        if counters and len(counters) != classes:
            raise block.error(
                f"has {len(counters)} numbers for classes={classes}", "counters_per_class"
            )
        return cls(
            ignore_thresh=block.get_float("ignore_thresh", 0.5),
            truth_thresh=block.get_float("truth_thresh", 1.0),
            iou_thresh=block.get_float("iou_thresh", 1.0),
            iou_thresh_kind=block.get_choice("iou_thresh_kind", "iou", _IOU_KINDS[1:]),
            iou_loss=block.get_choice("iou_loss", "mse", _IOU_KINDS),
            iou_normalizer=block.get_float("iou_normalizer", 0.75),
            obj_normalizer=block.get_float("obj_normalizer", 1.0),
            cls_normalizer=block.get_float("cls_normalizer", 1.0),
            delta_normalizer=block.get_float("delta_normalizer", 1.0),
            uc_normalizer=block.get_float("uc_normalizer", 1.0),
            max_delta=block.get_float("max_delta", float("inf")),
            label_smooth_eps=block.get_float("label_smooth_eps", 0.0),
            objectness_smooth=block.get_flag("objectness_smooth"),
            focal_loss=block.get_flag("focal_loss"),
            counters_per_class=counters,
            max_boxes=block.get_int("max", 200, minimum=1),
        )


@dataclass(frozen=True)
class AnchorOptions:
    """What the heads with masked anchors share: [yolo] and [Gaussian_yolo].

    Attributes:
        anchors: (width, height) in pixels of the network's input, all of them.
        mask: which of them this head uses.
        classes: how many.
        scale_x_y: stretches x and y around the cell's middle.
        nms_kind: which suppression Darknet applies to its boxes.
        beta_nms: exponent of ``diounms``.
        loss: what only the loss reads.
        augment: what it says of the training images.
    """

    anchors: list[tuple[float, float]]
    mask: list[int]
    classes: int
    scale_x_y: float = 1.0
    nms_kind: str = "default"
    beta_nms: float = GREEDY_BETA
    loss: YoloLossOptions = YoloLossOptions()
    augment: AugmentOptions = AugmentOptions()

    @classmethod
    def from_block(cls, block: Block, *, hash_ends: bool = True) -> AnchorOptions:
        """parser.c:424, parser.c:600, which go on reading ``anchors=`` behind a ``#`` in
        [Gaussian_yolo].
        """
        anchors, mask = _read_anchors(block, hash_ends)
        classes = block.get_int("classes", 20, minimum=1)
        block.ignore("map")
        return cls(
            anchors,
            mask,
            classes,
            scale_x_y=block.get_float("scale_x_y", 1.0),
            nms_kind=block.get_choice("nms_kind", "default", NMS_KINDS),
            beta_nms=block.get_float("beta_nms", GREEDY_BETA),
            loss=YoloLossOptions.from_block(block, classes),
            augment=AugmentOptions.from_block(block),
        )


class AnchorHead(Head):
    """A head over (A * (values + C), H, W), A being the anchors in its mask and C the classes.

    Args:
        in_shape: of the map.
        common: anchors, classes and what else such heads share; its values become attributes.

    Raises:
        ShapeError: when the channels before it do not fit.
    """

    box_values = BOX_VALUES
    anchor_unit = "pixel"
    anchors: list[tuple[float, float]]
    mask: list[int]
    loss: YoloLossOptions

    def __init__(self, in_shape: Shape, common: AnchorOptions) -> None:
        mask, classes = common.mask, common.classes
        expected = len(mask) * (classes + self.box_values)
        if in_shape.channels != expected:
            raise ShapeError(
                f"needs filters={expected} in the layer before it, which gives {in_shape.channels}:"
                f" len(mask) * (classes + {self.box_values}) = {len(mask)} * ({classes} +"
                f" {self.box_values})",
                source_key="filters",
                source_value=expected,
            )
        super().__init__(in_shape, in_shape)
        self.anchors, self.mask, self.classes, self.scale_x_y = (
            common.anchors,
            mask,
            classes,
            common.scale_x_y,
        )
        self.nms_kind, self.beta_nms = common.nms_kind, common.beta_nms
        self.loss, self.augment = common.loss, common.augment

    @property
    def masked_anchors(self) -> list[tuple[float, float]]:
        """The anchors of this head, in the order of its channels."""
        return [self.anchors[index] for index in self.mask]

    def split(self, x: Tensor) -> Tensor:
        """(B, A * V, H, W) -> (B, A, V, H, W)."""
        return x.unflatten(1, (len(self.mask), -1))

    def boxes_of(self, places: Tensor, net_size: tuple[int, int]) -> Tensor:
        """Compute the boxes of an activated map.

        Args:
            places: (B, A, H, W, values + C), what ``forward`` gives, split.
            net_size: (width, height) of the network's input in pixels.

        Returns:
            (B, A * H * W, 4): x, y, w, h relative to the image.
        """
        raise NotImplementedError

    def metadata(self) -> dict[str, object]:
        """With its anchors."""
        return super().metadata() | {
            "anchors": self.masked_anchors,
            "anchor_unit": self.anchor_unit,
            "values_a_box": self.box_values,
            "scale_x_y": self.scale_x_y,
            "layout": "anchors, values and classes, rows, columns",
        }

    def summary_cells(self) -> tuple[str, str]:
        """Classes and mask."""
        return "", "mask " + ",".join(map(str, self.mask))

    def extra_repr(self) -> str:
        """See ``Layer.extra_repr``."""
        return format_options(
            {
                "mask": self.mask,
                "classes": self.classes,
                "scale_x_y": unless(self.scale_x_y, 1.0),
                "nms_kind": unless(self.nms_kind, "default"),
                "beta_nms": unless(self.beta_nms, GREEDY_BETA),
            }
        )


def _read_anchors(block: Block, hash_ends: bool) -> tuple[list[tuple[float, float]], list[int]]:
    """All anchors and the mask of a [yolo] or [Gaussian_yolo] section (parser.c:402).

    Raises:
        CfgError: located, for a mask that names an anchor which does not exist or of which a number
            is missing.
    """
    num = block.get_int("num", 1, minimum=1)
    mask = block.get_ints("mask", range(num))
    anchors = read_pairs(block, num, mask, hash_ends)
    for index in mask:
        if not 0 <= index < len(anchors):
            raise block.error(f"anchor {index} does not exist: there are {len(anchors)}", "mask")
    if max(mask) < num:
        return anchors[:num], mask
    # Darknet keeps only the first num anchors and reads beyond them (cspx-p7-mish.cfg): the list's
    # own are meant.
    block.warn(
        f"anchor {max(mask)} is beyond num={num}; all {len(anchors)} anchors of the list are used",
        "mask",
    )
    return anchors, mask


def read_pairs(
    block: Block, num: int, used: Sequence[int], hash_ends: bool
) -> list[tuple[float, float]]:
    """``anchors=``: ``num`` pairs, or more where the list is longer.

    Numbers that the list lacks are .5 in Darknet (yolo_layer.c:54), and those of empty items 0.

    Args:
        block: the head's section.
        num: how many there should be.
        used: those that the head decodes with, of which no number may be missing.
        hash_ends: whether ``#`` ends the list.

    Raises:
        CfgError: located, where a number of a used anchor is missing.
    """
    numbers = block.get_floats(
        "anchors", [_NO_ANCHOR] * (2 * num), hash_ends=hash_ends, empty=math.nan
    )
    short = 2 * num - len(numbers)
    whole = [
        not any(map(math.isnan, numbers[start : start + 2]))
        for start in range(0, len(numbers) - 1, 2)
    ]
    missing = [
        index for index in used if 0 <= index < num and not (index < len(whole) and whole[index])
    ]
    pairs = zip(numbers[::2], numbers[1::2], strict=False)
    read = " ".join(
        f"({width:g},{height:g})"
        for (width, height), there in zip(pairs, whole, strict=True)
        if there
    )
    count = len(numbers) - sum(map(math.isnan, numbers))
    said = f"num={num} needs {2 * num} numbers, {count} are here: the pairs {read or 'none'}"
    if missing:
        raise block.error(
            f"{said}; the head uses anchor {missing[0]}, which is not whole", "anchors"
        )
    if short > 0:
        block.warn(f"{said}; Darknet takes {_NO_ANCHOR:g} for what is missing", "anchors")
    numbers = [0.0 if math.isnan(number) else number for number in numbers] + [_NO_ANCHOR] * short
    return list(zip(numbers[::2], numbers[1::2], strict=False))


def anchor_boxes(
    values: Tensor,
    anchors: list[tuple[float, float]],
    unit: tuple[float, float],
    *,
    squared: bool = False,
) -> Tensor:
    """(B, A, H, W, 4) of (x, y, w, h) within their cells -> (B, A * H * W, 4) relative to the
    image.

    Written axis by axis, without a grid of all places, so that an exported graph holds for any H
    and W.

    Args:
        values: x and y in cells, w and h raw.
        anchors: (width, height) in the unit of ``unit``.
        unit: (width, height) of the whole image in the anchors' unit.
        squared: sizes are (2 v)^2 of the anchor instead of e^v (yolo_layer.c:131).
    """
    # Aligned at the right, so that each broadcasts over the axes that it does not have:
    #   values   (B, A, H, W, 4)
    #   columns           (W, 1)
    #   rows           (H, 1, 1)
    #   sizes       (A, 1, 1, 2)
    height, width = values.shape[2:4]
    columns = torch.arange(width, device=values.device).view(-1, 1)
    rows = torch.arange(height, device=values.device).view(-1, 1, 1)
    sizes = values.new_tensor(anchors)[:, None, None]
    return boxes_at(values, columns, rows, sizes, (width, height), unit, squared=squared).flatten(
        1, 3
    )


def boxes_at(
    values: Array,
    columns: Array,
    rows: Array,
    anchors: Array,
    grid: tuple[int, int],
    unit: tuple[float, float],
    *,
    squared: bool = False,
) -> Array:
    """An array (..., 4) of (x, y, w, h) within their cells -> (..., 4) relative to the image.

    Args:
        values: x and y in cells, w and h raw.
        columns, rows: (..., 1), of the cells.
        anchors: (..., 2) width and height in the unit of ``unit``.
        grid: (width, height) in cells.
        unit, squared: see ``anchor_boxes``.
    """
    # Along x, in a row of 5 cells: column 2 and x = .7 give (2 + .7) / 5 = .54 of the image.
    #   |---|---|--*|---|---|
    #     0   1   2   3   4
    # The width is e^w of the anchor's, or (2 w)^2 of it where ``squared``, in the anchors' unit:
    # pixels of [yolo], cells of [region]. ``unit`` makes it a share of the image.
    library = library_of(values)
    factor = library.square(values[..., 2:4]) * 4 if squared else library.exp(values[..., 2:4])
    sizes = factor * anchors
    return join(
        (
            (values[..., 0:1] + columns) / grid[0],
            (values[..., 1:2] + rows) / grid[1],
            sizes[..., 0:1] / unit[0],
            sizes[..., 1:2] / unit[1],
        )
    )
