"""Compare the sizes of boxes with the strides and anchors of a network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from darknet_builder.data.anchors import overlaps
from darknet_builder.data.sets.findings import DataFinding
from darknet_builder.network.network import Network

_POOR_IOU = 0.25
"""IoU with its best anchor below which a box is hard to learn; k-means reaches .5 and more."""
_POOR_SHARE, _SMALL_SHARE = 0.1, 0.05
"""The shares of poor and of small boxes from which on they are a finding."""


@dataclass(frozen=True)
class HeadSizes:
    """The boxes that belong to one head.

    Attributes:
        stride: size of a cell in pixels of the network input.
        anchors: (width, height) in pixels of the network input, rounded.
        boxes: number of boxes whose best anchor is one of them.
    """

    stride: int
    anchors: tuple[tuple[float, float], ...]
    boxes: int


@dataclass(frozen=True)
class NetworkSizes:
    """The sizes of boxes in the input of a network.

    Attributes:
        width: of the network input in pixels.
        height: of the network input in pixels.
        heads: the heads that have anchors.
        mean_iou: mean IoU of the boxes with their best anchor; None without anchors or boxes.
        num_poor: number of boxes with an IoU below .25.
        num_small: number of boxes with a side below half of the smallest stride.
        num_boxes: number of all boxes.
    """

    width: int
    height: int
    heads: tuple[HeadSizes, ...]
    mean_iou: float | None
    num_poor: int
    num_small: int
    num_boxes: int

    def findings(self) -> list[DataFinding]:
        """Return what is odd about the sizes."""
        found = []
        size = f"at {self.width} x {self.height}"
        if self.num_boxes and self.num_small > _SMALL_SHARE * self.num_boxes:
            stride = min(head.stride for head in self.heads)
            text = (
                f"{self.num_small} of {self.num_boxes} boxes have a side below {stride / 2:g}"
                f" pixels {size}, half a cell of the finest head"
            )
            found.append(DataFinding("small boxes", text))
        if self.num_boxes and self.num_poor > _POOR_SHARE * self.num_boxes:
            text = (
                f"{self.num_poor} of {self.num_boxes} boxes have an IoU below {_POOR_IOU:g} with"
                f" every anchor {size}"
            )
            found.append(DataFinding("anchors that do not fit", text))
        return found

    def to_dict(self) -> dict[str, object]:
        """Return the numbers for a JSON document."""
        heads = [
            {"stride": head.stride, "anchors": head.anchors, "boxes": head.boxes}
            for head in self.heads
        ]
        return {
            "width": self.width,
            "height": self.height,
            "mean_iou": self.mean_iou,
            "boxes": self.num_boxes,
            "poor": self.num_poor,
            "small": self.num_small,
            "heads": heads,
        }


def compare_sizes(network: Network, sizes: np.ndarray) -> NetworkSizes:
    """Compare boxes with the heads of a network.

    Args:
        network: a detector.
        sizes: (N, 2) width and height of the boxes, relative to their images.

    Example:
        >>> from darknet_builder import build_network
        >>> found = compare_sizes(build_network("cfg/lesson.cfg"), np.array([[0.2, 0.3]]))
        >>> [(head.stride, head.boxes) for head in found.heads], found.num_small
        ([(8, 1), (4, 0)], 0)
    """
    width, height = network.input_size
    boxes = sizes * (width, height)
    heads = [head for head in network.heads if head.num_anchors]
    strides = [max(1, round(width / head.in_shape.width)) for head in heads]
    anchors = []
    for head, stride in zip(heads, strides, strict=True):
        chosen = range(len(head.anchors)) if head.mask is None else head.mask
        unit = stride if head.anchor_unit == "cell" else 1
        anchors.append(np.array([head.anchors[index] for index in chosen], float) * unit)
    owners = np.repeat(range(len(heads)), [len(rows) for rows in anchors])
    counts, best = np.zeros(len(heads), int), np.zeros(0)
    if len(boxes) and heads:
        iou = overlaps(boxes, np.concatenate(anchors))
        best = iou.max(1)
        counts = np.bincount(owners[iou.argmax(1)], minlength=len(heads))
    rows = []
    for stride, pairs, count in zip(strides, anchors, counts, strict=True):
        rounded = [(round(float(w), 1), round(float(h), 1)) for w, h in pairs]
        rows.append(HeadSizes(stride, tuple(rounded), int(count)))
    small = (boxes < min(strides) / 2).any(1).sum() if strides else 0
    return NetworkSizes(
        width,
        height,
        tuple(rows),
        float(best.mean()) if len(best) else None,
        int((best < _POOR_IOU).sum()),
        int(small),
        len(boxes),
    )
