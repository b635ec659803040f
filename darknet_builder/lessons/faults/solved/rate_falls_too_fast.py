"""scheduler.step() is in the loop over epochs, after the loop over batches.

A schedule counts how often ``step`` is called, and does not know whether a call stands for a batch
or for an epoch. The schedules of this package count updates, as Darknet does, and belong into the
inner loop. This one counts epochs.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

Batch = tuple[Tensor, Tensor]


def train(
    model: nn.Module,
    optimizer: Optimizer,
    scheduler: LRScheduler,
    batches: Iterable[Batch],
    epochs: int,
) -> None:
    """Train a model to give the second tensor of each batch for the first.

    Args:
        model: to train.
        optimizer: of the model's parameters.
        scheduler: of the optimiser; counts epochs.
        batches: of one epoch.
        epochs: number of times that all batches are used.
    """
    for _ in range(epochs):
        for inputs, targets in batches:
            optimizer.zero_grad()
            F.mse_loss(model(inputs), targets).backward()
            optimizer.step()
        scheduler.step()
