"""Draw a network as SVG: a row for each layer, and an arc for each skip connection.

A line runs down the rows, from each layer to the next; it is broken where a layer does not read the
one above. All other connections are arcs to the left of the line. Arcs that overlap vertically are
in different lanes, so that none covers another.
"""

from __future__ import annotations

from bisect import bisect, insort
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from darknet_builder.inspection.statistics import WeightStatistics, weight_statistics
from darknet_builder.inspection.summary import LayerSummary, Summary, summarize
from darknet_builder.layers.base import NETWORK_INPUT, Layer
from darknet_builder.network.network import Network
from darknet_builder.pages.columns import (
    BAR,
    DETAIL,
    HISTOGRAM,
    MARGIN,
    ROW,
    TOP,
    Columns,
    row_middle,
)
from darknet_builder.pages.templates import fixed_css, html_text, read_part

KINDS = {
    "weights": "has weights",
    "plain": "has no weights",
    "add": "adds layers",
    "route": "reads or concatenates earlier layers",
    "head": "detects objects",
}
"""The kinds of layers, each with the text that explains its colour."""


@dataclass(frozen=True)
class Arc:
    """A connection from a layer to one that is not the next.

    Attributes:
        source: index of the layer that is read; -1 for the network's input.
        reader: index of the layer that reads it.
        lane: horizontal position; 0 is nearest to the rows.
    """

    source: int
    reader: int
    lane: int


