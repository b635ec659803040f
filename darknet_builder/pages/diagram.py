"""A network as a picture: a row for each layer, from top to bottom, and beside them an arc for each
jump.

The line down the rows is the way from a layer to the next; it is broken where a layer does not read
the one above. All other ways are arcs, each in a lane of its own for as long as it runs.
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
from darknet_builder.pages.templates import fixed_css, html_text, read_part

KINDS = {
    "weights": "has weights",
    "plain": "has none",
    "add": "adds layers up",
    "route": "goes back, concatenates",
    "head": "finds objects",
}
"""What a layer is to the reader's eye, and what its colour says."""
ROW = 24
"""Height of a row in pixels."""
_TOP, _MARGIN = 60, 16
_LETTER = 7.3
"""Width of a letter in pixels, in the widest of the usual fonts."""
_LANE, _ROOM = 9.0, 150.0
"""Pixels between two lanes, and for all of them together."""
_BAR, _HISTOGRAM = 60, 132
"""Widths in pixels."""
_DETAIL = 18
"""How many letters of size and stride are shown."""


@dataclass(frozen=True)
class Arc:
    """A way from a layer to one that is not the next; ``lane`` counts from the rows outwards."""

    source: int
    reader: int
    lane: int


@dataclass(frozen=True)
class _Columns:
    """Where things stand, in pixels from the left edge; numbers end there, words and pictures
    begin.
    """

    lane: float
    """From one lane to the next."""
    spine: float
    index: float
    type: float
    pill: float
    """The width of the ground under a type."""
    filters: float
    detail: float
    output: float
    parameters: float
    bflops: float
    histogram: float | None
    width: float
    """Of it all."""

    @classmethod
    def of(cls, lanes: int, letters: int, histograms: bool) -> _Columns:
        """Room for so many lanes, for types of so many letters, and for histograms where they are
        wanted.
        """
        lane = min(_LANE, _ROOM / lanes)
        spine = _MARGIN + lanes * lane + 14
        first, pill = spine + 54, letters * _LETTER + 12
        filters = first + pill + 62
        output = filters + _DETAIL * _LETTER + 106
        bflops = output + 90 + _BAR + 66
        histogram = bflops + _BAR + 28
        right = histogram + _HISTOGRAM if histograms else bflops + _BAR + 8
        return cls(
            lane,
            spine,
            first - 8,
            first,
            pill,
            filters,
            filters + 14,
            output,
            output + 90,
            bflops,
            histogram if histograms else None,
            right + _MARGIN,
        )


