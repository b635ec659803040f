"""Darknet's moving average of a training's weights (``ema_alpha=`` in [net], network.c:431).

It begins at half of ``max_batches`` and takes the weights' place once, 1000 steps before the end;
the rest of the training goes on from there, which also brings the batch norms' statistics up to
date. Trainings of 2000 steps and fewer have no such point.
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
        network: the weights to average.
        alpha: decay, the share of the old average that stays at each step; 0 for no average at all.
        total: number of steps of the training.
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
            if name not in self.values:
                self.values[name] = tensor.detach().clone()
            elif finished < self.end:
                self.values[name].lerp_(tensor, 1 - self.alpha)
        if finished == self.end:
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
