"""The head is an nn.Sequential.

A function keeps the variables that it uses from around it: its closure. ``layer`` was in the
closure of ``apply``, and a function is not a Module, so the layer was not registered.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def with_sigmoid(layer: nn.Module) -> nn.Module:
    """Return a module that applies a layer and then a sigmoid.

    Args:
        layer: any layer.
    """
    return nn.Sequential(layer, nn.Sigmoid())


class Detector(nn.Module):
    """A convolution, and a head that gives a score for each class and position.

    Args:
        num_classes: number of outputs at each position.
    """

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.head = with_sigmoid(nn.Conv2d(8, num_classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, classes, H, W)."""
        return self.head(torch.relu(self.stem(x)))
