"""Lines that the ``darknet`` program prints about an image, a class or a training step."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from darknet_builder.compat.program.boxes import ListedBoxes
from darknet_builder.layers.base import Head
from darknet_builder.network.network import Network
from darknet_builder.weights.header import has_short_seen

_NMS_NUMBERS = {"greedynms": 1, "diounms": 2, "cornersnms": 3}
"""Darknet's NMS_KIND (darknet.h)."""


def network_lines(network: Network, *, is_training: bool = False) -> str:
    r"""Return what Darknet prints about a network while it reads cfg and weights (parser.c:1380).

    Args:
        network: a network with the header of its weights.
        is_training: True for the cfg's batch size, False for one image at a time.

    Example:
        >>> from darknet_builder.support.bundled import default_model
        >>> from darknet_builder.prediction.loading import load_network
        >>> network = load_network(*default_model()[:2])
        >>> print(network_lines(network).splitlines()[0].strip())
        mini_batch = 1, batch = 1, time_steps = 1, train = 0
    """
    options = network.options
    mini_batch = max(1, options.batch // options.subdivisions) if is_training else 1
    steps = options.time_steps if is_training else 1
    lines = [
        f"mini_batch = {mini_batch}, batch = {mini_batch * options.subdivisions},"
        f" time_steps = {steps}, train = {int(is_training)} \n"
    ]
    for head in network.heads:
        if head.nms_kind in _NMS_NUMBERS:
            number = _NMS_NUMBERS[head.nms_kind]
            lines.append(f"nms_kind: {head.nms_kind} ({number}), beta = {head.beta_nms:f} \n")
    return "".join(lines)


def seen_line(network: Network) -> str:
    """Return the line about the header of the weights (parser.c:2260).

    Example:
        >>> from darknet_builder import build_network
        >>> print(seen_line(build_network("yolov4-tiny", initialize=False)).strip())
        seen 64, trained: 0 K-images (0 Kilo-batches_64)
    """
    header = network.header
    bits = 32 if has_short_seen(network.dialect, header.major, header.minor) else 64
    return (
        f"\n seen {bits}, trained: {header.seen // 1000} K-images"
        f" ({header.seen // 64000} Kilo-batches_64) \n"
    )


def head_lines(network: Network) -> str:
    r"""Return a line for each detection layer, with its index (detector.c:1683).

    Example:
        >>> from darknet_builder import build_network
        >>> print(head_lines(build_network("yolov4-tiny", initialize=False)).split("\n")[0].strip())
        Detection layer: 30 - type = 28
    """
    return "".join(
        f" Detection layer: {index} - type = {layer.type_number} \n"
        for index, layer in enumerate(network.sequence())
        if isinstance(layer, Head) and layer.type_number is not None
    )


def object_lines(listed: ListedBoxes, *, extended: bool = False) -> str:
    r"""Return a line ``dog: 65%`` for each object, from left to right (image.c:348).

    A box of several classes has a line for each, the best class first.

    Args:
        listed: the boxes above the threshold.
        extended: add ``(left_x: ... )``, the box in pixels (``-ext_output``).

    Example:
        >>> boxes = np.array([[0.5, 0.5, 0.2, 0.2]], np.float32)
        >>> listed = ListedBoxes(boxes, np.array([[0.75]], np.float32), ("cat",), (640, 480))
        >>> object_lines(listed)
        'cat: 75%\n'
        >>> object_lines(listed, extended=True)
        'cat: 75%\t(left_x:  256   top_y:  192   width:  128   height:   96)\n'
    """
    best = listed.best_shown()
    lefts = listed.boxes_cxcywh[:, 0] - listed.boxes_cxcywh[:, 2] / 2
    lines = []
    for row in np.argsort(lefts, kind="stable"):
        if best[row] < 0:
            continue
        place = _place(listed, row) if extended else ""
        for class_id in _best_first(listed.scores[row], int(best[row])):
            percent = float(listed.scores[row, class_id] * np.float32(100))
            lines.append(f"{listed.names[class_id]}: {percent:.0f}%{place}\n")
    return "".join(lines)


def _best_first(scores: np.ndarray, best: int) -> Iterator[int]:
    yield best
    yield from (int(class_id) for class_id in np.flatnonzero(scores) if class_id != best)


def _place(listed: ListedBoxes, row: int) -> str:
    x, y, w, h = listed.boxes_cxcywh[row]
    width, height = (np.float32(side) for side in listed.image_size)
    values = ((x - w / 2) * width, (y - h / 2) * height, w * width, h * height)
    left, top, wide, high = (_round(float(value)) for value in values)
    return f"\t(left_x: {left:4.0f}   top_y: {top:4.0f}   width: {wide:4.0f}   height: {high:4.0f})"


def _round(value: float) -> float:
    """Round halves away from zero, as C does."""
    return math.copysign(math.floor(abs(value) + 0.5), value)
