"""A detector fails on the GPU: its head is still on the CPU.

``Detector(num_classes)`` has a stem and a head. Mend it so that ``to()`` moves both. The shape of
the output must not change.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def with_sigmoid(layer: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return a function that applies a layer and then a sigmoid.

    Args:
        layer: any layer.
    """

    def apply(x: Tensor) -> Tensor:
        return torch.sigmoid(layer(x))

    return apply


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
