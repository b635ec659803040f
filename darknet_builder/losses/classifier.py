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
    """Cross entropy over what the softmax gives; the gradient is the shares' difference.

    That is the cross entropy's derivative where the shares of each group add up to 1 and
    ``temperature`` is 1: Darknet hands it past the softmax as it is.

    Args:
        layer: its options.
        raw: (B, ...), the scores before the softmax.
        targets: shares of classes.
        context: nothing of it matters here but ``loss_scale``.

    Returns:
        The sum of -ln p over the classes that an image has any share of, whatever the share
        (blas.c:330).
    """
    with torch.no_grad():
        predicted = layer(working(raw))
        goal = shares_for(predicted, targets)
        errors = torch.where(goal != 0, -predicted.log(), torch.zeros_like(predicted))
    return HeadLoss(
        written_loss(raw, (goal - predicted).reshape(raw.shape), errors.sum(), context),
        {"classes": errors.sum()},
    )


@loss_for("cost")
def cost_loss(layer: Cost, raw: Tensor, targets: Targets, context: LossContext) -> HeadLoss:
    """Distance between what the layer before gives and the shares of classes.

    Darknet's delta is half the derivative of a square (``sse``, and ``smooth`` below 1), or a sign.
    After a [softmax] it lands on the scores before that, without the softmax's derivative, on top
    of the softmax's own delta.

    Args:
        layer: its options.
        raw: (B, ...), what the layer before gives, or takes where it is a softmax.
        targets: shares of classes.
        context: ``between`` is the softmax before, where there is one.

    Raises:
        InputError: for the kinds ``seg`` and ``wgan``.
    """
    with torch.no_grad():
        predicted = working(raw)
        predicted = predicted.flatten(1) if context.between is None else context.between(predicted)
        difference = shares_for(predicted, targets) - predicted
        errors, delta = _distance(layer.kind, difference)
    return HeadLoss(
        written_loss(raw, (layer.scale * delta).reshape(raw.shape), errors.sum(), context),
        {"classes": errors.sum()},
    )


def _distance(kind: str, difference: Tensor) -> tuple[Tensor, Tensor]:
    """Errors and deltas, element by element (blas_kernels.cu:1040; the CPU's ``smooth`` has the
    sign wrong).
    """
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
    raise InputError(f"[cost] type={kind} cannot be trained on; expected sse, smooth or L1")


def shares_for(predicted: Tensor, targets: Targets) -> Tensor:
    """The targets' shares, of the prediction's shape.

    Raises:
        InputError: when there are none, or of another shape.
    """
    if targets.shares is None or targets.shares.shape != predicted.shape:
        got = None if targets.shares is None else tuple(targets.shares.shape)
        raise InputError(f"expected shares of classes of shape {tuple(predicted.shape)}, got {got}")
    return targets.shares.to(predicted)