@dataclass(frozen=True)
class Diagram:
    """What is drawn of a network.

    Attributes:
        title: over the picture.
        summary: its layers.
        kinds: of each layer, a key of ``KINDS``.
        statistics: of each layer's weights, or None where they are not to be shown.
        arcs: the ways that are not from a layer to the next.
    """

    title: str
    summary: Summary
    kinds: tuple[str, ...]
    statistics: tuple[WeightStatistics | None, ...] | None
    arcs: tuple[Arc, ...]

    @classmethod
    def of(cls, network: Network, title: str | None = None, *, weights: bool = False) -> Diagram:
        """Look at a network.

        Args:
            network: any.
            title: the name of its cfg by default.
            weights: whether its weights mean something, and histograms of them are wanted.
        """
        summary = summarize(network)
        kinds = tuple(
            _kind(layer, row) for layer, row in zip(network.sequence(), summary.layers, strict=True)
        )
        statistics = tuple(weight_statistics(network)) if weights else None
        name = Path(network.blocks[0].source).name if title is None else title
        return cls(name, summary, kinds, statistics, tuple(find_arcs(summary)))

    def totals(self) -> str:
        """One line: ``24 layers, 8,858,734 parameters, 5.571 BFLOPs; input 416 x 416 x 3``."""
        summary = self.summary
        return (
            f"{len(summary.layers)} layers, {summary.parameters:,} parameters, {summary.bflops:.3f}"
            f" BFLOPs; input {summary.input}"
        )

    def svg(self) -> str:
        """A picture that stands for itself."""
        columns, height = self._columns(), self._height()
        body = "".join(self._parts(columns))
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="diagram" width="{columns.width:g}" '
            f'height="{height + _TOP}" viewBox="0 {-_TOP} {columns.width:g} {height + _TOP}">\n'
            f"<title>{html_text(self.title)}</title>\n<style>\n{fixed_css(read_part('diagram.css'))}</style>\n"
            f'<rect class="paper" y="{-_TOP}" width="100%" height="100%"/>\n'
            f'<text class="title" x="{_MARGIN}" y="-34">{html_text(self.title)}</text>\n'
            f'<text class="quiet end" x="{columns.width - _MARGIN:g}"'
            f' y="-34">{html_text(self.totals())}</text>\n'
            f"{_headings(columns)}{body}</svg>\n"
        )

    def embedded(self) -> tuple[str, str]:
        """(headings, rows) as two elements for a page that has the styles of ``diagram.css``."""
        columns, height = self._columns(), self._height()
        start = f'<svg class="diagram" width="{columns.width:g}" '
        return (
            (
                f'{start}height="26" viewBox="0 -26 {columns.width:g} 26"'
                f' aria-hidden="true">{_headings(columns)}</svg>'
            ),
            f'{start}height="{height}" viewBox="0 0 {columns.width:g} {height}" role="list">\n'
            f"{''.join(self._parts(columns))}</svg>",
        )

    def _height(self) -> int:
        return (len(self.summary.layers) + 1) * ROW + _MARGIN

    def _columns(self) -> _Columns:
        lanes = 1 + max((arc.lane for arc in self.arcs), default=0)
        letters = max((len(row.type) for row in self.summary.layers), default=5)
        return _Columns.of(lanes, letters, self.statistics is not None)

    def _parts(self, columns: _Columns) -> list[str]:
        """Bands first, so that what belongs to no row alone lies over all of them."""
        return [
            *self._rows(columns),
            *self._flows(columns),
            *self._arcs(columns),
            *self._dots(columns),
        ]

    # ---- rows ------------------------------------------------------------------------------------

    def _rows(self, columns: _Columns) -> list[str]:
        layers = self.summary.layers
        most = (
            max((row.parameters for row in layers), default=0),
            max((row.flops for row in layers), default=0),
        )
        parts = [
            f'<text class="quiet" x="{columns.type + 6:g}"'
            f' y="{_y(NETWORK_INPUT) + 4:g}">input</text><text class="quiet end"'
            f' x="{columns.output:g}" y="{_y(NETWORK_INPUT) + 4:g}">{self.summary.input}</text>\n'
        ]
        before = self.summary.input
        for row, kind in zip(layers, self.kinds, strict=True):
            step = (before.width, before.height) != (row.output.width, row.output.height)
            before = row.output
            parts.append(
                f'<g class="row {kind}" id="layer-{row.index}" data-index="{row.index}">'
                f"{self._band(columns, row, step)}{_words(columns, row)}{_bars(columns, row, most)}"
                f"{self._histogram(columns, row)}</g>\n"
            )
        return parts

    def _band(self, columns: _Columns, row: LayerSummary, step: bool) -> str:
        top = _y(row.index) - ROW / 2
        return (
            f'<rect class="band" y="{top:g}" width="{columns.width:g}" height="{ROW}"/>'
            f'<line class="{"step" if step else "rule"}" x1="{columns.spine + 14:g}" '
            f'x2="{columns.width - _MARGIN:g}" y1="{top:g}" y2="{top:g}"/>'
        )

    def _histogram(self, columns: _Columns, row: LayerSummary) -> str:
        statistics = self.statistics[row.index] if self.statistics else None
        if statistics is None or columns.histogram is None:
            return ""
        bottom, tall, wide = _y(row.index) + 10, 19.0, _HISTOGRAM / len(statistics.counts)
        most = max(1, *statistics.counts)
        bars = "".join(
            f"M{columns.histogram + wide * place:.1f} {bottom:g}v{-tall * count / most:.1f}"
            f"h{wide:.1f}V{bottom:g}z"
            for place, count in enumerate(statistics.counts)
            if count
        )
        zero = ""
        if statistics.low <= 0 <= statistics.high:
            x = columns.histogram + _HISTOGRAM * -statistics.low / (
                statistics.high - statistics.low
            )
            zero = (
                f'<rect class="zero" x="{x - 0.5:.1f}" y="{bottom - 19:g}" width="1" height="19"/>'
            )
        return f'{zero}<path class="histogram" d="{bars}"/>'

    # ---- ways ------------------------------------------------------------------------------------

    def _flows(self, columns: _Columns) -> list[str]:
        return [
            f'<path class="flow" data-from="{row.index - 1}" data-to="{row.index}" '
            f'd="M{columns.spine:g} {_y(row.index - 1):g}V{_y(row.index):g}"/>\n'
            for row in self.summary.layers
            if row.index - 1 in row.sources
        ]

    def _arcs(self, columns: _Columns) -> list[str]:
        parts = []
        for arc in sorted(self.arcs, key=lambda arc: -arc.lane):
            kind = "add" if self.kinds[arc.reader] == "add" else "route"
            ends = f'data-from="{arc.source}" data-to="{arc.reader}"'
            parts.append(
                f'<path class="arc {kind}" {ends} d="{_curve(columns, arc)}"/>'
                f'<path class="tip {kind}" {ends} d="M{columns.spine - 5:g} {_y(arc.reader):g}'
                'l-7 -3.5v7z"/>\n'
            )
        return parts

    def _dots(self, columns: _Columns) -> list[str]:
        dots = [
            f'<g class="plain"><circle class="dot" cx="{columns.spine:g}"'
            f' cy="{_y(NETWORK_INPUT):g}" r="4"/></g>\n'
        ]
        for row, kind in zip(self.summary.layers, self.kinds, strict=True):
            radius = 6.5 if kind == "head" else 5
            dots.append(
                f'<g class="{kind}"><circle class="dot" data-index="{row.index}"'
                f' cx="{columns.spine:g}" cy="{_y(row.index):g}" r="{radius}"/></g>\n'
            )
        return dots