@dataclass(frozen=True)
class Diagram:
    r"""Everything that a picture of a network shows.

    Attributes:
        title: text over the picture.
        summary: shapes and counts of the layers.
        kinds: a key of ``KINDS`` for each layer.
        statistics: statistics of each layer's weights, None for a layer without weights; None if
            no histograms are to be shown.
        arcs: the connections that do not lead from a layer to the next.

    Example:
        >>> from darknet_builder import build_network
        >>> cfg = "[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\n[shortcut]\nfrom=-1\n"
        >>> diagram = Diagram.of(build_network(cfg), "small")
        >>> diagram.kinds, diagram.totals()
        (('weights', 'add'), '2 layers, 4 parameters, 0.000 BFLOPs; input 8 x 8 x 3')
    """

    title: str
    summary: Summary
    kinds: tuple[str, ...]
    statistics: tuple[WeightStatistics | None, ...] | None
    arcs: tuple[Arc, ...]

    @classmethod
    def of(cls, network: Network, title: str | None = None, *, weights: bool = False) -> Diagram:
        """Collect what a picture of a network shows.

        Args:
            network: a network; its weights matter only with ``weights``.
            title: text over the picture; None takes the file name of the cfg.
            weights: whether to show histograms of the weights.
        """
        summary = summarize(network)
        pairs = zip(network.sequence(), summary.layers, strict=True)
        kinds = tuple(_kind(layer, row) for layer, row in pairs)
        statistics = tuple(weight_statistics(network)) if weights else None
        name = Path(network.blocks[0].source).name if title is None else title
        return cls(name, summary, kinds, statistics, tuple(find_arcs(summary)))

    def totals(self) -> str:
        """Return ``24 layers, 8,858,734 parameters, 5.571 BFLOPs; input 416 x 416 x 3``."""
        summary = self.summary
        return (
            f"{len(summary.layers)} layers, {summary.parameters:,} parameters, {summary.bflops:.3f}"
            f" BFLOPs; input {summary.input}"
        )

    def svg(self) -> str:
        """Return a complete SVG file, with title, headings and styles."""
        columns, height = self._columns(), self._height()
        body = "".join(self._parts(columns))
        css = fixed_css(read_part("diagram.css"))
        # The rows begin at y = 0; the title and the headings are above, at negative y.
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="diagram" width="{columns.width:g}" '
            f'height="{height + TOP}" viewBox="0 {-TOP} {columns.width:g} {height + TOP}">\n'
            f"<title>{html_text(self.title)}</title>\n<style>\n{css}</style>\n"
            f'<rect class="paper" y="{-TOP}" width="100%" height="100%"/>\n'
            f'<text class="title" x="{MARGIN}" y="-34">{html_text(self.title)}</text>\n'
            f'<text class="quiet end" x="{columns.width - MARGIN:g}"'
            f' y="-34">{html_text(self.totals())}</text>\n'
            f"{_headings(columns)}{body}</svg>\n"
        )

    def embedded(self) -> tuple[str, str]:
        """Return (headings, rows), two SVG elements for a page with the styles of ``diagram.css``.

        They are separate, so that the page can keep the headings in sight while the rows scroll.
        """
        columns, height = self._columns(), self._height()
        start = f'<svg class="diagram" width="{columns.width:g}" '
        body = "".join(self._parts(columns))
        headings = (
            f'{start}height="26" viewBox="0 -26 {columns.width:g} 26"'
            f' aria-hidden="true">{_headings(columns)}</svg>'
        )
        rows = (
            f'{start}height="{height}" viewBox="0 0 {columns.width:g} {height}" role="list">\n'
            f"{body}</svg>"
        )
        return headings, rows

    def _height(self) -> int:
        # One row more than there are layers: the network's input.
        return (len(self.summary.layers) + 1) * ROW + MARGIN

    def _columns(self) -> Columns:
        lanes = 1 + max((arc.lane for arc in self.arcs), default=0)
        letters = max((len(row.type) for row in self.summary.layers), default=5)
        return Columns.of(lanes, letters, self.statistics is not None)

    def _parts(self, columns: Columns) -> list[str]:
        """Return all elements, from the lowest to the topmost."""
        # SVG draws later elements on top: the rows' backgrounds must not cover lines and dots.
        return [
            *self._rows(columns),
            *self._flows(columns),
            *self._arcs(columns),
            *self._dots(columns),
        ]

    # ---- rows ------------------------------------------------------------------------------------

    def _rows(self, columns: Columns) -> list[str]:
        layers = self.summary.layers
        parameters = max((row.parameters for row in layers), default=0)
        flops = max((row.flops for row in layers), default=0)
        y = row_middle(NETWORK_INPUT) + 4
        parts = [
            f'<text class="quiet" x="{columns.type + 6:g}"'
            f' y="{y:g}">input</text><text class="quiet end"'
            f' x="{columns.output:g}" y="{y:g}">{self.summary.input}</text>\n'
        ]
        before = self.summary.input
        for row, kind in zip(layers, self.kinds, strict=True):
            # A stronger line shows where the map changes its size.
            step = (before.width, before.height) != (row.output.width, row.output.height)
            before = row.output
            bars = _bars(columns, row, (parameters, flops))
            parts.append(
                f'<g class="row {kind}" id="layer-{row.index}" data-index="{row.index}">'
                f"{self._band(columns, row, step)}{_words(columns, row)}{bars}"
                f"{self._histogram(columns, row)}</g>\n"
            )
        return parts

    def _band(self, columns: Columns, row: LayerSummary, step: bool) -> str:
        """Return the background of a row, and the line above it."""
        top = row_middle(row.index) - ROW / 2
        return (
            f'<rect class="band" y="{top:g}" width="{columns.width:g}" height="{ROW}"/>'
            f'<line class="{"step" if step else "rule"}" x1="{columns.spine + 14:g}" '
            f'x2="{columns.width - MARGIN:g}" y1="{top:g}" y2="{top:g}"/>'
        )

    def _histogram(self, columns: Columns, row: LayerSummary) -> str:
        """Return the bars of a layer's weights, and a line at zero."""
        statistics = self.statistics[row.index] if self.statistics else None
        if statistics is None or columns.histogram is None:
            return ""
        bottom, tall, wide = row_middle(row.index) + 10, 19.0, HISTOGRAM / len(statistics.counts)
        largest = max(1, *statistics.counts)
        # One path for all bars, because an element for each would make the file large. For a bar:
        # move to its lower left corner, go up, right, and down to the bottom again.
        bars = "".join(
            f"M{columns.histogram + wide * index:.1f} {bottom:g}v{-tall * count / largest:.1f}"
            f"h{wide:.1f}V{bottom:g}z"
            for index, count in enumerate(statistics.counts)
            if count
        )
        zero = ""
        if statistics.low <= 0 <= statistics.high:
            # The histogram covers low to high; 0 is at this fraction of its width.
            share = HISTOGRAM * -statistics.low / (statistics.high - statistics.low)
            x = columns.histogram + share
            zero = (
                f'<rect class="zero" x="{x - 0.5:.1f}" y="{bottom - 19:g}" width="1" height="19"/>'
            )
        return f'{zero}<path class="histogram" d="{bars}"/>'

    # ---- connections -----------------------------------------------------------------------------

    def _flows(self, columns: Columns) -> list[str]:
        """Return the line from each layer to the next, where the next one reads it."""
        return [
            f'<path class="flow" data-from="{row.index - 1}" data-to="{row.index}" '
            f'd="M{columns.spine:g} {row_middle(row.index - 1):g}V{row_middle(row.index):g}"/>\n'
            for row in self.summary.layers
            if row.index - 1 in row.sources
        ]

    def _arcs(self, columns: Columns) -> list[str]:
        """Return each arc with its arrowhead, the inner lanes on top."""
        parts = []
        for arc in sorted(self.arcs, key=lambda arc: -arc.lane):
            kind = "add" if self.kinds[arc.reader] == "add" else "route"
            ends = f'data-from="{arc.source}" data-to="{arc.reader}"'
            tip_x, tip_y = columns.spine - 5, row_middle(arc.reader)
            parts.append(
                f'<path class="arc {kind}" {ends} d="{_curve(columns, arc)}"/>'
                f'<path class="tip {kind}" {ends} d="M{tip_x:g} {tip_y:g}'
                'l-7 -3.5v7z"/>\n'
            )
        return parts

    def _dots(self, columns: Columns) -> list[str]:
        dots = [
            f'<g class="plain"><circle class="dot" cx="{columns.spine:g}"'
            f' cy="{row_middle(NETWORK_INPUT):g}" r="4"/></g>\n'
        ]
        for row, kind in zip(self.summary.layers, self.kinds, strict=True):
            radius = 6.5 if kind == "head" else 5
            dots.append(
                f'<g class="{kind}"><circle class="dot" data-index="{row.index}"'
                f' cx="{columns.spine:g}" cy="{row_middle(row.index):g}" r="{radius}"/></g>\n'
            )
        return dots


