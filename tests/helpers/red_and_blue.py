"""A detector that finds what is red or blue, and two labelled images for it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from darknet_builder import build_network
from darknet_builder.weights.loader import save_weights

SIDE = 32
CFG = f"""[net]
width={SIDE}
height={SIDE}
channels=3

[convolutional]
filters=7
size=1
activation=linear

[maxpool]
size=16
stride=16
padding=0

[yolo]
anchors=16,16
num=1
mask=0
classes=2
"""


def make_red_and_blue(folder: Path) -> None:
    """Write net.cfg, net.weights, and a data set: my.data.

    The detector finds what is red (class 0) and what is blue (class 1), one box a quarter. In a.png
    the upper left quarter is red and the lower right one blue, as its labels say; b.png is wholly
    black, and its label says that a red object is missed.
    """
    network = build_network(CFG, initialize=False)
    conv = network.get_parameter("layers.0.conv.weight")
    with torch.no_grad():
        conv.zero_()
        bias = network.get_parameter("layers.0.conv.bias")
        bias.copy_(torch.tensor([0.0, 0, 0, 0, -6, -6, -6]))
        conv[4, [0, 2]] = conv[5, 0] = conv[6, 2] = (
            12  # objectness: red or blue; class 0: red; class 1: blue
        )
    save_weights(network, folder / "net.weights")
    (folder / "net.cfg").write_text(CFG)
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    cv2.imwrite(str(folder / "b.png"), image)
    image[:16, :16, 2] = image[16:, 16:, 0] = 255
    cv2.imwrite(str(folder / "a.png"), image)
    (folder / "a.txt").write_text("0 .25 .25 .5 .5\n1 .75 .75 .5 .5\n")
    (folder / "b.txt").write_text("0 .5 .5 .5 .5\n")
    (folder / "valid.txt").write_text("a.png\nb.png\n")
    (folder / "my.names").write_text("red\nblue\n")
    (folder / "my.data").write_text("classes=2\nvalid=valid.txt\nnames=my.names\n")
