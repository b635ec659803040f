"""Draw the figures of the lessons, for light and for dark pages: docs/images/lessons/*.

    python scripts/figures.py [--only NAME ...] [--output DIR]

The same numbers give the same files.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from darknet_builder.support.extras import load_extra
from darknet_builder.support.figures import load_figures, save_figure

sys.path.insert(0, str(Path(__file__).resolve().parent))  # where a test imports this file
import figure_numbers as numbers  # noqa: E402

FOLDER = numbers.ROOT / "docs" / "images" / "lessons"
_STYLE = {
    "svg.hashsalt": "darknet_builder",
    "svg.fonttype": "none",  # text stays text
    "font.size": 9,
    "font.family": "sans-serif",
}


@dataclass(frozen=True)
class Theme:
    """Colours of a light or a dark page; the background is the page's own.

    Attributes:
        name: end of the file's name.
        ink: text and axes.
        faint: lines behind the data.
        colours: of curves and bars, which people with defective colour vision can tell apart.
    """

    name: str
    ink: str
    faint: str
    colours: tuple[str, ...]


THEMES = (
    Theme("light", "#1f2328", "#d0d7de", ("#0072b2", "#d55e00", "#009e73", "#aa3377", "#b07d00",
          "#56b4e9")),
    Theme("dark", "#d1d7e0", "#3d444d", ("#56b4e9", "#ff9e4a", "#2fc99a", "#ee88bb", "#f0c840",
          "#a5b4ff")),
)  # fmt: skip


def new_figure(theme: Theme, width: float, height: float) -> Any:
    """Return an empty figure in the colours of a theme, without a background."""
    figure = load_figures().Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0)
    return figure


def paint(axes: Any, theme: Theme, title: str = "") -> None:
    """Give an axes the colours of a theme."""
    axes.patch.set_alpha(0)
    axes.set_title(title, color=theme.ink, fontsize=10)
    axes.tick_params(colors=theme.ink)
    axes.xaxis.label.set_color(theme.ink)
    axes.yaxis.label.set_color(theme.ink)
    for name, spine in axes.spines.items():
        spine.set_color(theme.ink)
        spine.set_visible(name in ("left", "bottom"))


def name_lines(axes: Any, theme: Theme, **options: Any) -> None:
    """Add a legend without a frame."""
    axes.legend(frameon=False, labelcolor=theme.ink, **options)


def rectangle(axes: Any, x: float, y: float, width: float, height: float, **options: Any) -> None:
    """Add a rectangle, (x, y) being its corner with the lowest coordinates."""
    patches = load_extra("matplotlib.patches", "evaluate")
    axes.add_patch(patches.Rectangle((x, y), width, height, **options))


# ---- the figures ---------------------------------------------------------------------------------


def draw_grid(theme: Theme) -> Any:
    """Draw the positions of both heads over a scene, and the anchors of one position."""
    figure = new_figure(theme, 7.2, 3.9)
    size = numbers.lesson_network().input_size[0]
    for axes, grid in zip(figure.subplots(1, 2), numbers.grids(), strict=True):
        title = f"{grid.cells} x {grid.cells} positions, one every {grid.stride:g} pixels"
        paint(axes, theme, title)
        axes.imshow(numbers.square_picture(), extent=(0, size, size, 0), alpha=0.75)
        for line in np.arange(0, size + 1, grid.stride):
            axes.axhline(line, color="white", linewidth=0.6)
            axes.axvline(line, color="white", linewidth=0.6)
        column = grid.cells // 2
        corner, middle = column * grid.stride, (column + 0.5) * grid.stride
        rectangle(axes, corner, corner, grid.stride, grid.stride, color="white")
        for colour, (width, height) in zip(THEMES[0].colours, grid.anchors, strict=False):
            place = (middle - width / 2, middle - height / 2, width, height)
            rectangle(axes, *place, fill=False, edgecolor=colour, linewidth=2.2)
            label = f"{width:g} x {height:g}"
            axes.plot([], [], color=colour, linewidth=2.2, label=label)
        axes.set(xlim=(0, size), ylim=(size, 0), xticks=(0, 32, 64), yticks=(0, 32, 64))
        name_lines(axes, theme, loc="upper center", bbox_to_anchor=(0.5, -0.06), ncols=3)
    return figure


def draw_fit(theme: Theme) -> Any:
    """Draw one picture as it is, stretched, and letterboxed."""
    figure = new_figure(theme, 7.2, 2.3)
    picture = numbers.wide_picture()
    height, width, _ = picture.shape
    shown = [(f"the picture, {width} x {height}", picture)]
    for resize in ("stretch", "letterbox"):
        image, placement = numbers.fitted(resize)
        shown.append(("{}, {} x {}".format(resize, *placement.inner_size), image))
    for axes, (title, image) in zip(
        figure.subplots(1, 3, width_ratios=(1.6, 1, 1)), shown, strict=True
    ):
        paint(axes, theme, title)
        axes.imshow(image)
        axes.set_axis_off()
    return figure


def draw_overlap(theme: Theme) -> Any:
    """Draw four overlaps of a moving box with a fixed one, and their gradients."""
    figure = new_figure(theme, 7.2, 6.6)
    positions = torch.linspace(-4, 4, 401)
    upper, by_x, by_width = subplots = figure.subplots(3, 1, sharex=True)
    size = "{:g} x {:g}".format(*numbers.MOVING_SIZE)
    paint(upper, theme, f"overlap of a box of {size} with one of 2 x 2 at x = 0")
    paint(by_x, theme, "derivative by x: where training pushes the box")
    paint(by_width, theme, "derivative by the width: above 0, training makes the box wider")
    styles = ("-", "--", "-.", ":")
    for colour, style, (name, (value, gradient)) in zip(
        theme.colours, styles, numbers.overlaps(positions).items(), strict=False
    ):
        curves = (value, gradient[:, 0], gradient[:, 2])
        for axes, curve in zip(subplots, curves, strict=True):
            axes.plot(positions, curve, style, color=colour, label=name, linewidth=1.8)
    for axes in subplots:
        axes.axhline(0, color=theme.faint, linewidth=0.8, zorder=0)
    by_width.set_xlabel("x of the centre of the moving box")
    name_lines(upper, theme)
    return figure


def draw_optimiser(theme: Theme) -> Any:
    """Draw each layer's parameters, filled where an optimiser has them."""
    figure = new_figure(theme, 7.2, 2.9)
    for axes, (name, layers) in zip(
        figure.subplots(2, 1), numbers.seen_by_optimiser().items(), strict=True
    ):
        seen, total = (sum(column) for column in zip(*layers, strict=True))
        paint(
            axes, theme, f"layers in a{'n' * (name[0] == 'n')} {name}: {seen} of {total} parameters"
        )
        for index, (held, count) in enumerate(layers):
            for row in range(count):
                colour = theme.colours[0] if row < held else "none"
                edge = theme.colours[0] if row < held else theme.colours[1]
                rectangle(axes, index - 0.35, row + 0.1, 0.7, 0.8, facecolor=colour, edgecolor=edge)
        axes.set(xlim=(-0.6, len(layers) - 0.4), ylim=(0, 3.1), yticks=())
        axes.set_xticks(range(len(layers)))
        axes.spines["left"].set_visible(False)
    axes.set_xlabel("layer; a filled square is a parameter that the optimiser has")
    return figure


