"""Draw precision-recall curves with matplotlib (the extra ``evaluate``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from darknet_builder.evaluation.darknet_map import MapResult
from darknet_builder.support.figures import load_figures, plain_label, save_figure

_MAX_NAMED = 15
"""Up to this number of classes, each gets a colour and a line in the legend; more are all grey."""
_SIZE_INCHES, _DOTS_PER_INCH = (8.0, 6.0), 120
_RECALLS = np.linspace(0, 1, 201)


def plot_curves(result: MapResult, path: str | Path, title: str = "") -> None:
    """Draw the curve of each class with ground truth, and their mean.

    Args:
        result: the result of ``mean_average_precision``.
        path: path of the picture; the suffix selects the format.
        title: title of the picture.

    Raises:
        MissingExtraError: if matplotlib is not installed.
        InputError: if the file cannot be written; ``check_plot`` detects most reasons earlier.
    """
    figure = load_figures().Figure(figsize=_SIZE_INCHES, dpi=_DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot(
        xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision", title=plain_label(title)
    )
    axes.grid(alpha=0.3)
    _draw(axes, result)
    if result.present:
        axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)
    save_figure(figure, path)


def _draw(axes: Any, result: MapResult) -> None:
    shown = sorted(result.present, key=lambda row: -row.average_precision)
    named = len(shown) <= _MAX_NAMED
    for row in shown:
        style: dict[str, Any] = {"color": "grey", "alpha": 0.3}
        if named:
            style = {"label": f"{plain_label(row.name)}  {row.average_precision:.3f}"}
        axes.step(_RECALLS, row.curve.precision_at(_RECALLS), linewidth=1, where="post", **style)
    if shown:
        mean = np.mean([row.curve.precision_at(_RECALLS) for row in shown], axis=0)
        axes.plot(
            _RECALLS,
            mean,
            color="black",
            linewidth=2.5,
            label=f"mean of {len(shown)} classes  {result.mean_over_present:.3f}",
        )
