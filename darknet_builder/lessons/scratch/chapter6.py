"""Solution of chapter 6: suppression and the picture."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darknet_builder.lessons.scratch.chapter3 import forward
from darknet_builder.lessons.scratch.chapter5 import decode_all

Found = tuple[int, float, float, float, float, float]
"""Class, score, left, top, right, bottom; in pixels of the picture."""


def fitted_size(columns: int, rows: int, width: int, height: int) -> tuple[int, int]:
    """Return the width and height of a picture that is fitted into the network's input.

    The picture keeps its proportions and fills one direction; the other one is rounded down.

    Args:
        columns: width of the picture in pixels.
        rows: its height.
        width: width of the network's input in pixels.
        height: its height.

    Example:
        >>> fitted_size(240, 160, width=32, height=24)
        (32, 21)
    """
    if width * rows < height * columns:
        return width, rows * width // columns
    return columns * height // rows, height


def letterbox(image: np.ndarray, width: int, height: int) -> Tensor:
    """Fit a picture into the network's input, with grey bars.

    The picture is resized to ``fitted_size`` and put in the middle (offsets rounded down); the rest
    is 0.5. Darknet's resizing is ``F.interpolate(..., mode="bilinear", align_corners=True)``.

    Args:
        image: (H, W, 3) uint8; blue, green, red, as ``cv2.imread`` returns.
        width: width of the network's input in pixels.
        height: its height.

    Returns:
        (1, 3, height, width), red, green, blue, from 0 to 1.

    Example:
        >>> letterbox(np.full((2, 4, 3), 255, np.uint8), 4, 4)[0, 0, :, 0]
        tensor([0.5000, 1.0000, 1.0000, 0.5000])
    """
    rows, columns = image.shape[:2]
    new_width, new_height = fitted_size(columns, rows, width, height)
    red_first = torch.from_numpy(image[:, :, ::-1].copy())
    pixels = red_first.permute(2, 0, 1).unsqueeze(0) / 255
    resized = F.interpolate(pixels, (new_height, new_width), mode="bilinear", align_corners=True)
    left, top = (width - new_width) // 2, (height - new_height) // 2
    canvas = torch.full((1, 3, height, width), 0.5)
    canvas[:, :, top : top + new_height, left : left + new_width] = resized
    return canvas


def to_picture(boxes: Tensor, columns: int, rows: int, width: int, height: int) -> Tensor:
    """Return boxes as corners in pixels of the picture: what ``letterbox`` did, undone.

    Args:
        boxes: (N, 4), x, y, w, h relative to the network's input, bars included.
        columns: width of the picture in pixels.
        rows: its height.
        width: width of the network's input in pixels.
        height: its height.

    Returns:
        (N, 4): left, top, right, bottom. They may lie outside the picture.

    Example:
        >>> to_picture(torch.tensor([[0.5, 0.5, 0.5, 0.5]]), 40, 20, width=8, height=8)
        tensor([[10.,  0., 30., 20.]])
    """
    new_width, new_height = fitted_size(columns, rows, width, height)
    x, y, w, h = boxes.unbind(-1)
    x = (x * width - (width - new_width) / 2) / new_width * columns
    y = (y * height - (height - new_height) / 2) / new_height * rows
    w = w * width / new_width * columns
    h = h * height / new_height * rows
    return torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], dim=-1)


def iou(box: Tensor, boxes: Tensor) -> Tensor:
    """Return the intersection over union of one box with each of several.

    Args:
        box: (4,), x, y, w, h: centre and size.
        boxes: (N, 4), likewise.

    Returns:
        (N,), from 0 (apart) to 1 (equal).

    Example:
        >>> box, boxes = torch.tensor([2.0, 2, 2, 2]), torch.tensor([[3.0, 2, 2, 2], [9, 9, 2, 2]])
        >>> iou(box, boxes)
        tensor([0.3333, 0.0000])
    """
    low = torch.maximum(box[:2] - box[2:] / 2, boxes[:, :2] - boxes[:, 2:] / 2)
    high = torch.minimum(box[:2] + box[2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2)
    sides = (high - low).clamp(min=0)
    intersection = sides[:, 0] * sides[:, 1]
    union = box[2] * box[3] + boxes[:, 2] * boxes[:, 3] - intersection
    return intersection / union


def nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Suppress all but the best of overlapping boxes, for each class by itself.

    For each class: go through the boxes from the highest score to the lowest. A box whose score is
    not 0 sets to 0 the scores of all later boxes that overlap it by more than the threshold.

    Args:
        boxes: (N, 4), x, y, w, h.
        scores: (N, classes); not changed.
        threshold: the largest IoU that two kept boxes of a class may have.

    Returns:
        (N, classes), a copy of the scores with 0 for what is suppressed.

    Example:
        >>> boxes = torch.tensor([[2.0, 2, 2, 2], [2.1, 2, 2, 2]])
        >>> nms(boxes, torch.tensor([[0.9, 0.1], [0.8, 0.3]]), 0.5)
        tensor([[0.9000, 0.0000],
                [0.0000, 0.3000]])
    """
    kept = scores.clone()
    for class_scores in kept.unbind(1):  # views: what changes here, changes in kept
        order = torch.argsort(class_scores, descending=True)
        for position, index in enumerate(order):
            if class_scores[index] > 0:
                later = order[position + 1 :]
                overlapping = iou(boxes[index], boxes[later]) > threshold
                class_scores[later[overlapping]] = 0
    return kept


