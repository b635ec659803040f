"""Draw a training's loss and score over its steps, as Darknet draws them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from darknet_builder.evaluation.score import METRICS, short_name
from darknet_builder.support.extras import load_extra
from darknet_builder.support.files import atomic_path

CHART_NAME = "chart.png"


def draw_chart(records: Sequence[Mapping[str, Any]], path: str | Path, total: int) -> None:
    """Draw the loss, its average and the validation's score as a PNG.

    Args:
        records: the records of the log, in order.
        path: the file to write.
        total: number of steps of the training, the end of the x axis.

    Raises:
        MissingExtraError: without matplotlib.
    """
    figure = load_extra("matplotlib.figure", "train").Figure(figsize=(10, 6), layout="constrained")
    steps = [record for record in records if "loss" in record]
    iterations = [record["iteration"] for record in steps]
    losses = [record["loss"] for record in steps]
    averages = [record["average"] for record in steps]
    axes = figure.subplots()
    axes.plot(iterations, losses, color="tab:blue", alpha=0.25, linewidth=0.6)
    axes.plot(iterations, averages, color="tab:blue", label="average loss")
    axes.set(xlabel="iteration", ylabel="loss", xlim=(0, max(total, 1)), yscale="log")
    axes.grid(alpha=0.3)
    metric = next((key for record in records for key in METRICS if key in record), None)
    if metric is not None:
        _draw_scores(axes.twinx(), records, metric)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)


def _draw_scores(axes: Any, records: Sequence[Mapping[str, Any]], metric: str) -> None:
    """Draw the scores of the validations on an axis of their own, 0 to 1."""
    scores = [record for record in records if metric in record]
    iterations = [record["iteration"] for record in scores]
    values = [record[metric] for record in scores]
    axes.plot(iterations, values, "o-", color="tab:red", label=METRICS[metric])
    axes.set(ylabel=METRICS[metric], ylim=(0, 1))
    axes.set_title(f"{short_name(metric)} {values[-1]:.3f}, best {max(values):.3f}")
