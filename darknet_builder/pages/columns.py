"""Positions of rows and columns in the picture of a network."""

from __future__ import annotations

from dataclasses import dataclass

ROW = 24
"""Height of a row in pixels."""
TOP, MARGIN = 60, 16
"""Height of the title with the headings, and width of the outer margin, in pixels."""
_LETTER = 7.3
"""Width of a letter in pixels, in the widest of the usual fonts."""
_LANE_STEP, _LANES_WIDTH = 9.0, 150.0
"""Usual distance between two lanes, and maximum width of all lanes together, in pixels."""
BAR, HISTOGRAM = 60, 132
"""Widths of a bar and of a histogram in pixels."""
DETAIL = 18
"""Maximum number of letters shown for size and stride."""


@dataclass(frozen=True)
class Columns:
    """Horizontal positions of the columns, in pixels from the left edge.

    From left to right::

        lanes | spine  index  [type]  filters  detail  output  parameters ==  bflops ==  histogram

    Attributes:
        lane: distance between two lanes.
        spine: the line down the rows, with a dot for each layer.
        index: right edge of the layers' numbers.
        type: left edge of the types.
        pill: width of the coloured background of a type.
        filters: right edge of the numbers of filters.
        detail: left edge of size and stride.
        output: right edge of the output shapes.
        parameters: right edge of the numbers of parameters; their bars follow.
        bflops: right edge of the BFLOPs; their bars follow.
        histogram: left edge of the histograms; None without histograms.
        width: width of the picture.
    """

    lane: float
    spine: float
    index: float
    type: float
    pill: float
    filters: float
    detail: float
    output: float
    parameters: float
    bflops: float
    histogram: float | None
    width: float

    @classmethod
    def of(cls, lanes: int, letters: int, histograms: bool) -> Columns:
        """Compute the positions.

        Args:
            lanes: number of lanes, 1 or more.
            letters: length of the longest type.
            histograms: whether there is a column of histograms.
        """
        lane = min(_LANE_STEP, _LANES_WIDTH / lanes)
        spine = MARGIN + lanes * lane + 14
        type_left, pill = spine + 54, letters * _LETTER + 12
        filters = type_left + pill + 62
        output = filters + DETAIL * _LETTER + 106
        parameters = output + 90
        bflops = parameters + BAR + 66
        bflops_end = bflops + BAR + 8
        histogram = bflops + BAR + 28 if histograms else None
        right = bflops_end if histogram is None else histogram + HISTOGRAM
        return cls(
            lane=lane,
            spine=spine,
            index=type_left - 8,
            type=type_left,
            pill=pill,
            filters=filters,
            detail=filters + 14,
            output=output,
            parameters=parameters,
            bflops=bflops,
            histogram=histogram,
            width=right + MARGIN,
        )


def row_middle(index: int) -> float:
    """Return the vertical middle of a layer's row; index -1 is the network's input."""
    return (index + 1.5) * ROW
