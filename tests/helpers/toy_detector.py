"""A network that can be checked by hand: it finds red and blue squares of 8 x 8 pixels on black."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from darknet_builder.layers.convolutional import Convolutional
from darknet_builder.network.build import build_network
from darknet_builder.network.network import Network
from darknet_builder.weights.loader import save_weights

RED, BLUE = (0, 0, 255), (255, 0, 0)
"""As images have them: blue, green, red."""
NAMES = ("red", "blue")
CFG = """
[net]
width=32
height=32
channels=3

[local_avgpool]
size=8
stride=8
padding=0

[convolutional]
filters=7
size=1
stride=1
activation=linear

[yolo]
mask=0
anchors=8,8
classes=2
num=1
"""


def toy_network(cfg: str = CFG) -> Network:
    """Objectness follows the brightness of a cell of 8 x 8 pixels, the classes its red and its
    blue."""
    network = build_network(cfg)
    layer = network.layers[1]
    assert isinstance(layer, Convolutional)
    weight = torch.zeros(7, 3)
    weight[4] = torch.tensor([20.0, 0, 20])
    weight[5] = torch.tensor([10.0, 0, -10])
    weight[6] = torch.tensor([-10.0, 0, 10])
    with torch.no_grad():
        for name, tensor in layer.weight_layout(network.header):
            tensor.copy_(
                weight.reshape(tensor.shape)
                if name == "weight"
                else torch.tensor([0.0, 0, 0, 0, -10, 0, 0])
            )
    return network


def toy_files(folder: Path) -> tuple[str, str, str]:
    """The same as files: cfg, weights, names."""
    cfg, weights, names = folder / "toy.cfg", folder / "toy.weights", folder / "toy.names"
    cfg.write_text(CFG)
    save_weights(toy_network(), weights)
    names.write_text("\n".join(NAMES) + "\n")
    return str(cfg), str(weights), str(names)


def squares(
    *objects: tuple[tuple[int, int, int], int, int], size: tuple[int, int] = (32, 32)
) -> np.ndarray:
    """A black image of (width, height) pixels with a square for each (colour, column, row) of the 4
    x 4 cells."""
    width, height = size
    image = np.zeros((height, width, 3), np.uint8)
    for color, column, row in objects:
        image[
            row * height // 4 : (row + 1) * height // 4,
            column * width // 4 : (column + 1) * width // 4,
        ] = color
    return image