def find_arcs(summary: Summary) -> list[Arc]:
    """Return the connections from a layer to one that is not the next, with a lane for each.

    Shorter arcs get inner lanes. Two arcs in the same lane may touch only where one begins and the
    other ends.

    Args:
        summary: the layers of a network.
    """
    connections = {
        (source, row.index)
        for row in summary.layers
        for source in row.sources
        if source != row.index - 1
    }
    lanes: list[list[tuple[int, int]]] = []
    arcs = []
    # By length, then by position, so that the result does not depend on the order in the set.
    for source, reader in sorted(connections, key=lambda pair: (pair[1] - pair[0], pair)):
        lane = _free_lane(lanes, source, reader)
        if lane == len(lanes):
            lanes.append([])
        insort(lanes[lane], (source, reader))
        arcs.append(Arc(source, reader, lane))
    return arcs


def _free_lane(lanes: list[list[tuple[int, int]]], source: int, reader: int) -> int:
    """Return the innermost lane in which no arc overlaps the rows from ``source`` to ``reader``.

    The arcs of a lane are sorted and apart, so the neighbours of the new one decide.
    """
    for lane, taken in enumerate(lanes):
        index = bisect(taken, (source, reader))
        is_free_before = index == 0 or taken[index - 1][1] <= source
        is_free_after = index == len(taken) or reader <= taken[index][0]
        if is_free_before and is_free_after:
            return lane
    return len(lanes)