def draw_rates(theme: Theme) -> Any:
    """Draw the learning rate of each policy."""
    figure = new_figure(theme, 7.2, 3.6)
    subplots = figure.subplots(2, 3, sharex=True, sharey=True).flatten()
    for axes, (policy, rates) in zip(subplots, numbers.rates().items(), strict=True):
        paint(axes, theme, f"policy={policy}")
        axes.axvspan(0, numbers.BURN_IN, color=theme.faint, alpha=0.6, linewidth=0)
        axes.plot(range(1, len(rates) + 1), rates, color=theme.colours[0], linewidth=1.8)
    for axes in subplots[3:]:
        axes.set_xlabel("update")
    for axes in subplots[::3]:
        axes.set_ylabel("learning rate")
    return figure


def draw_route(theme: Theme) -> Any:
    """Draw the gradient of each channel of a layer, divided by the layers that read it."""
    figure = new_figure(theme, 7.2, 2.9)
    axes = figure.subplots()
    title = f"layer {numbers.SHARED} is read twice; its gradient is the sum of both ways"
    paint(axes, theme, title)
    _, parts = numbers.gradients_at_route()
    words = {
        7: "through layer 7: [route] with groups=2, group_id=1",
        16: "through layer 16: [route] with layers=-1,6",
    }
    channels = np.arange(len(next(iter(parts.values()))))
    for side, colour, (index, gradient) in zip(
        (-0.2, 0.2), theme.colours, parts.items(), strict=False
    ):
        height = gradient.abs().mean((1, 2)).numpy()
        axes.bar(channels + side, height, 0.4, color=colour, label=words[index])
    axes.set(xlabel=f"channel of layer {numbers.SHARED}", ylabel="mean of |gradient|")
    axes.set_ylim(0, axes.get_ylim()[1] * 1.25)
    axes.axvline(len(channels) / 2 - 0.5, color=theme.faint, linewidth=1, zorder=0)
    name_lines(axes, theme, loc="upper left")
    return figure


