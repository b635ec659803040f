"""Format the results of a benchmark as Markdown tables and as a chart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darknet_builder.benchmark.comparison import Comparison
from darknet_builder.support.figures import load_figures, save_figure

if TYPE_CHECKING:
    from darknet_builder.benchmark.pipeline import PipelineRate
    from darknet_builder.benchmark.training import TrainingRate

_COLUMNS = (
    "contender",
    "median ms",
    "min ms",
    "IQR ms",
    "ratio",
    "GFLOP/s",
    "% of peak",
    "MiB",
    "how",
)
_PIPELINE_COLUMNS = (
    "network",
    "contender",
    "batch",
    "photographs",
    "network alone, images/s",
    "whole pipeline, images/s",
    "%",
    "limit of the processor, images/s",
    "% of the limit",
)
_TRAINING_COLUMNS = (
    "network",
    "size",
    "batch",
    "precision",
    "images/s",
    "% of the time waiting for images",
    "steps",
)
_WIDTH, _BAR_HEIGHT = 9.0, 0.32


def table(comparison: Comparison, rates: dict[str, float]) -> str:
    """Return one comparison as a Markdown table, the fastest candidate first.

    Args:
        comparison: the times of one network.
        rates: GFLOP/s of the device at each precision, from ``matrix_rates``.
    """
    width, height = comparison.size
    title = (
        f"{comparison.network}, {width} x {height}, batch {comparison.batch}, "
        f"{comparison.bflops:.3f} BFLOPs an image"
    )
    rows = []
    for row in comparison.rows():
        rows.append(_cells(row, rates))
        if row["stages_ms"]:
            stages = ", ".join(f"{name} {value:.3f}" for name, value in row["stages_ms"].items())
            rows.append(["", stages, *[""] * (len(_COLUMNS) - 2)])
    lines = [title, "", *_markdown(_COLUMNS, rows)]
    if comparison.failures:
        lines.append("")  # ends the table
    lines += [f"not measured: {name}: {why}" for name, why in comparison.failures.items()]
    return "\n".join(lines) + "\n"


def _cells(row: dict[str, Any], rates: dict[str, float]) -> list[str]:
    # "torch:bfloat16" is compared with the matrix product in bfloat16.
    rate = rates.get(row["contender"].rpartition(":")[2])
    share = f"{100 * row['gflops'] / rate:.0f}" if rate else ""
    memory = "" if row["peak_mib"] is None else f"{row['peak_mib']:.0f}"
    return [
        row["contender"],
        f"{row['median_ms']:.2f}",
        f"{row['min_ms']:.2f}",
        f"{row['iqr_ms']:.2f}",
        f"{row['ratio']:.2f}",
        f"{row['gflops']:.0f}",
        share,
        memory,
        row["detail"],
    ]


def pipeline_table(rates: Sequence[PipelineRate]) -> str:
    """Return pipeline rates as a Markdown table, each with a row for the stages."""
    rows = []
    for rate in rates:
        rows.append(
            [
                rate.network,
                rate.contender,
                str(rate.batch),
                str(rate.images),
                f"{rate.network_rate:.1f}",
                f"{rate.pipeline_rate:.1f}",
                f"{100 * rate.pipeline_rate / rate.network_rate:.0f}",
                f"{rate.limit:.1f}",
                f"{100 * rate.pipeline_rate / rate.limit:.0f}",
            ]
        )
        stages = ", ".join(f"{name} {value:.2f}" for name, value in rate.stages_ms.items())
        text = f"processor ms an image: {stages}"
        rows.append(["", text, *[""] * (len(_PIPELINE_COLUMNS) - 2)])
    return "\n".join(_markdown(_PIPELINE_COLUMNS, rows)) + "\n"


def training_table(rates: Sequence[TrainingRate]) -> str:
    """Return training rates as a Markdown table."""
    rows = [
        (
            rate.network,
            f"{rate.size[0]} x {rate.size[1]}",
            str(rate.batch),
            rate.precision,
            f"{rate.images_per_second:.1f}",
            f"{100 * rate.waiting:.1f}",
            str(len(rate.seconds)),
        )
        for rate in rates
    ]
    return "\n".join(_markdown(_TRAINING_COLUMNS, rows)) + "\n"


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(columns)} |",
        f"|{'---|' * len(columns)}",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def save_chart(comparisons: Sequence[Comparison], path: str | Path) -> None:
    """Save the medians as a bar chart with a panel for each comparison.

    Args:
        comparisons: one for each panel, from top to bottom.
        path: path of the picture; the suffix selects PNG, SVG or PDF.

    Raises:
        MissingExtraError: if matplotlib is not installed.
        InputError: if the file cannot be written.
    """
    figures = load_figures()
    count = sum(len(comparison.timings) for comparison in comparisons)
    figure = figures.Figure(
        figsize=(_WIDTH, 1.2 * len(comparisons) + _BAR_HEIGHT * count), layout="constrained"
    )
    # (n, 1) -> (n,), also for a single panel
    panels = figure.subplots(len(comparisons), 1, squeeze=False)[:, 0]
    for panel, comparison in zip(panels, comparisons, strict=True):
        _draw_panel(panel, comparison)
    save_figure(figure, path)


def _draw_panel(panel: Any, comparison: Comparison) -> None:
    rows = comparison.rows()[::-1]  # barh draws from the bottom up
    names = [row["contender"] for row in rows]
    medians = [row["median_ms"] for row in rows]
    half_ranges = [row["iqr_ms"] / 2 for row in rows]
    bars = panel.barh(names, medians, xerr=half_ranges)
    panel.bar_label(bars, [f"{median:.1f}" for median in medians], padding=3)
    width, height = comparison.size
    panel.set_title(f"{comparison.network} {width} x {height}, batch {comparison.batch}")
    panel.set_xlabel("ms a batch: median, interquartile range")
