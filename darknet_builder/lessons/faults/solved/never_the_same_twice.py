"""F.dropout gets the mode of the module.

A function has no mode of its own: the argument ``training`` of ``F.dropout`` is True unless the
caller says otherwise. An ``nn.Dropout`` in ``__init__`` would do as well, because ``eval()``
switches every registered module.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Classifier(nn.Module):
    """Two linear layers with dropout between them.

    Args:
        num_classes: number of outputs.
    """

    def __init__(self, num_classes: int = 3) -> None:
        super().__init__()
        self.hidden = nn.Linear(4, 16)
        self.output = nn.Linear(16, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 4) -> (B, classes)."""
        x = F.dropout(torch.relu(self.hidden(x)), 0.5, self.training)
        return self.output(x)
