"""The checks of chapters 5 to 7: decoding, suppression and pictures, loss and gradient."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from darknet_builder.lessons.marker.network_probes import fill_all
from darknet_builder.lessons.marker.probe import Probe, layer_title
from darknet_builder.lessons.marker.recorded import Recorded, shapes_files, solution

_COLUMNS = ("x", "y", "w", "h", "objectness", "class 0", "class 1")
_CORNERS = ("left", "top", "right", "bottom")
_FOUND = ("class", "score", *_CORNERS)
_BOXES = ("box",)
_CELLS = ("anchor", "row", "column")


def decode_probes(recorded: Recorded) -> list[Probe]:
    """Return the checks of chapter 5."""
    blocks = recorded.blocks
    probes = [_anchor_probe(blocks[head + 1], head) for head in recorded.heads()]
    for head in recorded.heads():
        title = f"decode: {layer_title(blocks[head + 1], head)}"
        rows, columns = recorded.output(head).shape[2:]
        shape = (3, rows, columns)
        right = _by_column(recorded.boxes(head), _COLUMNS, shape)
        probes.append(Probe(title, _decode(head, recorded, shape), right, _CELLS))
    every = torch.cat([recorded.boxes(head) for head in recorded.heads()])
    outputs = recorded.outputs(21)
    return [
        *probes,
        Probe(
            "decode_all",
            lambda code: _by_column(code.decode_all(blocks, outputs), _COLUMNS),
            _by_column(every, _COLUMNS),
            _BOXES,
        ),
    ]


def _by_column(boxes: Any, names: tuple[str, ...], shape: tuple[int, ...] = (-1,)) -> Any:
    """Return the columns of a table by name, each in a shape; any other value as it is."""
    count = abs(math.prod(shape))
    is_table = isinstance(boxes, Tensor) and boxes.dim() == 2 and boxes.shape[1] == len(names)
    if not is_table or (count > 1 and len(boxes) != count):
        return boxes
    return {name: boxes[:, index].reshape(shape) for index, name in enumerate(names)}


def _anchor_probe(block: dict[str, str], index: int) -> Probe:
    title = f"head_anchors: {layer_title(block, index)}"
    call = functools.partial(_head_anchors, block=block)
    return Probe(title, call, solution().head_anchors(block))


def _head_anchors(code: ModuleType, block: dict[str, str]) -> Any:
    return code.head_anchors(block)


def _decode(head: int, recorded: Recorded, shape: tuple[int, ...]) -> Callable[[ModuleType], Any]:
    block = recorded.blocks[head + 1]

    def call(code: ModuleType) -> Any:
        boxes = code.decode(
            recorded.output(head),
            solution().head_anchors(block),
            int(block["classes"]),
            recorded.width,
            recorded.height,
            float(block.get("scale_x_y", "1")),
        )
        return _by_column(boxes, _COLUMNS, shape)

    return call


def picture_probes(recorded: Recorded) -> list[Probe]:
    """Return the checks of chapter 6."""
    other = _detect(recorded, lambda: (recorded.cfg, recorded.weights), 0.6, 0.8)
    return [
        *_fitting_probes(recorded),
        *_overlap_probes(recorded),
        Probe(
            "detect: the scene, with shapes.weights",
            _detect(recorded, shapes_files),
            _by_column(recorded.corners(), _FOUND),
            ("object",),
        ),
        Probe(
            "detect: threshold=0.6, overlap=0.8, with scratch.weights",
            other,
            other(solution()),
            ("object",),
            is_recorded=False,
        ),
        Probe("draw", _draw(recorded), _DRAWN),
    ]


def _fitting_probes(recorded: Recorded) -> list[Probe]:
    scene = recorded.scene
    pictures = {"a wide picture": scene, "a tall picture": np.ascontiguousarray(scene[:, :90])}
    right = {"a wide picture": "letterbox", "a tall picture": "letterbox_tall"}
    sizes = [(240, 160, 32, 24), (90, 160, 32, 24), (640, 427, 416, 416)]
    boxes = torch.tensor([[0.5, 0.5, 0.25, 0.5], [0.2, 0.3, 0.1, 0.2]])
    # 416 / 90 is not exact: a size computed from this scale may be one pixel too small.
    probes = [
        Probe(
            f"fitted_size{size}",
            functools.partial(_call, name="fitted_size", arguments=size),
            solution().fitted_size(*size),
        )
        for size in [*sizes, (20, 90, 416, 416)]
    ]
    for title, picture in pictures.items():
        call = functools.partial(_call, name="letterbox", arguments=(picture, 32, 24))
        expected = recorded.arrays[right[title]].unsqueeze(0)
        probes.append(Probe(f"letterbox: {title}", call, expected))
    for size in sizes:
        title = f"to_picture: {size[0]} x {size[1]} pixels from {size[2]} x {size[3]}"
        call = functools.partial(_corners, boxes=boxes, size=size)
        probes.append(Probe(title, call, call(solution()), _BOXES, is_recorded=False))
    return probes


def _corners(code: ModuleType, boxes: Tensor, size: tuple[int, ...]) -> Any:
    return _by_column(code.to_picture(boxes.clone(), *size), _CORNERS)


def _overlap_probes(recorded: Recorded) -> list[Probe]:
    boxes, scores = recorded.arrays["nms/boxes"], recorded.arrays["nms/scores"]
    return [
        Probe(
            "iou: 20 boxes with each other",
            lambda code: torch.stack([code.iou(box, boxes) for box in boxes.clone()]),
            recorded.arrays["nms/iou"],
            ("box", "other box"),
        ),
        Probe(
            "nms: 20 boxes, 3 classes, threshold 0.45",
            lambda code: code.nms(boxes.clone(), scores.clone(), 0.45),
            recorded.arrays["nms/kept"],
            ("box", "class"),
        ),
        Probe("nms: the given scores stay unchanged", _keeps_scores(boxes, scores), True),
    ]


def _keeps_scores(boxes: Tensor, scores: Tensor) -> Callable[[ModuleType], bool]:
    def call(code: ModuleType) -> bool:
        given = scores.clone()
        code.nms(boxes.clone(), given, 0.45)
        return torch.equal(given, scores)

    return call


def _call(code: ModuleType, name: str, arguments: tuple[Any, ...]) -> Any:
    return getattr(code, name)(*arguments)


def _detect(
    recorded: Recorded, files: Callable[[], tuple[str, bytes]], *arguments: float
) -> Callable[[ModuleType], Any]:
    """Return a call that finds the objects of the scene, as rows of numbers."""

    def call(code: ModuleType) -> Any:
        blocks, modules = code.load_network(*files())
        found = code.detect(blocks, modules, recorded.scene.copy(), *arguments)
        rows = torch.tensor([[float(number) for number in one] for one in found])
        return _by_column(rows.view(-1, 6), _FOUND)

    return call


_DRAWN = {
    "shape of the result": (40, 60, 3),
    "the given picture is unchanged": True,
    "something is drawn on the sides of the box": True,
}


def _draw(recorded: Recorded) -> Callable[[ModuleType], Any]:
    def call(code: ModuleType) -> dict[str, Any]:
        picture = np.full((40, 60, 3), 9, np.uint8)
        given = picture.copy()
        drawn = code.draw(given, [(1, 0.75, 8.0, 12.0, 50.0, 32.0)], ["ring", "star"])
        sides = [drawn[22, 8], drawn[22, 50], drawn[32, 30]]
        results = (
            tuple(drawn.shape),
            bool((given == picture).all()),
            all(bool((side != 9).any()) for side in sides),
        )
        return dict(zip(_DRAWN, results, strict=True))

    return call


def loss_probes(recorded: Recorded) -> list[Probe]:
    """Return the checks of chapter 7."""
    anchors = [(2.0, 3.0), (4.0, 3.0), (4.0, 6.0), (8.0, 7.0), (12.0, 8.0), (14.0, 18.0)]
    sizes = [(4.5, 5.0), (3.9, 2.0), (30.0, 30.0), (13.0, 7.0)]
    probes = [
        Probe(
            f"best_anchor: a box of {w} x {h} pixels",
            functools.partial(_call, name="best_anchor", arguments=(anchors, w, h)),
            solution().best_anchor(anchors, w, h),
        )
        for w, h in sizes
    ]
    no_objects = torch.zeros(0, 5)
    one = recorded.arrays["truth"][1:2]
    for title, truth in (("no objects", no_objects), ("one object", one)):
        for head in recorded.heads():
            call = _delta(head, recorded, truth)
            probes.append(_delta_probe(title, head, recorded, call, call(solution())))
    for head in recorded.heads():
        call = _delta(head, recorded, recorded.arrays["truth"])
        shape = recorded.output(head).shape
        right = recorded.arrays[f"delta/{head}"].view(shape)
        probes.append(_delta_probe(_ALL_OBJECTS, head, recorded, call, right))
    return [
        *probes,
        Probe(
            "train_step: two steps",
            _train(recorded),
            _train(recorded)(solution()),
            _FILTERS,
            is_recorded=False,
        ),
    ]


_FILTERS = ("filter", "channel", "row", "column")


def _delta_probe(
    title: str, head: int, recorded: Recorded, call: Callable[[ModuleType], Any], right: Tensor
) -> Probe:
    layer = layer_title(recorded.blocks[head + 1], head)
    is_recorded = title == _ALL_OBJECTS
    return Probe(f"yolo_delta: {layer}, {title}", call, right, is_recorded=is_recorded)


_ALL_OBJECTS = "eight objects"


def _delta(head: int, recorded: Recorded, truth: Tensor) -> Callable[[ModuleType], Any]:
    block = recorded.blocks[head + 1]
    return lambda code: code.yolo_delta(
        recorded.output(head), truth.clone(), block, recorded.width, recorded.height
    )


def _train(recorded: Recorded) -> Callable[[ModuleType], dict[str, Any]]:
    """Return a call that makes two steps from Darknet's weights."""

    def call(code: ModuleType) -> dict[str, Any]:
        modules = fill_all(code.make_modules(recorded.blocks), recorded)
        optimizer = torch.optim.SGD(modules.parameters(), lr=0.001)
        step = (modules, optimizer, recorded.image, recorded.arrays["truth"])
        costs = [float(code.train_step(recorded.blocks, *step)) for _ in range(2)]
        weights = [part for part in modules[19].parameters() if part.dim() == 4]
        return {
            "cost of the first step": costs[0],
            "weights of layer 19 after both": weights[0].detach(),
            "cost of the second step": costs[1],
        }

    return call
