"""Darknet's delta of a head, read back from the gradient of its loss."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import Tensor

from darknet_builder.layers.base import Layer
from darknet_builder.losses.base import HeadLoss
from darknet_builder.losses.whole_network import LossContext, Targets, find_loss

NET_SIZE = (96, 64)
CONTEXT = LossContext(NET_SIZE, seen=20000)


def delta_and_loss(
    head: Layer, raw: Tensor, targets: Targets, context: LossContext = CONTEXT
) -> tuple[np.ndarray, HeadLoss]:
    """Return the delta, which is the negative gradient of the raw map, and the loss."""
    raw = raw.clone().requires_grad_()
    loss = find_loss(head)(head, raw, targets, context)
    loss.value.backward()
    assert raw.grad is not None
    return -raw.grad.numpy(), replace(loss, value=loss.value.detach())
