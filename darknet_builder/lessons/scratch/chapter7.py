"""Solution of chapter 7: loss and gradient."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from darknet_builder.lessons.scratch.chapter1 import numbers
from darknet_builder.lessons.scratch.chapter3 import forward
from darknet_builder.lessons.scratch.chapter5 import decode
from darknet_builder.lessons.scratch.chapter6 import iou


def best_anchor(anchors: list[tuple[float, float]], w: float, h: float) -> int:
    """Return the index of the anchor whose shape is most like that of a box.

    It is the one with the highest IoU if both have the same centre.

    Args:
        anchors: all pairs of the section, width and height in pixels.
        w: width of the box in pixels.
        h: its height.

    Example:
        >>> best_anchor([(4, 4), (8, 16), (30, 30)], 9, 12)
        1
    """
    sizes = torch.tensor(anchors, dtype=torch.float32)
    centred = torch.cat([torch.zeros_like(sizes), sizes], dim=1)
    return int(iou(torch.tensor([0.0, 0.0, w, h]), centred).argmax())


def yolo_delta(
    raw: Tensor, truth: Tensor, block: dict[str, str], width: int, height: int
) -> Tensor:
    """Return Darknet's delta of a ``[yolo]`` section: minus the gradient of its loss.

    With ``output`` the sigmoid of ``raw`` for x, y (then scaled by ``scale_x_y`` as in ``decode``),
    objectness and classes, and ``raw`` itself for w and h:

    1. The delta of every objectness is ``0 - output``. But it is 0 where the decoded box overlaps a
       true box by more than ``ignore_thresh``, provided that one of its classes is above 0.25.
    2. Each true box belongs to one cell, the one of its centre, and to one anchor, the best of
       *all* anchors of the section. If that anchor is not in ``mask``, another section takes care.
       Otherwise, at that anchor and cell:

       - x, y, w, h: add ``(2 - w * h) * (target - output)``, where w and h are the true size
         relative to the image. The targets are the values that decode to the true box: the distance
         of the centre from the cell's corner, in cells; log(true size / anchor).
       - objectness: ``1 - output``.
       - classes: ``1 - output`` for the true class and ``0 - output`` for the others. If an earlier
         true box has the same anchor and cell, only the one of the true class is set.

    Args:
        raw: (1, A * (5 + classes), R, C), what ``decode`` takes.
        truth: (T, 5), rows x, y, w, h (relative to the image), class.
        block: the section, with ``anchors``, ``mask``, ``classes``, ``ignore_thresh``.
        width: width of the network's input in pixels.
        height: its height.

    Returns:
        A tensor of the shape of ``raw``.

    Example:
        >>> block = {"type": "yolo", "mask": "0", "anchors": "4,4", "classes": "1",
        ...          "ignore_thresh": "0.7"}
        >>> truth = torch.tensor([[0.75, 0.5, 0.5, 0.5, 0]])
        >>> yolo_delta(torch.zeros(1, 6, 1, 2), truth, block, 8, 8)[0, :, 0, :]
        tensor([[ 0.0000,  0.0000],
                [ 0.0000,  0.0000],
                [ 0.0000,  0.0000],
                [ 0.0000,  0.0000],
                [-0.5000,  0.5000],
                [ 0.0000,  0.5000]])
    """
    sizes = numbers(block["anchors"])
    pairs = list(zip(sizes[0::2], sizes[1::2], strict=True))
    mask = [int(index) for index in numbers(block["mask"])]
    classes, scale_x_y = int(block["classes"]), float(block.get("scale_x_y", "1"))
    chosen = [pairs[index] for index in mask]
    boxes = decode(raw, chosen, classes, width, height, scale_x_y)
    rows, columns = raw.shape[2:]
    output = raw.view(len(mask), 5 + classes, rows, columns).clone()
    output[:, :2] = scale_x_y * torch.sigmoid(output[:, :2]) - (scale_x_y - 1) / 2
    output[:, 4:] = torch.sigmoid(output[:, 4:])
    delta = torch.zeros_like(output)

    is_ignored = torch.zeros(len(boxes), dtype=torch.bool)
    for row in truth:
        is_ignored |= iou(row[:4], boxes[:, :4]) > float(block["ignore_thresh"])
    is_ignored &= (boxes[:, 5:] > 0.25).any(dim=1)
    delta[:, 4] = torch.where(is_ignored.view(len(mask), rows, columns), 0, 0 - output[:, 4])

    for x, y, w, h, class_id in truth.tolist():
        best = best_anchor(pairs, w * width, h * height)
        if best not in mask:
            continue
        column, row = int(x * columns), int(y * rows)
        size = torch.tensor([w * width / pairs[best][0], h * height / pairs[best][1]])
        target = torch.tensor([x * columns - column, y * rows - row, *size.log()])
        here = output[mask.index(best), :, row, column]
        change = delta[mask.index(best), :, row, column]  # a view: it writes to delta
        change[:4] += (2 - w * h) * (target - here[:4])
        change[4] = 1 - here[4]
        if not change[5 + int(class_id)]:
            change[5:] = 0 - here[5:]
        change[5 + int(class_id)] = 1 - here[5 + int(class_id)]
    return delta.view(raw.shape)


def train_step(
    blocks: list[dict[str, str]],
    modules: nn.ModuleList,
    optimizer: torch.optim.Optimizer,
    image: Tensor,
    truth: Tensor,
) -> float:
    """Make one step of training on one picture.

    In training mode: run the network, compute the delta of every ``[yolo]`` section, send minus the
    delta back through the network as the gradient of its raw map, and let the optimiser change the
    weights.

    Args:
        blocks: the sections, as ``load_network`` returns them.
        modules: the modules, as ``load_network`` returns them.
        optimizer: of ``modules.parameters()``.
        image: (1, C, H, W).
        truth: (T, 5), as in ``yolo_delta``.

    Returns:
        Darknet's cost before the step: the sum of the squares of all deltas.

    Example:
        >>> net = {"type": "net", "width": "8", "height": "8", "channels": "3"}
        >>> yolo = {"type": "yolo", "mask": "0", "anchors": "4,4", "classes": "1",
        ...         "ignore_thresh": "0.7"}
        >>> blocks = [net, {"type": "convolutional"}, yolo]
        >>> modules = nn.ModuleList([nn.Conv2d(3, 6, 8, 8), nn.Identity()])
        >>> optimizer = torch.optim.SGD(modules.parameters(), lr=0.001)
        >>> image, truth = torch.ones(1, 3, 8, 8), torch.tensor([[0.5, 0.5, 0.5, 0.5, 0]])
        >>> costs = [train_step(blocks, modules, optimizer, image, truth) for _ in range(5)]
        >>> costs[-1] < costs[0]
        True
    """
    width, height = int(blocks[0]["width"]), int(blocks[0]["height"])
    modules.train()
    optimizer.zero_grad()
    outputs = forward(blocks, modules, image)
    heads, deltas = [], []
    for block, output in zip(blocks[1:], outputs, strict=True):
        if block["type"] == "yolo":
            heads.append(output)
            deltas.append(yolo_delta(output.detach(), truth, block, width, height))
    torch.autograd.backward(heads, [-delta for delta in deltas])
    optimizer.step()
    return float(sum(delta.square().sum() for delta in deltas))
