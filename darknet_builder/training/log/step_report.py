"""Combine the loss reports of all parts of a batch and of all processes into one step report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from darknet_builder.losses.base import HeadLoss
from darknet_builder.losses.whole_network import LossReport
from darknet_builder.support.distributed import ProcessGroup


@dataclass(frozen=True)
class StepReport:
    """One finished step.

    Attributes:
        iteration: number of finished steps, this one included.
        loss: Darknet's printed loss: the mean over the heads, per image.
        rate: learning rate of the step.
        images: number of images in the step.
        seconds: duration of the step.
        parts: numbers of the heads by name (``box``, ``objectness``, ``classes``, ``iou``,
            ``count``).
        waited: seconds of the step that were spent waiting for its images.
    """

    iteration: int
    loss: float
    rate: float
    images: int
    seconds: float
    parts: Mapping[str, float] = field(default_factory=dict)
    waited: float = 0.0


def summarize_step(
    reports: Sequence[LossReport],
    finished: int,
    rate: float,
    images: int,
    seconds: float,
    waited: float,
    group: ProcessGroup,
) -> StepReport:
    """Combine the loss reports of all parts of a batch and of all processes.

    ``iou`` becomes the mean over the positives; the other numbers are sums divided by the images.

    Args:
        reports: one for each part of the batch, of this process's shard.
        finished: number of finished steps, this one included.
        rate: learning rate of the step.
        images: number of images in the whole batch, over all processes.
        seconds: duration of the step.
        waited: how long this process waited for images, in seconds; a part of ``seconds``.
        group: the processes; all must call this.
    """
    heads = [head for report in reports for head in report.heads]
    names = list(dict.fromkeys(name for head in heads for name in head.parts))
    sums = []
    for name in names:
        sums.append(sum(_summand(head, name) for head in heads if name in head.parts))
    values = group.sum(torch.tensor(sums, dtype=torch.float64)).tolist()
    parts = {name: value / images for name, value in zip(names, values, strict=True)}
    if "iou" in parts and "count" in parts:
        # Both are divided by the images, so their quotient is the mean over all positives.
        parts["iou"] /= parts["count"] or 1
    return StepReport(
        finished, _printed_loss(reports, group) / images, rate, images, seconds, parts, waited
    )


def _summand(head: HeadLoss, name: str) -> float:
    """Return one number of a head; the mean IoU is multiplied by its count, to be summed."""
    weight = float(head.parts.get("count", 1)) if name == "iou" else 1
    return float(head.parts[name]) * weight


def _printed_loss(reports: Sequence[LossReport], group: ProcessGroup) -> float:
    """Return the loss that one process would print for the whole batch."""
    if group.world_size == 1:
        return sum(float(report.cost) for report in reports)
    # A row for each head of each part: the sum, the mean times the positives, the positives. Sums
    # over processes of these give the mean over the positives of all processes.
    rows = [
        [
            float(head.value.detach()) - float(head.mean),
            float(head.mean) * float(head.parts.get("count", 0)),
            float(head.parts.get("count", 0)),
        ]
        for report in reports
        for head in report.heads
    ]
    totals = group.sum(torch.tensor(rows, dtype=torch.float64)).tolist()
    values = [plain + missed / (count or 1) for plain, missed, count in totals]
    num_heads = len(reports[0].heads)
    return sum(values) / num_heads
