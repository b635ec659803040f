"""A fine-tuned network is no better than chance after it was saved and opened again.

``restore(state)`` builds the network that ``state`` was saved from: an ``Animals`` whose head was
replaced by one for three classes. Mend it so that the restored network has all the saved weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Animals(nn.Module):
    """A stem and a head, for as many classes as the data set has.

    Args:
        num_classes: number of outputs.
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Linear(4, 8)
        self.head = nn.Linear(8, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 4) -> (B, classes)."""
        return self.head(torch.relu(self.stem(x)))


def restore(state: dict[str, Tensor]) -> Animals:
    """Build a network with three classes and give it the saved weights.

    Args:
        state: the ``state_dict`` of such a network.
    """
    network = Animals()
    # The saved head does not fit the present one.
    fitting = {name: tensor for name, tensor in state.items() if not name.startswith("head.")}
    network.load_state_dict(fitting, strict=False)
    network.head = nn.Linear(8, 3)
    return network
