"""Targets, the registry of losses, and gradients that are given instead of derived.

Darknet's heads fill a buffer ``delta`` during the forward pass and hand it back unchanged. It is
minus the gradient with respect to the head's raw map, but for most heads it is not the derivative
of the loss that Darknet prints, nor of any other function. So each loss here computes ``delta``
itself, and ``WrittenGradient`` gives it to autograd.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from darknet_builder.boxes.formats import LABEL_VALUES
from darknet_builder.errors import InputError
from darknet_builder.layers.base import Layer


@dataclass(frozen=True)
class Targets:
    """The ground truth of a batch: boxes for detectors, class probabilities for classifiers.

    Attributes:
        boxes: one (T, 5) float tensor for each image, rows x, y, w, h, class. Centre and size are
            relative to the network's input. Darknet's label files have the class first. T may be 0.
        shares: (B, C) class probabilities in [0, 1]; None for detectors.

    Raises:
        InputError: for tensors of other shapes.

    Example:
        >>> targets = Targets.of_boxes([torch.tensor([[0.5, 0.5, 0.2, 0.4, 1.0]])])
        >>> targets.boxes[0].shape
        torch.Size([1, 5])
        >>> Targets.of_labels(torch.tensor([2, 0]), classes=3).shares
        tensor([[0., 0., 1.],
                [1., 0., 0.]])
    """

    boxes: tuple[Tensor, ...] = ()
    shares: Tensor | None = None

    def __post_init__(self) -> None:
        for number, rows in enumerate(self.boxes):
            if rows.dim() != 2 or rows.shape[1] != LABEL_VALUES:
                raise InputError(
                    f"image {number} of the batch: expected boxes of shape (T, 5), rows x, y, w, h,"
                    f" class, got {tuple(rows.shape)}"
                )
        if self.shares is not None and self.shares.dim() != 2:
            raise InputError(
                "expected class probabilities (shares) of shape (B, C), "
                f"got {tuple(self.shares.shape)}"
            )

    @classmethod
    def of_boxes(cls, boxes: Sequence[Tensor]) -> Targets:
        """Make the targets of a detector from one (T, 5) tensor for each image."""
        return cls(boxes=tuple(boxes))

    @classmethod
    def of_labels(cls, labels: Tensor, classes: int) -> Targets:
        """Make the targets of a classifier from class numbers.

        Args:
            labels: (B,) integers, 0 to ``classes`` - 1.
            classes: number of classes, the length of each row of ``shares``.

        Raises:
            InputError: for a number outside that range.
        """
        if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            raise InputError(
                f"expected class numbers from 0 to {classes - 1}, "
                f"got {int(labels.min())} to {int(labels.max())}"
            )
        return cls(shares=torch.nn.functional.one_hot(labels.long(), classes).float())

    def to(self, device: torch.device | str) -> Targets:
        """Return a copy on another device."""
        boxes = tuple(rows.to(device, non_blocking=True) for rows in self.boxes)
        if self.shares is None:
            return Targets(boxes)
        return Targets(boxes, self.shares.to(device, non_blocking=True))

    def boxes_for(self, raw: Tensor, classes: int, maximum: int) -> Tensor:
        """Return the boxes that a head learns from, in one tensor.

        As in Darknet, boxes of classes that the head does not have are left out (yolo_layer.c:430).
        Boxes without width or height are left out too; Darknet drops them when it reads the labels.

        Args:
            raw: (B, ...), the map that decides over device and precision.
            classes: number of classes of the head.
            maximum: maximum number of boxes of an image; further ones are ignored.

        Returns:
            (M, 6), rows image, x, y, w, h, class.

        Raises:
            InputError: when there is not one list of boxes for each image.
        """
        if len(self.boxes) != raw.shape[0]:
            raise InputError(
                f"expected {raw.shape[0]} lists of boxes, one for each image of the batch, "
                f"got {len(self.boxes)}"
            )
        # (T, 5) for each image -> (T, 6), with the image's number in front
        numbered = [
            torch.cat((rows.new_full((min(len(rows), maximum), 1), image), rows[:maximum]), 1)
            for image, rows in enumerate(self.boxes)
        ]
        rows = torch.cat(numbered).to(raw.device, working(raw).dtype)
        known = (rows[:, 5] >= 0) & (rows[:, 5] < classes)
        return rows[known & (rows[:, 3] > 0) & (rows[:, 4] > 0)]


@dataclass(frozen=True)
class LossContext:
    """Inputs shared by all losses of one forward pass.

    Attributes:
        net_size: (width, height) of the network's input in pixels, the unit of the anchors.
        seen: number of images trained on so far, including this part of the batch (network.c:367).
        loss_scale: factor of the gradient; ``parameter_groups`` divides it out again.
        between: the [softmax] before a [cost]; the gradient skips it. None without one.

    Example:
        >>> LossContext(net_size=(416, 416), seen=64).loss_scale
        1.0
    """

    net_size: tuple[int, int]
    seen: int = 0
    loss_scale: float = 1.0
    between: Layer | None = None


@dataclass(frozen=True)
class HeadLoss:
    """The loss of one head for one part of a batch.

    Attributes:
        value: Darknet's printed cost, summed over the images. ``backward()`` through it gives minus
            Darknet's delta.
        parts: numbers for the log, without gradients: ``objectness``, ``classes`` and ``box`` (sums
            of squared deltas), ``iou`` (mean over the positives), ``count`` (number of positives).
            A head leaves out those that it does not have.
        mean: the part of ``value`` that is a mean over the positives. The values of several
            processes add up only without it.
        layer: index of the head; -1 until ``network_loss`` sets it.
        section: name of the head's section; empty until ``network_loss`` sets it.

    Example:
        >>> HeadLoss(torch.tensor(2.5), {"count": torch.tensor(3)}).parts["count"]
        tensor(3)
    """

    value: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    mean: Tensor | float = 0.0
    layer: int = -1
    section: str = ""


LossFunction = Callable[[Any, Tensor, Targets, LossContext], HeadLoss]
"""(layer, raw map, targets, context) -> loss."""

_LOSSES: dict[str, LossFunction] = {}
_Function = TypeVar("_Function", bound=LossFunction)


def loss_for(section: str) -> Callable[[_Function], _Function]:
    """Register the decorated function as the loss of a section.

    Args:
        section: name of the section, as in ``Layer.section``.

    Raises:
        ValueError: when the section has a loss already.

    Example:
        >>> @loss_for("example")
        ... def example_loss(layer, raw, targets, context):
        ...     return HeadLoss(written_loss(raw, -raw, raw.square().sum() / 2, context))
        >>> del _LOSSES["example"]
    """

    def decorate(function: _Function) -> _Function:
        if section in _LOSSES:
            raise ValueError(
                f"[{section}] has two losses: {_LOSSES[section].__name__}, {function.__name__}"
            )
        _LOSSES[section] = function
        return function

    return decorate


def find_loss(layer: Layer) -> LossFunction:
    r"""Return the loss function of a layer.

    Raises:
        InputError: for a layer whose section has no loss.

    Example:
        >>> from darknet_builder import build_network
        >>> network = build_network("[net]\nwidth=4\nheight=4\nchannels=1\n[softmax]\n")
        >>> find_loss(network.sequence()[0]).__name__
        'softmax_loss'
    """
    if layer.section not in _LOSSES:
        known = ", ".join(f"[{section}]" for section in sorted(_LOSSES))
        raise InputError(f"[{layer.section}] has no loss; expected one of {known}")
    return _LOSSES[layer.section]


def working(raw: Tensor) -> Tensor:
    """Detach a map and convert it to float32, unless its precision is higher."""
    # Deltas are differences of nearly equal numbers, for which bfloat16 is too coarse.
    return raw.detach().to(torch.promote_types(raw.dtype, torch.float32))


class WrittenGradient(torch.autograd.Function):
    """A scalar whose gradient with respect to a map is given, not derived.

    Forward returns ``value``; backward returns ``-delta`` times the incoming gradient. ``delta``
    need not be related to ``value``.
    """

    @staticmethod
    def forward(ctx: Any, raw: Tensor, delta: Tensor, value: Tensor) -> Tensor:
        """Return ``value``, a scalar; ``raw`` and ``delta`` have the same shape."""
        ctx.save_for_backward(delta)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        """Return minus ``delta`` times the incoming gradient."""
        (delta,) = ctx.saved_tensors
        return -grads[0] * delta, None, None


def written_loss(raw: Tensor, delta: Tensor, value: Tensor, context: LossContext) -> Tensor:
    """Return ``value`` with the gradient minus ``delta``, multiplied by ``loss_scale``.

    Args:
        raw: the map that the gradient belongs to.
        delta: Darknet's delta, of the map's shape.
        value: scalar, Darknet's printed cost.
        context: supplies ``loss_scale``, the factor on the gradient.
    """
    # Autograd wants the gradient in the map's own type, which may be bfloat16.
    scaled = (delta * context.loss_scale).to(raw.dtype)
    result = WrittenGradient.apply(raw, scaled, value)
    assert isinstance(result, Tensor)
    return result
