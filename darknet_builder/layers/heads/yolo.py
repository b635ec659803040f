"""[yolo]: the head of YOLO v3 to v7 (yolo_layer.c)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeGuard

import numpy as np
import torch
from torch import Tensor

from darknet_builder.boxes.candidates import Candidates, ScoredBoxes
from darknet_builder.boxes.formats import Array, on_cpu
from darknet_builder.cfg.block import Block
from darknet_builder.layers.base import Graph, Head, register
from darknet_builder.layers.heads.anchor_head import (
    BOX_VALUES,
    AnchorHead,
    AnchorOptions,
    anchor_boxes,
    centres_of,
    sizes_of,
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
        return torch.cat((self._in_cell(self.logistic(xy)), wh, self.logistic(rest)), 2).flatten(
            1, 2
        )

    def logistic(self, values: Array) -> Array:
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

    def decode_above(self, raw: Tensor, net_size: tuple[int, int], threshold: float) -> ScoredBoxes:
        """Return ``decode(raw, net_size).above(threshold)``, but compare raw objectness first.

        Of thousands of cells, only the few above the threshold are decoded.
        """
        return decode_together([self], [raw], net_size, threshold)

    def cells_above(self, raw: Tensor, threshold: float) -> _Found:
        """Return the boxes whose objectness may exceed a threshold, before any arithmetic."""
        lowest = self._raw_below(threshold)
        if not raw.is_cpu:
            return _cells_above_on_device(self.split(raw.detach()), lowest)
        images, _, *size = raw.shape
        shape = (images, len(self.mask), BOX_VALUES + self.classes, *size)
        return _cells_above(on_cpu(raw).reshape(shape), lowest)  # NumPy splits faster.

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


def alike(heads: Sequence[Head]) -> TypeGuard[Sequence[Yolo]]:
    """Return whether ``decode_together`` can decode these heads."""
    return (
        all(type(head).decode_above is Yolo.decode_above for head in heads)
        and len({(head.classes, getattr(head, "new_coords", None)) for head in heads}) == 1
    )


# exp(100) overflows float32: 1 / (1 + inf) = 0 is the right logistic.
@np.errstate(all="ignore")
def decode_together(
    heads: Sequence[Yolo], raw_maps: Sequence[Tensor], net_size: tuple[int, int], threshold: float
) -> ScoredBoxes:
    """Return the rows above a threshold of several heads, one head after the other.

    A call of NumPy costs more than the few boxes of an image, so it is made once for all heads.

    Args:
        heads: at least one, all with the same classes and ``new_coords``; see ``alike``.
        raw_maps: one tensor for each head.
        net_size: (width, height) of the network's input in pixels.
        threshold: objectness and score must both be larger.
    """
    found = [head.cells_above(raw, threshold) for head, raw in zip(heads, raw_maps, strict=True)]
    places = np.concatenate([place for place, _ in found], 1)  # (4, K)
    values = np.concatenate([value for _, value in found])  # (K, 5 + C)
    row = 0
    for head, (_, value) in zip(heads[:-1], found, strict=False):
        row += len(value)
        places[1, row:] += len(head.mask)  # The anchors of all heads are numbered as one list.

    # As in Darknet's map, w and h stay raw. (NumPy is faster with all columns than with some.)
    shares = heads[0].logistic(values)
    shares[:, 2:4] = values[:, 2:4]
    scores = shares[:, 4:5] * shares[:, BOX_VALUES:]  # (K, C)
    # M pairs of a box and a class above the threshold: indices into K and into C.
    # (Faster than np.nonzero of an array with two axes.)
    pairs = (scores > threshold).ravel().nonzero()[0]
    box_id, class_ids = np.divmod(pairs, heads[0].classes)
    picked = shares[:, :BOX_VALUES].T.take(box_id, 1)  # (5, M)
    places = places.take(box_id, 1)  # (4, M)
    options = [
        (tuple(head.anchors), tuple(head.mask), head.scale_x_y, raw.shape[2:])
        for head, raw in zip(heads, raw_maps, strict=True)
    ]
    constants = _constants(tuple(options), net_size)
    boxes = _boxes_at(picked[:4], places, constants, heads[0].new_coords)
    return ScoredBoxes(
        places[0], box_id, boxes, picked[4], class_ids, scores.take(pairs), heads[0].classes
    )


def _boxes_at(
    values: np.ndarray, places: np.ndarray, constants: np.ndarray, squared: bool
) -> np.ndarray:
    """Compute in NumPy what ``decode`` computes for all boxes. A test compares the two.

    Args:
        values: (4, M), w and h raw. NumPy is faster where the last axis is the longest.
        places: (4, M) image, anchor among those of all heads, row and column.
        constants: from ``_constants``.
        squared: see ``sizes_of``.

    Returns:
        (M, 4), relative to the network's input.
    """
    anchors, grid, unit, factor, shift = constants.take(places[1], 2)  # (2, M) each
    cells = places[:1:-1].astype(np.float32)  # (2, M) column and row
    centres = centres_of(values[:2] * factor - shift, cells, grid)
    sizes = sizes_of(values[2:], anchors, squared=squared) / unit
    return np.concatenate((centres, sizes)).T


_BoxOptions = tuple[tuple[tuple[float, float], ...], tuple[int, ...], float, tuple[int, ...]]
"""All anchors of a head, its mask, ``scale_x_y``, and (H, W) of its map."""


@lru_cache
def _constants(heads: tuple[_BoxOptions, ...], net_size: tuple[int, int]) -> np.ndarray:
    """Return what a box depends on, apart from its values and its cell.

    It is kept because building it takes longer than decoding the boxes of an image.

    Returns:
        (5, 2, A) for the A anchors of all heads: along x and y, the anchor's size, the number of
        cells, the network's input size, and the factor and the shift of ``scale_x_y``.
    """
    rows = [
        (anchors[index], grid[::-1], net_size, (factor, factor), ((factor - 1) / 2,) * 2)
        for anchors, mask, factor, grid in heads
        for index in mask
    ]
    constants = np.array(rows, np.float32).transpose(1, 2, 0).copy()
    constants.flags.writeable = False  # Several threads may share it.
    return constants


_Found = tuple[tuple[np.ndarray, ...], np.ndarray]
"""Image, anchor, row and column of K boxes, (K,) each, and their values (K, V)."""


def _cells_above(maps: np.ndarray, lowest: float) -> _Found:
    """Return the boxes of (B, A, V, H, W) whose raw objectness is larger than ``lowest``."""
    objectness = maps[:, :, BOX_VALUES - 1]
    # Faster than np.nonzero of an array with four axes.
    image, anchor, row, column = np.unravel_index(
        (objectness.ravel() > lowest).nonzero()[0], objectness.shape
    )
    return (image, anchor, row, column), maps[image, anchor, :, row, column]


def _cells_above_on_device(maps: Tensor, lowest: float) -> _Found:
    """Select the boxes on another device, and copy only these to the CPU, in one piece."""
    places = (maps[:, :, BOX_VALUES - 1].float() > lowest).nonzero()  # (K, 4)
    image, anchor, row, column = places.unbind(1)
    values = maps[image, anchor, :, row, column].float().contiguous()  # (K, V)
    # Each copy waits for the device. The bits of the values pass as integers, so that both are one
    # tensor (K, 4 + V) and no number is rounded. int32 holds all places: nonzero's limit is 2^31.
    packed = on_cpu(torch.cat((places.int(), values.view(torch.int32)), 1))
    image, anchor, row, column = packed[:, :4].T.astype(np.int64)
    return (image, anchor, row, column), packed[:, 4:].view(np.float32)
