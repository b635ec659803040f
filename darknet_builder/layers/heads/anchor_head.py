"""Base of the [yolo] and [Gaussian_yolo] heads, and box decoding for all heads with anchors."""

from __future__ import annotations

import itertools
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
"""Number of values before the classes: x, y, w, h, objectness."""
_NO_ANCHOR = 0.5
"""Darknet's value for missing anchor numbers (yolo_layer.c:54, region_layer.c:41)."""
MOST_ANCHORS = 2**16
"""Largest ``num=``. Real cfgs have up to 18, and a list of all anchors is made from it."""
_IOU_KINDS = ("mse", "iou", "giou", "diou", "ciou")


@dataclass(frozen=True)
class YoloLossOptions:
    """Options that only the loss reads (parser.c:436), with Darknet's defaults."""

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
        """Read the options of a [yolo] or [Gaussian_yolo] section."""
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
    """Options common to [yolo] and [Gaussian_yolo], the heads whose anchors have a mask.

    Attributes:
        anchors: (width, height) of all anchors, in pixels of the network's input.
        mask: indices of the anchors that this head uses.
        classes: number of classes; each anchor has a score for every one.
        scale_x_y: factor that stretches x and y around the cell's centre; 1 for none.
        nms_kind: kind of suppression that Darknet applies to its boxes.
        beta_nms: exponent of the distance in ``diounms``.
        loss: options that only the loss reads.
        augment: options that change the training images.
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
        """Read the options of a [yolo] (parser.c:424) or [Gaussian_yolo] (parser.c:600).

        Args:
            block: the head's section of the cfg.
            hash_ends: whether ``#`` ends the list in ``anchors=``, as in [yolo]. In [Gaussian_yolo]
                Darknet ignores it and reads the numbers after it too.
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
    """A head over a map (A * (values + C), H, W) with A anchors in its mask and C classes.

    Args:
        in_shape: shape of the map.
        common: anchors, classes and the other common options; they become attributes.

    Raises:
        ShapeError: if the number of channels does not match.
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
        self.anchors, self.mask, self.classes = common.anchors, mask, classes
        self.scale_x_y = common.scale_x_y
        self.nms_kind, self.beta_nms = common.nms_kind, common.beta_nms
        self.loss, self.augment = common.loss, common.augment

    @property
    def masked_anchors(self) -> list[tuple[float, float]]:
        """The anchors of this head, in the order of its channels."""
        return [self.anchors[index] for index in self.mask]

    def split(self, x: Tensor) -> Tensor:
        """(B, A * V, H, W) -> (B, A, V, H, W)."""
        return x.unflatten(1, (len(self.mask), -1))

    def boxes_of(self, cells: Tensor, net_size: tuple[int, int]) -> Tensor:
        """Compute the boxes of an activated map.

        Args:
            cells: (B, A, H, W, V) with V = values + C: the output of the head's ``forward`` after
                ``split``, (B, A, V, H, W), with V moved to the end.
            net_size: (width, height) of the network's input in pixels.

        Returns:
            (B, A * H * W, 4): x, y, w, h relative to the image.
        """
        raise NotImplementedError

    def metadata(self) -> dict[str, object]:
        """Add the anchors and the order of the map's values."""
        return super().metadata() | {
            "anchors": self.masked_anchors,
            "anchor_unit": self.anchor_unit,
            "values_a_box": self.box_values,
            "scale_x_y": self.scale_x_y,
            "layout": "anchors, values and classes, rows, columns",
        }

    def summary_cells(self) -> tuple[str, str]:
        """Return the mask."""
        return "", "mask " + ",".join(map(str, self.mask))

    def extra_repr(self) -> str:
        """Return the options that ``print(network)`` shows."""
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
    """Read all anchors and the mask of a [yolo] or [Gaussian_yolo] section (parser.c:402).

    Raises:
        CfgError: located, if the mask names an anchor that does not exist or is incomplete.
    """
    num = block.get_int("num", 1, minimum=1, maximum=MOST_ANCHORS)
    mask = block.get_ints("mask", range(num))
    anchors = read_pairs(block, num, mask, hash_ends)
    for index in mask:
        if not 0 <= index < len(anchors):
            raise block.error(f"anchor {index} does not exist: there are {len(anchors)}", "mask")
    if max(mask) < num:
        return anchors[:num], mask
    # Darknet keeps only the first num anchors and then reads past their end. Such cfgs exist
    # (cspx-p7-mish.cfg), and they mean the anchors of the list.
    block.warn(
        f"anchor {max(mask)} is beyond num={num}; all {len(anchors)} anchors of the list are used",
        "mask",
    )
    return anchors, mask


