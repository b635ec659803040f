"""A tower of layers trains without an error, but only its last layer learns.

``Tower(depth)`` has ``depth`` hidden layers and an output layer. Mend it so that an optimiser sees
the weights of all of them. The result of ``forward`` must not change.
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
        self.hidden = [nn.Linear(8, 8) for _ in range(depth)]
        self.output = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 8) -> (B, 2)."""
        for layer in self.hidden:
            x = torch.relu(layer(x))
        return self.output(x)
