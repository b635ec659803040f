"""The numbers in the figures of the lessons; ``figures.py`` draws them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from darknet_builder import (
    Schedule,
    build_network,
    draw_scene,
    load_weights,
    rate_at,
)
from darknet_builder.boxes.overlap import ciou, diou, giou, iou
from darknet_builder.images.resize import Placement, to_input
from darknet_builder.inspection.statistics import choose_parameters
from darknet_builder.layers.base import Layer
from darknet_builder.lessons.plain_list import PlainListNetwork
from darknet_builder.network.network import Network

ROOT = Path(__file__).resolve().parent.parent
LESSON_CFG = ROOT / "cfg" / "lesson.cfg"
POLICIES: dict[str, dict[str, Any]] = {
    "constant": {},
    "steps": {"steps": (200, 300), "scales": (0.5, 0.5)},
    "poly": {"power": 1.0},
    "exp": {"gamma": 0.99},
    "sigmoid": {"gamma": 0.03, "step": 200},
    "sgdr": {"sgdr_cycle": 100, "sgdr_mult": 2},
}
"""Those of lesson 8, with the same options."""
UPDATES, BURN_IN, RATE = 400, 40, 0.01
OVERLAPS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "IoU": iou,
    "GIoU": giou,
    "DIoU": partial(diou, beta=1.0),
    "CIoU": ciou,
}
TRUTH, MOVING_SIZE = (0.0, 0.0, 2.0, 2.0), (1.0, 3.4)
"""The box that does not move (centre, size), and the size of the one that does."""
SHARED, READERS = 6, (7, 16)
"""A layer of the lesson's network that two [route] layers read."""


def lesson_network() -> Network:
    """Return the network of the lessons with the weights of seed 0."""
    torch.manual_seed(0)
    return build_network(LESSON_CFG)


@dataclass(frozen=True)
class Grid:
    """The positions and anchors of one head.

    Attributes:
        cells: number of positions in a row.
        stride: pixels of the input between two positions.
        anchors: (width, height) in pixels of the input.
    """

    cells: int
    stride: float
    anchors: tuple[tuple[float, float], ...]


def grids() -> list[Grid]:
    """Return the grid of each head of the lesson's network."""
    network = lesson_network()
    width = network.input_size[0]
    return [
        Grid(
            head.in_shape.width,
            width / head.in_shape.width,
            tuple(head.anchors[index] for index in head.mask or ()),
        )
        for head in network.heads
    ]


def square_picture() -> np.ndarray:
    """Return a drawn scene of 320 x 320 pixels, RGB."""
    return np.ascontiguousarray(draw_scene(9, size=320).image[..., ::-1])


def wide_picture() -> np.ndarray:
    """Return a drawn scene of 320 x 192 pixels, RGB."""
    return square_picture()[64:256]


def fitted(resize: str, size: int = 192) -> tuple[np.ndarray, Placement]:
    """Return the wide picture as a square network input, (size, size, 3) in [0, 1]."""
    blue_first = np.ascontiguousarray(wide_picture()[..., ::-1])
    tensor, placement = to_input(blue_first, (size, size), resize)
    return tensor.permute(1, 2, 0).numpy(), placement


def overlaps(positions: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Return each overlap of a box at some x with one at 0, and its derivatives.

    Args:
        positions: (N,) x of the moving box's centre.

    Returns:
        (N,), and (N, 4): the derivatives by centre and size of the moving box.
    """
    found = {}
    for name, function in OVERLAPS.items():
        boxes = torch.tensor((0.0, 0.0, *MOVING_SIZE)).repeat(len(positions), 1)
        boxes[:, 0] = positions
        boxes.requires_grad_(True)
        value = function(boxes, torch.tensor(TRUTH))
        (gradient,) = torch.autograd.grad(value.sum(), boxes)
        found[name] = (value.detach(), gradient)
    return found


def seen_by_optimiser() -> dict[str, list[tuple[int, int]]]:
    """Return (parameters that an optimiser has, all parameters) of each layer, for both ways."""
    variants: dict[str, Network] = {
        "plain list": PlainListNetwork(lesson_network()),
        "nn.ModuleList": lesson_network(),
    }
    found = {}
    for name, network in variants.items():
        network.beside = torch.nn.Linear(1, 1)  # an optimiser refuses an empty list
        optimizer = torch.optim.SGD(network.parameters(), lr=RATE)
        held = {id(one) for group in optimizer.param_groups for one in group["params"]}
        found[name] = [_held(layer, held) for layer in network.sequence()]
    return found


def _held(layer: Layer, held: set[int]) -> tuple[int, int]:
    parameters = list(layer.parameters())
    return sum(id(parameter) in held for parameter in parameters), len(parameters)


def rates() -> dict[str, list[float]]:
    """Return the learning rate of each update of a training, for every policy of Darknet."""
    found = {}
    for policy, options in POLICIES.items():
        schedule = Schedule(
            learning_rate=RATE, policy=policy, burn_in=BURN_IN, max_batches=UPDATES, **options
        )
        found[policy] = [rate_at(schedule, update) for update in range(1, UPDATES + 1)]
    return found


def gradients_at_route() -> tuple[Tensor, dict[int, Tensor]]:
    """Return the gradient of the layer that two [route] layers read, and each reader's part of it.

    Returns:
        (C, H, W), and the same for each reader, of the squares of both maps added up.
    """
    network, parts = lesson_network().eval(), {}

    def note(index: int) -> Callable[..., tuple[Tensor, ...]]:
        def give_own_view(layer: Layer, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            place = layer.sources.index(SHARED)
            parts[index] = inputs[place].view_as(inputs[place])  # a tensor of its own for autograd
            parts[index].retain_grad()
            return (*inputs[:place], parts[index], *inputs[place + 1 :])

        return give_own_view

    whole = {}

    def keep(layer: Layer, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        whole[SHARED] = output
        output.retain_grad()

    network.layers[SHARED].register_forward_hook(keep)
    for index in READERS:
        network.layers[index].register_forward_pre_hook(note(index))
    image = draw_scene(9, size=64).image[..., ::-1].copy()
    maps = network(torch.from_numpy(image).permute(2, 0, 1)[None] / 255)
    torch.stack([one.square().sum() for one in maps]).sum().backward()
    return _gradient(whole[SHARED]), {index: _gradient(part) for index, part in parts.items()}


def _gradient(output: Tensor) -> Tensor:
    """Return the gradient of a batch of one."""
    assert output.grad is not None
    return output.grad[0]


def weights_before_and_after() -> dict[str, tuple[Tensor, Tensor]]:
    """Return the first convolutions of the bundled detector before and after its training."""
    cfg = ROOT / "cfg" / "shapes.cfg"
    torch.manual_seed(0)
    before, after = build_network(cfg), build_network(cfg)
    load_weights(after, ROOT / "weights" / "shapes.weights")
    pattern = "layers.[0-3].conv.weight"
    first, second = choose_parameters(before, pattern), choose_parameters(after, pattern)
    return {name: (first[name], second[name]) for name in first}
