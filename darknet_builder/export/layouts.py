"""Arrange decoded boxes as the decoders of other detectors read them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from darknet_builder.export.settings import LAYOUTS

_OUTPUT = "output0"
"""The name of the only output in the layouts of other detectors."""
_LEAST_OBJECTNESS = 1e-4
"""Below it, class probabilities in the layout ``yolov5`` are reduced; no score is that low."""


def output_names(layout: str) -> list[str]:
    """Return the name of each tensor that ``arrange`` returns, in order.

    Args:
        layout: name of the layout, one of ``LAYOUTS``.

    Example:
        >>> output_names("yolov8")
        ['output0']
    """
    return ["boxes", "scores", "objectness"] if layout == LAYOUTS[0] else [_OUTPUT]


def arrange(
    layout: str, boxes_cxcywh: Tensor, scores: Tensor, objectness: Tensor, size: tuple[int, int]
) -> tuple[Tensor, ...]:
    """Arrange decoded boxes in the order and units of a layout.

    Args:
        layout: name of the layout, one of ``LAYOUTS``.
        boxes_cxcywh: (B, N, 4), relative to the network's input.
        scores: (B, N, C), probability of each class times the objectness.
        objectness: (B, N), 0 to 1.
        size: (width, height) of the input in pixels.

    Returns:
        - ``darknet``: boxes, scores and objectness, unchanged;
        - ``yolov5``: (B, N, 5 + C), centre x, centre y, width and height in pixels of the input,
          objectness, and the probability of each class, which a decoder multiplies by the
          objectness. Scores below 1e-4 come out lower;
        - ``yolov8``: (B, 4 + C, N), the same box, then the scores, without objectness.

    Example:
        >>> box, scores = torch.tensor([[[0.5, 0.5, 0.25, 0.5]]]), torch.tensor([[[0.25, 0.125]]])
        >>> arrange("yolov5", box, scores, torch.tensor([[0.5]]), (32, 64))[0].tolist()
        [[[16.0, 32.0, 8.0, 32.0, 0.5, 0.5, 0.25]]]
    """
    if layout == LAYOUTS[0]:
        return boxes_cxcywh, scores, objectness
    width, height = size
    # (B, N, 4) Written by column, because the size may be a free variable of the exported graph.
    x, y, w, h = boxes_cxcywh.unbind(-1)
    boxes = torch.stack([x * width, y * height, w * width, h * height], -1)
    if layout == "yolov8":
        return (torch.cat([boxes, scores], -1).transpose(1, 2),)  # (B, N, 4 + C) -> (B, 4 + C, N)
    known = objectness.unsqueeze(-1)  # (B, N, 1)
    # Programs compute the logistic of large negative numbers differently: onnxruntime gives 0 below
    # about 1e-8. Without a limit the quotient of two such numbers would be random.
    probabilities = scores / known.clamp(min=_LEAST_OBJECTNESS)
    return (torch.cat([boxes, known, probabilities], -1),)


def layout_metadata(
    layout: str, names: Sequence[str], stride: int, batch: int, size: tuple[int, int]
) -> dict[str, str]:
    """Return the metadata that decoders of a layout expect, text by key.

    ``names``, ``imgsz``, ``stride``, ``task`` and ``batch`` are literals of Python, as in the files
    of the programs that these layouts come from.

    Args:
        layout: ``yolov5`` or ``yolov8``.
        names: one for each class.
        stride: stride of the coarsest map, in pixels.
        batch: number of images in a call.
        size: (width, height) of the input in pixels.

    Example:
        >>> layout_metadata("yolov8", ["cat", "dog"], 32, 1, (640, 480))["names"]
        "{0: 'cat', 1: 'dog'}"
    """
    width, height = size
    return {
        "layout": layout,
        "names": repr(dict(enumerate(names))),
        "imgsz": repr([height, width]),
        "stride": str(stride),
        "task": "detect",
        "batch": str(batch),
        "box_format": "centre x, centre y, width, height, in pixels of the network's input",
    }
