"""The output of a detection head as OpenCV gives it: one row for each box of the map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from darknet_builder.boxes.formats import on_cpu
from darknet_builder.cfg.block import Block
from darknet_builder.compat.opencv.blobs import NMSBoxes
from darknet_builder.layers.base import Head

_BOX = 4


@dataclass(frozen=True)
class RowRules:
    """The rules by which OpenCV sets scores of a head to 0.

    Attributes:
        threshold: scores at or below it become 0.
        nms: NMS IoU threshold within the head; 0 disables suppression.
    """

    threshold: float
    nms: float

    @classmethod
    def of(cls, head: Head, block: Block, *, suppress: bool = True) -> RowRules:
        """Read the options of a head's section, with OpenCV's defaults.

        Source: darknet_io.cpp of OpenCV 4: ``thresh`` .2 and ``nms_threshold`` 0 in [yolo], whose
        anchors are in pixels; ``thresh`` .001 in [region], where region_layer.cpp suppresses with
        .4 whatever the cfg says.

        Args:
            head: the detection head of the section.
            block: the section of the head.
            suppress: False turns suppression off, as ``DetectionModel`` does (model.cpp,
                disableRegionNMS).
        """
        in_cells = head.anchor_unit == "cell"
        threshold = block.get_float("thresh", 0.001 if in_cells else 0.2)
        nms = 0.4 if in_cells else block.get_float("nms_threshold", 0.0)
        return cls(threshold, nms if suppress else 0.0)


def rows_of(head: Head, raw: Tensor, net_size: tuple[int, int], rules: RowRules) -> np.ndarray:
    """Return the boxes of a head, cell by cell, the anchors of a cell one after the other.

    Args:
        head: the detection head to decode.
        raw: (B, A * (5 + C), H, W), the map that the head reads.
        net_size: (width, height) of the network's input in pixels.
        rules: which scores become 0.

    Returns:
        (N, 5 + C) float32, or (B, N, 5 + C) for several images: centre x, centre y, width and
        height relative to the image, objectness, class probabilities times objectness.
    """
    candidates = head.decode(raw, net_size)
    scores = candidates.scores  # (B, N, C)
    scores = torch.where(scores > rules.threshold, scores, torch.zeros_like(scores))
    rows = torch.cat((candidates.boxes_cxcywh, candidates.objectness[..., None], scores), -1)
    if head.num_anchors:
        rows = _cell_by_cell(head, raw, rows)
    images = on_cpu(rows.float().contiguous())
    if rules.nms > 0:
        for image in images:
            _suppress(image, rules)
    return images[0] if len(images) == 1 else images


def _cell_by_cell(head: Head, raw: Tensor, rows: Tensor) -> Tensor:
    """Reorder (B, A * H * W, V) to (B, H * W * A, V), with the objectness of the map."""
    anchors, (height, width) = head.num_anchors, raw.shape[2:]
    by_anchor = rows.unflatten(1, (anchors, height, width))  # (B, A, H, W, V)
    # The objectness in ``Candidates`` may differ from the map's: see ``Region.decode``.
    objectness = raw.unflatten(1, (anchors, -1))[:, :, head.objectness_channel]  # (B, A, H, W)
    by_anchor[..., _BOX] = objectness.sigmoid() if head.takes_raw else objectness
    return by_anchor.permute(0, 2, 3, 1, 4).flatten(1, 3)


def _suppress(rows: np.ndarray, rules: RowRules) -> None:
    """Set the scores of suppressed boxes to 0, class by class (region_layer.cpp, do_nms_sort)."""
    corners = rows[:, :_BOX].copy()
    corners[:, :2] -= corners[:, 2:] / 2
    for scores in rows.T[_BOX + 1 :]:  # (N,) of each class, a view
        (above,) = scores.nonzero()
        if len(above):
            kept = NMSBoxes(corners[above], scores[above], rules.threshold, rules.nms)
            lost = np.delete(above, np.asarray(kept, np.int64))
            scores[lost] = 0
