"""After the first epoch, the loss does not change any more.

``train`` trains a model for some epochs. Its schedule counts epochs: it is meant to lower the
learning rate after each of them. Mend the loop. All batches of an epoch must be trained with the
same rate, and the first epoch with the rate of the optimiser.
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
