"""What all parts of a batch and all processes together say of a step."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from darknet_builder.losses import LossReport
from darknet_builder.processes import ProcessGroup
from darknet_builder.run_log import StepReport


def summarize_step(reports: Sequence[LossReport], finished: int, rate: float, images: int, seconds: float,
                   waited: float, group: ProcessGroup) -> StepReport:
    """All parts of a batch together: mean of ``iou`` over the positives, sums of the others, per image.

    Args:
        reports: one a part, of this process's share.
        finished: steps.
        rate: of this step.
        images: of the whole batch.
        seconds: the step took.
        waited: seconds of these that this process waited for images.
        group: the processes; all must call it.
    """
    heads = [head for report in reports for head in report.heads]
    names = list(dict.fromkeys(name for head in heads for name in head.parts))
    sums = []
    for name in names:
        sums.append(sum(float(head.parts[name]) * (float(head.parts.get("count", 1)) if name == "iou" else 1)
                        for head in heads if name in head.parts))
    values = group.sum(torch.tensor(sums, dtype=torch.float64)).tolist()
    parts = {name: value / images for name, value in zip(names, values, strict=True)}
    if "iou" in parts and "count" in parts:
        parts["iou"] /= parts["count"] or 1
    return StepReport(finished, _printed_loss(reports, group) / images, rate, images, seconds, parts,
                      waited)


def _printed_loss(reports: Sequence[LossReport], group: ProcessGroup) -> float:
    """What one process would print for the same parts: a mean over the positives is one over all processes'."""
    if group.world_size == 1:
        return sum(float(report.cost) for report in reports)
    rows = [[float(head.value.detach()) - float(head.mean), float(head.mean) * float(head.parts.get("count", 0)),
             float(head.parts.get("count", 0))] for report in reports for head in report.heads]
    totals = group.sum(torch.tensor(rows, dtype=torch.float64)).tolist()
    values = [plain + missed / (count or 1) for plain, missed, count in totals]
    num_heads = len(reports[0].heads)
    return sum(values) / num_heads
