"""What every loss shares: the targets, the registry, and a gradient that is written down instead of
derived.

Darknet's heads fill a buffer ``delta`` during the forward pass and hand it back unchanged. It is
minus the gradient with respect to the head's raw map, but for most heads it is not the derivative
of what Darknet prints as the loss, nor of anything else. So each loss here computes ``delta``
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
    """What a batch of images should give: boxes for detectors, shares of classes for classifiers.

    Attributes:
        boxes: one (T, 5) float tensor an image: x, y, w, h, class; centre and size relative to the
            network's input, as in Darknet's label files but for the class, which stands last. T may
            be 0.
        shares: (B, C), how much of each class each image is; None for detectors.

    Raises:
        InputError: for tensors of other shapes.
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
                f"expected shares of classes of shape (B, C), got {tuple(self.shares.shape)}"
            )

    @classmethod
    def of_boxes(cls, boxes: Sequence[Tensor]) -> Targets:
        """For a detector: one (T, 5) tensor an image."""
        return cls(boxes=tuple(boxes))

    @classmethod
    def of_labels(cls, labels: Tensor, classes: int) -> Targets:
        """For a classifier: (B,) class numbers.

        Raises:
            InputError: for a class that does not exist.
        """
        if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            raise InputError(
                f"expected class numbers from 0 to {classes - 1}, "
                f"got {int(labels.min())} to {int(labels.max())}"
            )
        return cls(shares=torch.nn.functional.one_hot(labels.long(), classes).float())

    def to(self, device: torch.device | str) -> Targets:
        """The same on another device."""
        return Targets(
            tuple(rows.to(device, non_blocking=True) for rows in self.boxes),
            None if self.shares is None else self.shares.to(device, non_blocking=True),
        )

    def boxes_for(self, raw: Tensor, classes: int, most: int) -> Tensor:
        """The boxes that a head learns from: (M, 6), rows image, x, y, w, h, class.

        As in Darknet: at most ``most`` an image, and none of a class that the head does not have
        (yolo_layer.c:430). Boxes without width or height, which Darknet's reader has dropped by
        then, are left out.

        Raises:
            InputError: when there are more or fewer lists of boxes than images.
        """
        if len(self.boxes) != raw.shape[0]:
            raise InputError(
                f"{raw.shape[0]} images need as many lists of boxes; got {len(self.boxes)}"
            )
        numbered = [
            torch.cat((rows.new_full((min(len(rows), most), 1), image), rows[:most]), 1)
            for image, rows in enumerate(self.boxes)
        ]
        rows = torch.cat(numbered).to(raw.device, working(raw).dtype)
        known = (rows[:, 5] >= 0) & (rows[:, 5] < classes)
        return rows[known & (rows[:, 3] > 0) & (rows[:, 4] > 0)]


@dataclass(frozen=True)
class LossContext:
    """What a loss must know of the moment.

    Attributes:
        net_size: (width, height) of the network's input in pixels; anchors are in that unit.
        seen: how many images were trained on, those of this part of the batch included
            (network.c:367).
        loss_scale: the gradient is multiplied by this; ``parameter_groups`` divides it out again.
        between: a layer between the raw map and the one that learns, past which the gradient is
            handed: the [softmax] before a [cost].
    """

    net_size: tuple[int, int]
    seen: int = 0
    loss_scale: float = 1.0
    between: Layer | None = None


@dataclass(frozen=True)
class HeadLoss:
    """What one head says of one part of a batch.

    Attributes:
        layer: the head's index.
        section: its section's name.
        value: Darknet's printed cost, summed over the images. ``backward()`` through it gives minus
            Darknet's delta.
        parts: numbers for people, without gradients: ``objectness``, ``classes`` and ``box`` (sums
            of squared deltas), ``iou`` (mean over the positives), ``count`` (how many positives),
            as far as the head has them.
        mean: what of ``value`` is a mean over the positives and no sum, so that shares of a part do
            not just add up.
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
    """Decorator: the loss of the layers of a section.

    Raises:
        ValueError: when the section has one already.
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
    """The loss of a layer.

    Raises:
        InputError: when there is none.
    """
    if layer.section not in _LOSSES:
        raise InputError(
            f"[{layer.section}] cannot be trained on; these can: "
            + ", ".join(f"[{section}]" for section in sorted(_LOSSES))
        )
    return _LOSSES[layer.section]


def working(raw: Tensor) -> Tensor:
    """A map without its history, in float32 or better: deltas are differences of nearly equal
    numbers.
    """
    return raw.detach().to(torch.promote_types(raw.dtype, torch.float32))


class WrittenGradient(torch.autograd.Function):
    """A number whose gradient with respect to a map is given, not derived.

    Forward returns ``value``; backward gives ``-delta`` times what comes from above. Nothing
    promises that ``delta`` has anything to do with ``value``.
    """

    @staticmethod
    def forward(ctx: Any, raw: Tensor, delta: Tensor, value: Tensor) -> Tensor:
        """``raw`` and ``delta`` have one shape, ``value`` is a scalar."""
        ctx.save_for_backward(delta)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        """Minus ``delta``."""
        (delta,) = ctx.saved_tensors
        return -grads[0] * delta, None, None


def written_loss(raw: Tensor, delta: Tensor, value: Tensor, context: LossContext) -> Tensor:
    """``value``, with ``delta`` (of the map's shape) for a gradient, scaled by ``loss_scale``."""
    scaled = (delta * context.loss_scale).to(raw.dtype)
    result = WrittenGradient.apply(raw, scaled, value)
    assert isinstance(result, Tensor)
    return result
