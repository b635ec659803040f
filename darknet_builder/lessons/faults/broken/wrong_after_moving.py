"""A normalisation fails after the model was moved, and its numbers are not in the saved file.

``Normalize(mean, std)`` subtracts the mean of each channel and divides by its standard deviation.
Mend it so that both are moved by ``to()`` and saved in ``state_dict()``, and are still not changed
by an optimiser.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """Subtract a mean from each channel and divide by a standard deviation.

    Args:
        mean: one number for each channel.
        std: one number for each channel, above 0.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.mean = torch.tensor(mean).view(-1, 1, 1)
        self.std = torch.tensor(std).view(-1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return (x - self.mean) / self.std
