"""The losses of classifiers: [softmax] and [cost] (softmax_layer.c:64, cost_layer.c:72)."""

from __future__ import annotations

import torch
from torch import Tensor

from darknet_builder.errors import InputError
from darknet_builder.layers.cost import Cost
from darknet_builder.layers.softmax import Softmax
from darknet_builder.losses.base import (
    HeadLoss,
    LossContext,
    Targets,
    loss_for,
    working,
    written_loss,
)


@loss_for("softmax")
def softmax_loss(layer: Softmax, raw: Tensor, targets: Targets, context: LossContext) -> HeadLoss:
    """Compute the cross entropy of a [softmax]; the delta is target minus prediction.

    Darknet passes that delta to the scores before the softmax. It is the cross entropy's derivative
    if the targets of each group add up to 1 and ``temperature`` is 1.

    Args:
        layer: the softmax, with its groups and temperature.
        raw: (B, ...), the scores before the softmax.
        targets: ``shares`` (B, C), the probability of each class.
        context: has ``loss_scale``; nothing else of it is used.

    Returns:
        The sum of -ln p over the classes whose target is not 0, without weighting by the target
        (blas.c:330).
    """
    with torch.no_grad():
        predicted = layer(working(raw))
        goal = shares_for(predicted, targets)
        # where, not a product: 0 * log(0) would be NaN.
        errors = torch.where(goal != 0, -predicted.log(), torch.zeros_like(predicted))
    return HeadLoss(
        # (B, N) -> the shape of the scores, which may be (B, C, H, W)
        written_loss(raw, (goal - predicted).reshape(raw.shape), errors.sum(), context),
        {"classes": errors.sum()},
    )


@loss_for("cost")
def cost_loss(layer: Cost, raw: Tensor, targets: Targets, context: LossContext) -> HeadLoss:
    """Compute the distance between the output of the layer before and the class probabilities.

    Darknet's delta is half the derivative of a square (``sse``, and ``smooth`` below 1), or a sign.
    After a [softmax] it goes to the scores before the softmax, without the softmax's derivative,
    and is added to the softmax's own delta.

    Args:
        layer: the cost, with its kind and scale.
        raw: (B, ...), the output of the layer before, or the input of that layer if it is a
            softmax.
        targets: ``shares`` (B, C), the probability of each class.
        context: ``between`` is the softmax before the cost; None without one.

    Raises:
        InputError: for the kinds ``seg`` and ``wgan``.
    """
    with torch.no_grad():
        predicted = working(raw)
        # (B, C, H, W) -> (B, C * H * W), the shape of the targets
        predicted = predicted.flatten(1) if context.between is None else context.between(predicted)
        difference = shares_for(predicted, targets) - predicted
        errors, delta = _distance(layer.kind, difference)
    return HeadLoss(
        # (B, N) -> the shape of the raw map, which may be (B, C, H, W)
        written_loss(raw, (layer.scale * delta).reshape(raw.shape), errors.sum(), context),
        {"classes": errors.sum()},
    )


def _distance(kind: str, difference: Tensor) -> tuple[Tensor, Tensor]:
    """Return errors and deltas, element by element (blas_kernels.cu:1040)."""
    # As on Darknet's GPU: its CPU code has the sign of smooth wrong.
    size = difference.abs()
    if kind in ("sse", "masked"):
        return difference.square(), difference
    if kind == "smooth":
        near = size < 1
        return torch.where(near, size.square(), 2 * size - 1), torch.where(
            near, difference, difference.sign()
        )
    if kind == "L1":
        return size, torch.where(difference > 0, 1.0, -1.0)
    raise InputError(f"[cost] type={kind} cannot be trained; expected sse, smooth or L1")


def shares_for(predicted: Tensor, targets: Targets) -> Tensor:
    """Return the targets' class probabilities, on the device of the prediction.

    Args:
        predicted: (B, C) scores or probabilities.
        targets: must have ``shares`` of the same shape.

    Raises:
        InputError: when it has none, or of another shape.
    """
    if targets.shares is None or targets.shares.shape != predicted.shape:
        got = None if targets.shares is None else tuple(targets.shares.shape)
        raise InputError(
            f"expected class probabilities (shares) of shape {tuple(predicted.shape)}, got {got}"
        )
    return targets.shares.to(predicted)
