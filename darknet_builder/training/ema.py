"""The moving average of the weights in a training (``ema_alpha=`` in [net], network.c:431).

It begins at half of ``max_batches``. 1000 steps before the end it replaces the weights, once; the
remaining steps also adapt the statistics of the batch norms. Trainings of 2000 steps and fewer do
not use it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from darknet_builder.network.network import Network

_APPLIED_BEFORE_END = 1000


class WeightEma:
    """The exponential moving average (EMA) of the weights, biases and scales of all convolutions.

    Args:
        network: has the weights to average.
        alpha: decay, the weight of the old average in each step, 0 to 1; 0 disables the average.
        total: number of steps of the training.

    Example:
        >>> from darknet_builder import build_network
        >>> network = build_network("shapes")
        >>> ema = WeightEma(network, alpha=0.999, total=4000)
        >>> ema.start, ema.end
        (2000, 3000)
    """

    def __init__(self, network: Network, alpha: float, total: int) -> None:
        self.alpha, self.start, self.end = alpha, total // 2, total - _APPLIED_BEFORE_END
        self._tensors = {
            name: tensor
            for index, layer in enumerate(network.sequence())
            if layer.averaged
            for name, tensor in layer.named_parameters(prefix=f"layers.{index}")
        }
        self.values: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self, finished: int) -> bool:
        """Average the weights after a step; return whether the average has just replaced them."""
        if not self.alpha or not self.start <= finished <= self.end:
            return False
        for name, tensor in self._tensors.items():
            # The first step of the average takes the weights as they are.
            if name not in self.values:
                self.values[name] = tensor.detach().clone()
            elif finished < self.end:
                self.values[name].lerp_(tensor, 1 - self.alpha)
        if finished == self.end:
            # In place: the optimiser holds the same tensors.
            for name, tensor in self._tensors.items():
                tensor.copy_(self.values[name])
            self.values = {}
            return True
        return False

    def state_dict(self) -> dict[str, Any]:
        """Return the averages by parameter name; empty before the first and after the last."""
        return dict(self.values)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the averages over from a checkpoint."""
        self.values = {
            name: tensor.to(self._tensors[name].device) for name, tensor in state.items()
        }