def detect(
    blocks: list[dict[str, str]],
    modules: nn.ModuleList,
    image: np.ndarray,
    threshold: float = 0.25,
    overlap: float = 0.45,
) -> list[Found]:
    """Find the objects in a picture.

    The score of a class is objectness times class. Scores up to the threshold count as 0, and so do
    boxes whose objectness is not above it.

    Args:
        blocks: the sections, as ``load_network`` returns them.
        modules: the modules, as ``load_network`` returns them.
        image: (H, W, 3) uint8; blue, green, red.
        threshold: the smallest score.
        overlap: the threshold of ``nms``.

    Returns:
        (class, score, left, top, right, bottom) of each object, the highest score first.

    Example:
        >>> net = {"type": "net", "width": "8", "height": "8", "channels": "3"}
        >>> yolo = {"type": "yolo", "mask": "0", "anchors": "4,4", "classes": "1"}
        >>> conv = nn.Conv2d(3, 6, 8, 8)
        >>> with torch.no_grad():
        ...     _ = conv.weight.zero_(), conv.bias.copy_(torch.tensor([0.0, 0, 0, 0, 9, 9]))
        >>> blocks = [net, {"type": "convolutional"}, yolo]
        >>> modules = nn.ModuleList([conv, nn.Identity()])
        >>> for found in detect(blocks, modules, np.zeros((16, 16, 3), np.uint8)):
        ...     print([round(number, 2) for number in found])
        [0, 1.0, 4.0, 4.0, 12.0, 12.0]
    """
    width, height = int(blocks[0]["width"]), int(blocks[0]["height"])
    rows, columns = image.shape[:2]
    with torch.no_grad():
        boxes = decode_all(blocks, forward(blocks, modules, letterbox(image, width, height)))
    boxes = boxes[boxes[:, 4] > threshold]
    scores = boxes[:, 4:5] * boxes[:, 5:]
    scores[scores <= threshold] = 0
    scores = nms(boxes[:, :4], scores, overlap)
    corners = to_picture(boxes[:, :4], columns, rows, width, height)
    found: list[Found] = []
    for index, class_id in scores.nonzero().tolist():
        left, top, right, bottom = corners[index].tolist()
        found.append((class_id, scores[index, class_id].item(), left, top, right, bottom))
    return sorted(found, key=lambda one: -one[1])


def draw(image: np.ndarray, found: list[Found], names: list[str]) -> np.ndarray:
    """Return a copy of the picture with a box and a class name for each object.

    Args:
        image: (H, W, 3) uint8; not changed.
        found: what ``detect`` returns.
        names: the name of each class.

    Example:
        >>> picture = draw(np.zeros((32, 32, 3), np.uint8), [(0, 0.9, 4, 4, 20, 20)], ["ring"])
        >>> picture.shape, bool(picture[4, 12].any())
        ((32, 32, 3), True)
    """
    picture = image.copy()
    for class_id, score, left, top, right, bottom in found:
        first, last = (round(left), round(top)), (round(right), round(bottom))
        cv2.rectangle(picture, first, last, (0, 255, 0), 1)
        text = f"{names[class_id]} {score:.2f}"
        cv2.putText(picture, text, first, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1)
    return picture
