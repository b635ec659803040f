"""A classifier that scores colours, and one over a small hierarchy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from darknet_builder import build_network
from darknet_builder.network.network import Network

CFG = """[net]
width=8
height=8
channels=3

[convolutional]
filters=3
size=1
activation=linear

[avgpool]

[softmax]
groups=1

[cost]
type=sse
"""
"""A classifier with a class for each colour."""
TREE = "animal -1\nplant -1\ndog 0\ncat 0\ntree 1\npuppy 2\nhound 2\n"
LOGITS = [2.0, 1.0, 0.5, -0.5, 3.0, 1.5, 0.25]
"""Outputs of the seven classes of ``TREE``, before the softmax."""


def colour_network(cfg: str = CFG) -> Network:
    """Return a network whose scores are the amounts of red, green and blue."""
    network = build_network(cfg, initialize=False).eval()
    with torch.no_grad():
        weight, bias = (
            network.get_parameter("layers.0.conv.weight"),
            network.get_parameter("layers.0.conv.bias"),
        )
        weight.copy_(3 * torch.eye(len(weight), 3)[:, :, None, None])
        bias.zero_()
    return network


def plain(blue: int, green: int, red: int, size: tuple[int, int] = (10, 12)) -> np.ndarray:
    """Return an image of one colour."""
    return np.full((*size, 3), (blue, green, red), np.uint8)


def image(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return a random image."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def hierarchy(folder: Path, logits: list[float], dialect: str) -> Network:
    """Return a classifier over ``TREE`` with fixed outputs; its files are written to ``folder``."""
    (folder / "my.tree").write_text(TREE)
    cfg = CFG.replace("filters=3", "filters=7").replace("groups=1", "tree=my.tree")
    (folder / "net.cfg").write_text(cfg)
    network = build_network(folder / "net.cfg", dialect=dialect, initialize=False).eval()
    with torch.no_grad():
        network.get_parameter("layers.0.conv.weight").zero_()
        network.get_parameter("layers.0.conv.bias").copy_(torch.tensor(logits))
    return network
