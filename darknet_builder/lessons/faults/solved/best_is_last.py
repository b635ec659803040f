"""The weights are copied when they are kept.

``state_dict()`` returns the tensors of the model, not copies of them. An optimiser changes them in
place, so the dict changed with each step.
"""

from __future__ import annotations

import copy

from torch import Tensor, nn


class Best:
    """The best weights so far.

    Args:
        model: whose weights to keep.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.score = float("-inf")
        self.weights: dict[str, Tensor] = {}

    def update(self, score: float) -> None:
        """Keep the present weights if their score is the highest so far."""
        if score > self.score:
            self.score = score
            self.weights = copy.deepcopy(self.model.state_dict())

    def restore(self) -> None:
        """Give the model the best weights."""
        self.model.load_state_dict(self.weights)