def find_arcs(summary: Summary) -> list[Arc]:
    """The ways from a layer to one that is not the next, the shortest in the innermost lanes.

    Two arcs that share a lane touch at most where one begins and the other ends.
    """
    ways = {
        (source, row.index)
        for row in summary.layers
        for source in row.sources
        if source != row.index - 1
    }
    lanes: list[list[tuple[int, int]]] = []
    arcs = []
    for source, reader in sorted(ways, key=lambda way: (way[1] - way[0], way)):
        lane = next(
            (number for number, taken in enumerate(lanes) if _has_room(taken, source, reader)),
            len(lanes),
        )
        if lane == len(lanes):
            lanes.append([])
        insort(lanes[lane], (source, reader))
        arcs.append(Arc(source, reader, lane))
    return arcs


def _has_room(taken: Sequence[tuple[int, int]], source: int, reader: int) -> bool:
    """Whether a lane, whose arcs are sorted and apart, is free from ``source`` to ``reader``: two
    of them decide.
    """
    place = bisect(taken, (source, reader))
    return (place == 0 or taken[place - 1][1] <= source) and (
        place == len(taken) or reader <= taken[place][0]
    )


def _kind(layer: Layer, row: LayerSummary) -> str:
    """By what a layer does, not by its name: new sections need no word here."""
    if layer.is_head:
        return "head"
    if len(row.sources) > 1 or row.sources[0] != row.index - 1:
        return "add" if len(row.sources) > 1 and row.output == row.inputs[0] else "route"
    return "weights" if row.parameters else "plain"


# ---- pieces --------------------------------------------------------------------------------------


def _y(index: int) -> float:
    """The middle of a layer's row."""
    return (index + 1.5) * ROW


def _curve(columns: _Columns, arc: Arc) -> str:
    x, start, stop = columns.spine - 14 - arc.lane * columns.lane, _y(arc.source), _y(arc.reader)
    bend = min(columns.spine - x, 12.0)
    return (
        f"M{columns.spine:g} {start:g}H{x + bend:g}Q{x:g} {start:g} {x:g}"
        f" {start + bend:g}V{stop - bend:g}Q{x:g} {stop:g} {x + bend:g}"
        f" {stop:g}H{columns.spine - 8:g}"
    )


def _headings(columns: _Columns) -> str:
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
    return (
        "".join(
            f'<text class="quiet {anchor}" x="{x:g}" y="-9">{word}</text>'
            for anchor, x, word in words
        )
        + "\n"
    )


def _words(columns: _Columns, row: LayerSummary) -> str:
    y = _y(row.index) + 4
    shown = row.size if len(row.size) <= _DETAIL else row.size[: _DETAIL - 1] + "…"
    return (
        f'<text class="quiet end" x="{columns.index:g}" y="{y:g}">{row.index}</text><rect'
        f' class="pill" x="{columns.type:g}" y="{y - 13:g}" width="{columns.pill:g}" height="18"'
        f' rx="5"/><text class="type" x="{columns.type + 6:g}"'
        f' y="{y:g}">{html_text(row.type)}</text><text class="end" x="{columns.filters:g}"'
        f' y="{y:g}">{html_text(row.filters)}</text><text x="{columns.detail:g}"'
        f' y="{y:g}">{html_text(shown)}</text><text class="end" x="{columns.output:g}"'
        f' y="{y:g}">{row.output}</text>'
    )


def _bars(columns: _Columns, row: LayerSummary, most: Sequence[int]) -> str:
    y = _y(row.index)
    parts = []
    for x, value, text, largest in (
        (columns.parameters, row.parameters, f"{row.parameters:,}", most[0]),
        (columns.bflops, row.flops, f"{row.bflops:.3f}", most[1]),
    ):
        if value:
            parts.append(
                f'<text class="end" x="{x:g}" y="{y + 4:g}">{text}</text><rect class="track"'
                f' x="{x + 8:g}" y="{y - 3:g}" width="{_BAR}" height="6" rx="3"/><rect class="bar"'
                f' x="{x + 8:g}" y="{y - 3:g}" width="{max(1, _BAR * value / largest):.1f}"'
                ' height="6" rx="3"/>'
            )
    return "".join(parts)
