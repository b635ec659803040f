"""Mean and standard deviation are buffers.

A plain tensor becomes an ordinary attribute, which ``to()`` and ``state_dict()`` do not see. As an
``nn.Parameter`` it would be moved and saved, but an optimiser would change it too.
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

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return (x - self.mean) / self.std
