"""The weights that were kept as the best are always those of the last step.

``Best`` keeps the weights with the highest score of a training. Mend it so that ``restore`` gives
the model the weights that it had when its score was highest.
"""

from __future__ import annotations

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
            self.weights = self.model.state_dict()

    def restore(self) -> None:
        """Give the model the best weights."""
        self.model.load_state_dict(self.weights)