def draw_weights(theme: Theme) -> Any:
    """Draw histograms of the first convolutions before and after training."""
    figure = new_figure(theme, 7.2, 4.2)
    subplots = figure.subplots(2, 2).flatten()
    for axes, (name, states) in zip(
        subplots, numbers.weights_before_and_after().items(), strict=True
    ):
        deviations = " to ".join(f"{state.std():.2f}" for state in states)
        paint(axes, theme, f"{name}: std {deviations}")
        reach = max(float(state.abs().max()) for state in states)
        for colour, label, state in zip(theme.colours, ("before", "after"), states, strict=False):
            axes.hist(
                state.flatten().numpy(), bins=60, range=(-reach, reach), density=True,
                histtype="step", color=colour, label=label, linewidth=1.5,
            )  # fmt: skip
        axes.set_yticks(())
    name_lines(subplots[0], theme)
    return figure


FIGURES: dict[str, tuple[Callable[[Theme], Any], str]] = {
    "grid": (draw_grid, "png"),
    "fit": (draw_fit, "png"),
    "overlap": (draw_overlap, "svg"),
    "optimiser": (draw_optimiser, "svg"),
    "rates": (draw_rates, "svg"),
    "route": (draw_route, "svg"),
    "weights": (draw_weights, "svg"),
}
"""The figures, and PNG for those with pictures in them."""


def draw(name: str, folder: Path) -> list[Path]:
    """Write a figure for both themes, and return its files."""
    make, suffix = FIGURES[name]
    paths = []
    with load_extra("matplotlib", "evaluate").rc_context(_STYLE):
        for theme in THEMES:
            paths.append(folder / f"{name}-{theme.name}.{suffix}")
            dateless = {"Date": None} if suffix == "svg" else {"Software": None}
            save_figure(make(theme), paths[-1], dpi=100, metadata=dateless)
            if suffix == "png":
                use_few_colours(paths[-1])
    return paths


def use_few_colours(path: Path) -> None:
    """Write a picture again with 96 colours, which makes it a third as large."""
    images = load_extra("PIL.Image", "evaluate")  # comes with matplotlib
    image = images.open(path).convert("RGBA")
    image.quantize(96, method=images.Quantize.FASTOCTREE).save(path, optimize=True)


def main() -> int:
    """Draw the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--only", nargs="*", choices=list(FIGURES), default=list(FIGURES))
    parser.add_argument("--output", type=Path, default=FOLDER)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    for name in args.only:
        for path in draw(name, args.output):
            print(f"{path}: {path.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
