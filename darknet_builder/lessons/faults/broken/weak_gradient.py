"""The layers before a residual block learn much more slowly than they should.

``Residual(channels)`` adds its input to the output of a convolution. The author made a copy of the
input, to be safe from operations that change a tensor in place. The output is right. Mend the block
so that the gradient of its input is right too.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """A convolution with a connection around it.

    Args:
        channels: of the input and of the output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        saved = x.detach().clone()
        return saved + torch.relu(self.conv(x))