def read_pairs(
    block: Block, num: int, used: Sequence[int], hash_ends: bool
) -> list[tuple[float, float]]:
    """Read ``anchors=``: ``num`` pairs (width, height), or more if the list is longer.

    As in Darknet, numbers after the list's end are 0.5 (yolo_layer.c:54), with a warning, and an
    empty item, as in ``10,13, ,30``, is 0. Both are errors in an anchor that the head uses.

    Args:
        block: the head's section, with ``anchors=``.
        num: expected number of pairs.
        used: indices of the anchors that the head decodes with; these must be complete.
        hash_ends: whether ``#`` ends the list.

    Raises:
        CfgError: located, if a number of a used anchor is missing or empty.
    """
    numbers = block.get_floats(
        "anchors", [_NO_ANCHOR] * (2 * num), hash_ends=hash_ends, empty=math.nan
    )
    # NaN stands for an empty item: "10,13, ,30" -> (10, 13), (nan, 30). A last number without
    # its partner makes no pair.
    pairs = list(zip(numbers[::2], numbers[1::2], strict=False))
    complete = [not any(map(math.isnan, pair)) for pair in pairs]
    complete += [False] * (num - len(complete))
    missing = [index for index in used if 0 <= index < num and not complete[index]]
    summary = _describe_pairs(num, numbers, pairs, complete)
    if missing:
        raise block.error(
            f"{summary}; the head uses anchor {missing[0]}, which is incomplete", "anchors"
        )
    num_missing = 2 * num - len(numbers)
    if num_missing > 0:
        block.warn(f"{summary}; Darknet uses {_NO_ANCHOR:g} for each missing number", "anchors")
    # Darknet's atof reads 0 from an empty item.
    values = list(map(_zero_if_nan, numbers)) + [_NO_ANCHOR] * num_missing
    return list(zip(values[::2], values[1::2], strict=False))


def _zero_if_nan(number: float) -> float:
    return 0.0 if math.isnan(number) else number


def _describe_pairs(
    num: int, numbers: list[float], pairs: list[tuple[float, float]], complete: list[bool]
) -> str:
    """Tell how many numbers an anchor list should have, and which complete pairs it has."""
    texts = [f"({width:g},{height:g})" for width, height in itertools.compress(pairs, complete)]
    count = len(numbers) - sum(map(math.isnan, numbers))
    listed = " ".join(texts) or "none"
    return f"num={num} needs {2 * num} numbers, but {count} are given: pairs {listed}"


def anchor_boxes(
    values: Tensor,
    anchors: list[tuple[float, float]],
    unit: tuple[float, float],
    *,
    squared: bool = False,
) -> Tensor:
    """Decode (x, y, w, h) within the cells of a map into boxes relative to the image.

    Broadcasts over the axes instead of building a grid of all cells, so that an exported graph
    works for any H and W.

    Args:
        values: (B, A, H, W, 4): x and y in cells, w and h raw.
        anchors: (width, height) of A anchors, in pixels or cells.
        unit: (width, height) by which sizes are divided: of the network's input if the anchors are
            in pixels ([yolo]), of the map if they are in cells ([region]).
        squared: the size is (2 v)^2 times the anchor instead of e^v times (yolo_layer.c:131).

    Returns:
        (B, A * H * W, 4).
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
    # x and y are apart, because their cells broadcast over different axes. Divided by ``unit``, a
    # size is a share of the image.
    sizes = sizes_of(values[..., 2:4], sizes, squared=squared)
    boxes = join(
        (
            centres_of(values[..., 0:1], columns, width),
            centres_of(values[..., 1:2], rows, height),
            sizes[..., 0:1] / unit[0],
            sizes[..., 1:2] / unit[1],
        )
    )
    return boxes.flatten(1, 3)  # (B, A, H, W, 4) -> (B, A * H * W, 4)


def centres_of(offsets: Array, cells: Array, grid: Array | int) -> Array:
    """Return x, y or both relative to the image.

    Args:
        offsets: x or y within their cells, in cells.
        cells: indices of their columns or rows.
        grid: number of columns or rows of the map.
    """
    # Along x, in a row of 5 cells: column 2 and x = .7 give (2 + .7) / 5 = .54 of the image.
    #   |---|---|--*|---|---|
    #     0   1   2   3   4
    return (offsets + cells) / grid


def sizes_of(values: Array, anchors: Array, *, squared: bool) -> Array:
    """Return widths, heights or both in the unit of the anchors.

    Args:
        values: raw w and h.
        anchors: widths and heights of the anchors.
        squared: the size is (2 v)^2 times the anchor instead of e^v times.
    """
    library = library_of(values)
    return (library.square(values) * 4 if squared else library.exp(values)) * anchors
