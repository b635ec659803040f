"""What a network consists of: a table like the one that Darknet prints when it loads a cfg."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from darknet_builder.layers.base import NETWORK_INPUT, find_layer_class
from darknet_builder.network.network import Network
from darknet_builder.shapes import Shape
from darknet_builder.support.text import align_columns

_HEADINGS = ("layer", "type", "filters", "size / stride", "input", "output", "parameters", "BFLOPs")
_LEFT = ("type", "size / stride")


@dataclass(frozen=True)
class LayerSummary:
    """One row.

    Attributes:
        index: Darknet's own.
        type: the section's main name.
        filters: as text; ``32/8`` for 32 filters in 8 groups.
        size: kernel and stride, or whatever else says most of the section.
        sources: the layers it reads; -1 is the network's input.
        inputs: what they give, in the same order.
        output: what it gives.
        parameters: how many floats it has in a ``.weights`` file.
        trainable: how many of them an optimiser may change; batch norm's running statistics are not
            among them, nor are weights that an earlier layer owns.
        flops: operations for one image, by Darknet's formula.
    """

    index: int
    type: str
    filters: str
    size: str
    sources: tuple[int, ...]
    inputs: tuple[Shape, ...]
    output: Shape
    parameters: int
    trainable: int
    flops: int

    @property
    def bflops(self) -> float:
        """Billions of operations for one image."""
        return self.flops / 1e9


@dataclass(frozen=True)
class Summary:
    """A network's layers and their totals; ``str(summary)`` is the table.

    Attributes:
        input: what each image must be.
        layers: one row a layer.
    """

    input: Shape
    layers: tuple[LayerSummary, ...]

    @property
    def parameters(self) -> int:
        """How many floats the ``.weights`` file has: Darknet's count, batch norm statistics
        included.
        """
        return sum(layer.parameters for layer in self.layers)

    @property
    def trainable(self) -> int:
        """How many of them an optimiser may change."""
        return sum(layer.trainable for layer in self.layers)

    @property
    def bflops(self) -> float:
        """Billions of operations for one image, by Darknet's formulas."""
        return sum(layer.flops for layer in self.layers) / 1e9

    def totals(self, rows: Sequence[LayerSummary] | None = None) -> dict[str, int | float]:
        """The totals by name, of some rows or of all."""
        part = self if rows is None else Summary(self.input, tuple(rows))
        return {
            "layers": len(part.layers),
            "parameters": part.parameters,
            "trainable": part.trainable,
            "bflops": round(part.bflops, 9),
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON; shapes are [channels, height, width], or [values] of a vector."""
        return {
            "input": _shape_data(self.input),
            "layers": [_row_data(layer) for layer in self.layers],
            "totals": self.totals(),
        }

    def table(self, rows: Sequence[LayerSummary] | None = None) -> str:
        """The table as text.

        Args:
            rows: which layers to show, all by default; the last line's totals are those of the rows
                shown, and of the whole network behind them where that is more.
        """
        shown = self.layers if rows is None else tuple(rows)
        lines = align_columns([_HEADINGS, *(_cells(row) for row in shown)], left=_LEFT)
        return "\n".join([*lines, _footer(Summary(self.input, shown), self)]) + "\n"

    def __str__(self) -> str:
        return self.table()


def summarize(network: Network) -> Summary:
    """The table of a network: index, type, filters, size and stride, input, output, parameters,
    BFLOPs.

    The totals are Darknet's own: the floats of a ``.weights`` file, and ``Total BFLOPS``.
    """
    layers = network.sequence()
    shapes = {NETWORK_INPUT: network.input_shape} | {
        index: layer.out_shape for index, layer in enumerate(layers)
    }
    rows: list[LayerSummary] = []
    counted: set[int] = set()
    for index, (layer, block) in enumerate(zip(layers, network.blocks[1:], strict=True)):
        filters, size = layer.summary_cells()
        own = [parameter for parameter in layer.parameters() if id(parameter) not in counted]
        counted.update(id(parameter) for parameter in own)
        rows.append(
            LayerSummary(
                index=index,
                type=find_layer_class(block, network.dialect).section,
                filters=filters,
                size=size,
                sources=layer.sources,
                inputs=tuple(shapes[source] for source in layer.sources),
                output=layer.out_shape,
                parameters=layer.num_stored(),
                trainable=sum(parameter.numel() for parameter in own),
                flops=layer.flops(),
            )
        )
    return Summary(network.input_shape, tuple(rows))


def _shape_data(shape: Shape) -> list[int]:
    return list(shape.batched(1)[1:])


def _row_data(layer: LayerSummary) -> dict[str, Any]:
    data = asdict(layer)
    data.update(
        sources=list(layer.sources),
        inputs=[_shape_data(shape) for shape in layer.inputs],
        output=_shape_data(layer.output),
    )
    return data


def _cells(layer: LayerSummary) -> tuple[str, ...]:
    """A row as text; where several layers are read, ``size`` names them and the input is left out,
    as in Darknet.
    """
    source = f"{_shape_text(layer.inputs[0])} ->" if len(layer.inputs) == 1 else "->"
    return (
        str(layer.index),
        layer.type,
        layer.filters,
        layer.size,
        source,
        _shape_text(layer.output),
        f"{layer.parameters:,}" if layer.parameters else "",
        f"{layer.bflops:.3f}" if layer.flops else "",
    )


def _shape_text(shape: Shape) -> str:
    """Darknet's columns: width, height, channels."""
    return str(shape) if shape.flat else f"{shape.width:>3} x{shape.height:>4} x{shape.channels:>5}"


def _footer(shown: Summary, whole: Summary) -> str:
    if len(shown.layers) == len(whole.layers):
        layers, parameters, bflops = (
            f"{len(whole.layers)}",
            f"{whole.parameters:,}",
            f"{whole.bflops:.3f}",
        )
    else:
        layers = f"{len(shown.layers)} of {len(whole.layers)}"
        parameters = f"{shown.parameters:,} of {whole.parameters:,}"
        bflops = f"{shown.bflops:.3f} of {whole.bflops:.3f}"
    return (
        f"{layers} layers, {parameters} parameters ({shown.trainable:,} trainable), {bflops} BFLOPs"
    )