def _kind(layer: Layer, row: LayerSummary) -> str:
    """Return the kind of a layer, a key of ``KINDS``."""
    # Judge by what the layer does, not by its section: new sections then need no change here.
    if layer.is_head:
        return "head"
    if len(row.sources) > 1 or row.sources[0] != row.index - 1:
        # A sum has the shape of its first input; a concatenation has more channels.
        return "add" if len(row.sources) > 1 and row.output == row.inputs[0] else "route"
    return "weights" if row.parameters else "plain"


# ---- pieces --------------------------------------------------------------------------------------


def _curve(columns: Columns, arc: Arc) -> str:
    """Return the path of an arc."""
    #     x            spine
    #     (-------------o   start: the source's dot
    #     |
    #     (----------->     stop: ends 8 pixels before the reader's dot, at the arrowhead
    x, start, stop = (
        columns.spine - 14 - arc.lane * columns.lane,
        row_middle(arc.source),
        row_middle(arc.reader),
    )
    bend = min(columns.spine - x, 12.0)
    return (
        f"M{columns.spine:g} {start:g}H{x + bend:g}Q{x:g} {start:g} {x:g}"
        f" {start + bend:g}V{stop - bend:g}Q{x:g} {stop:g} {x + bend:g}"
        f" {stop:g}H{columns.spine - 8:g}"
    )


def _headings(columns: Columns) -> str:
    """Return the headings of the columns."""
    words = [
        ("end", columns.index, "#"),
        ("", columns.type + 6, "type"),
        ("end", columns.filters, "filters"),
        ("", columns.detail, "size / stride"),
        ("end", columns.output, "output"),
        ("end", columns.parameters, "parameters"),
        ("end", columns.bflops, "BFLOPs"),
    ]
    if columns.histogram is not None:
        words.append(("", columns.histogram, "weights"))
    texts = [
        f'<text class="quiet {anchor}" x="{x:g}" y="-9">{word}</text>' for anchor, x, word in words
    ]
    return "".join(texts) + "\n"


def _words(columns: Columns, row: LayerSummary) -> str:
    """Return the text of a row."""
    y = row_middle(row.index) + 4  # the baseline: 4 pixels below the middle
    shown = row.size if len(row.size) <= DETAIL else row.size[: DETAIL - 1] + "…"
    return (
        f'<text class="quiet end" x="{columns.index:g}" y="{y:g}">{row.index}</text><rect'
        f' class="pill" x="{columns.type:g}" y="{y - 13:g}" width="{columns.pill:g}" height="18"'
        f' rx="5"/><text class="type" x="{columns.type + 6:g}"'
        f' y="{y:g}">{html_text(row.type)}</text><text class="end" x="{columns.filters:g}"'
        f' y="{y:g}">{html_text(row.filters)}</text><text x="{columns.detail:g}"'
        f' y="{y:g}">{html_text(shown)}</text><text class="end" x="{columns.output:g}"'
        f' y="{y:g}">{row.output}</text>'
    )


def _bars(columns: Columns, row: LayerSummary, largest: Sequence[int]) -> str:
    """Return the numbers of parameters and BFLOPs, each with a bar.

    Args:
        columns: horizontal positions of the bars in the picture.
        row: the layer's numbers, from the summary.
        largest: the largest number of parameters and of FLOPs in the network: a full bar.
    """
    y = row_middle(row.index)
    parts = []
    for x, value, text, full in (
        (columns.parameters, row.parameters, f"{row.parameters:,}", largest[0]),
        (columns.bflops, row.flops, f"{row.bflops:.3f}", largest[1]),
    ):
        if value:
            # At least 1 pixel, so that a small value can be told from none.
            parts.append(
                f'<text class="end" x="{x:g}" y="{y + 4:g}">{text}</text><rect class="track"'
                f' x="{x + 8:g}" y="{y - 3:g}" width="{BAR}" height="6" rx="3"/><rect class="bar"'
                f' x="{x + 8:g}" y="{y - 3:g}" width="{max(1, BAR * value / full):.1f}"'
                ' height="6" rx="3"/>'
            )
    return "".join(parts)
