"""A benchmark as a table, as lines in words, and as a chart."""

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
    """One comparison as a Markdown table, the fastest first."""
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
    failures = [f"not measured: {name}: {why}" for name, why in comparison.failures.items()]
    return (
        "\n".join([title, "", *_markdown(_COLUMNS, rows), *([""] if failures else []), *failures])
        + "\n"
    )


def _cells(row: dict[str, Any], rates: dict[str, float]) -> list[str]:
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
    """Folders of photographs as a Markdown table."""
    rows = [
        (
            rate.network,
            rate.contender,
            str(rate.batch),
            str(rate.images),
            f"{rate.network_rate:.1f}",
            f"{rate.pipeline_rate:.1f}",
            f"{100 * rate.pipeline_rate / rate.network_rate:.0f}",
        )
        for rate in rates
    ]
    return "\n".join(_markdown(_PIPELINE_COLUMNS, rows)) + "\n"


def training_table(rates: Sequence[TrainingRate]) -> str:
    """Trainings as a Markdown table."""
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
    """Bars of the medians, a panel a comparison, as PNG, SVG or PDF by the suffix.

    Raises:
        MissingExtraError: without matplotlib.
        InputError: when the file cannot be written.
    """
    figures = load_figures()
    count = sum(len(comparison.timings) for comparison in comparisons)
    figure = figures.Figure(
        figsize=(_WIDTH, 1.2 * len(comparisons) + _BAR_HEIGHT * count), layout="constrained"
    )
    panels = figure.subplots(len(comparisons), 1, squeeze=False)[:, 0]
    for panel, comparison in zip(panels, comparisons, strict=True):
        rows = comparison.rows()[::-1]
        bars = panel.barh(
            [row["contender"] for row in rows],
            [row["median_ms"] for row in rows],
            xerr=[row["iqr_ms"] / 2 for row in rows],
        )
        panel.bar_label(bars, [f"{row['median_ms']:.1f}" for row in rows], padding=3)
        panel.set_title(
            f"{comparison.network} {comparison.size[0]} x {comparison.size[1]}, batch"
            f" {comparison.batch}"
        )
        panel.set_xlabel("ms a batch: median, interquartile range")
    save_figure(figure, path)
