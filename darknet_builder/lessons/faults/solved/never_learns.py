"""The hidden layers are in an nn.ModuleList.

``nn.Module`` registers an attribute that is a Module or a Parameter. A Python list is neither, and
PyTorch does not look inside it: ``parameters()`` had two tensors, the weight and the bias of
``output``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Tower(nn.Module):
    """Hidden layers of eight values each, and an output layer.

    Args:
        depth: number of hidden layers.
    """

    def __init__(self, depth: int = 3) -> None:
        super().__init__()
        self.hidden = nn.ModuleList(nn.Linear(8, 8) for _ in range(depth))
        self.output = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 8) -> (B, 2)."""
        for layer in self.hidden:
            x = torch.relu(layer(x))
        return self.output(x)
