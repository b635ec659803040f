"""Solution of chapter 5: decode."""

from __future__ import annotations

import torch
from torch import Tensor

from darknet_builder.lessons.scratch.chapter1 import numbers


def decode(
    raw: Tensor,
    anchors: list[tuple[float, float]],
    classes: int,
    width: int,
    height: int,
    scale_x_y: float = 1.0,
) -> Tensor:
    """Turn the map of one ``[yolo]`` section into boxes.

    The channels are ``5 + classes`` numbers for the first anchor, then those for the second one,
    and so on: tx, ty, tw, th, objectness, classes. For anchor (a, b) in row r and column c of a
    grid of R rows and C columns:

    - x = (c + s(tx)) / C and y = (r + s(ty)) / R, where s(t) = scale_x_y * sigmoid(t) -
      (scale_x_y - 1) / 2;
    - w = exp(tw) * a / width and h = exp(th) * b / height;
    - objectness and each class: sigmoid.

    Args:
        raw: (1, A * (5 + classes), R, C).
        anchors: A pairs, width and height in pixels of the network's input.
        classes: the number of classes.
        width: width of the network's input in pixels.
        height: its height.
        scale_x_y: the section's option of this name.

    Returns:
        (A * R * C, 5 + classes): first all boxes of the first anchor, row by row, then those of the
        second one. Columns: x, y, w, h (centre and size, relative to the network's input),
        objectness, classes.

    Example:
        >>> decode(torch.zeros(1, 6, 1, 2), [(8, 16)], classes=1, width=32, height=32)
        tensor([[0.2500, 0.5000, 0.2500, 0.5000, 0.5000, 0.5000],
                [0.7500, 0.5000, 0.2500, 0.5000, 0.5000, 0.5000]])
    """
    rows, columns = raw.shape[2:]
    values = raw.view(len(anchors), 5 + classes, rows, columns).permute(0, 2, 3, 1)
    row = torch.arange(rows).view(1, rows, 1)
    column = torch.arange(columns).view(1, 1, columns)
    anchor = torch.tensor(anchors, dtype=torch.float32).view(-1, 1, 1, 2)
    shift = scale_x_y * torch.sigmoid(values[..., :2]) - (scale_x_y - 1) / 2
    x = (column + shift[..., 0]) / columns
    y = (row + shift[..., 1]) / rows
    w = torch.exp(values[..., 2]) * anchor[..., 0] / width
    h = torch.exp(values[..., 3]) * anchor[..., 1] / height
    boxes = torch.stack([x, y, w, h], dim=-1)
    scores = torch.sigmoid(values[..., 4:])
    return torch.cat([boxes, scores], dim=-1).reshape(-1, 5 + classes)


def head_anchors(block: dict[str, str]) -> list[tuple[float, float]]:
    """Return the anchors of a ``[yolo]`` section: those pairs of ``anchors`` that ``mask`` lists.

    Example:
        >>> head_anchors({"type": "yolo", "mask": "1,2", "anchors": "4,5, 8,6, 12,14"})
        [(8.0, 6.0), (12.0, 14.0)]
    """
    sizes = numbers(block["anchors"])
    pairs = list(zip(sizes[0::2], sizes[1::2], strict=True))
    return [pairs[int(index)] for index in numbers(block["mask"])]


def decode_all(blocks: list[dict[str, str]], outputs: list[Tensor]) -> Tensor:
    """Decode every ``[yolo]`` section and join the boxes, in the order of the cfg.

    Args:
        blocks: what ``parse_cfg`` returns; the first has ``width`` and ``height``.
        outputs: what ``forward`` returns.

    Returns:
        (N, 5 + classes), as ``decode`` returns.

    Example:
        >>> net = {"type": "net", "width": "32", "height": "32"}
        >>> yolo = {"type": "yolo", "mask": "1", "anchors": "4,4, 8,16", "classes": "1"}
        >>> decode_all([net, yolo], [torch.zeros(1, 6, 1, 1)])
        tensor([[0.5000, 0.5000, 0.2500, 0.5000, 0.5000, 0.5000]])
    """
    width, height = int(blocks[0]["width"]), int(blocks[0]["height"])
    found = []
    for block, output in zip(blocks[1:], outputs, strict=True):
        if block["type"] == "yolo":
            scale_x_y = float(block.get("scale_x_y", "1"))
            classes = int(block["classes"])
            boxes = decode(output, head_anchors(block), classes, width, height, scale_x_y)
            found.append(boxes)
    return torch.cat(found)
