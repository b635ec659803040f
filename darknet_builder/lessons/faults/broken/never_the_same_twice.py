"""A classifier in evaluation mode gives another answer each time for the same input.

``Classifier(num_classes)`` drops half of the hidden values in training. Mend it so that its answers
in evaluation mode are repeatable. In training mode it must still drop values.
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
        x = F.dropout(torch.relu(self.hidden(x)), 0.5)
        return self.output(x)
