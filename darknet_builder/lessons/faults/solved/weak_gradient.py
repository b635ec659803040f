"""The copy is made with clone() alone.

``clone()`` is an operation like any other, and the gradient passes through it. ``detach()`` cuts
the graph: the gradient reached the layers before the block only through the convolution, and the
way around it was closed. The idiom ``x.detach().clone()`` is for copies that are kept, printed or
compared, not for those that go on into the loss. (Here no copy is needed: nothing changes ``x``.)
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
        saved = x.clone()
        return saved + torch.relu(self.conv(x))
