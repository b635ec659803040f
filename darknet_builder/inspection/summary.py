"""Summarise a network in a table like the one that Darknet prints when it loads a cfg."""

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
    """One row of the table.

    Attributes:
        index: Darknet's index of the layer.
        type: the section's main name.
        filters: as text; ``32/8`` for 32 filters in 8 groups.
        size: kernel and stride, or the most telling option of another section.
        sources: indices of the layers it reads; -1 is the network's input.
        inputs: shapes of the sources' outputs, in the same order.
        output: shape of its output.
        parameters: number of floats in a ``.weights`` file.
        trainable: number of parameters that an optimiser may change. Running statistics of batch
            norm do not count, nor do weights that an earlier layer shares.
        flops: operations for one image, by Darknet's formula.

    Example:
        >>> from darknet_builder import build_network, summarize
        >>> row = summarize(build_network("yolov4-tiny", initialize=False)).layers[0]
        >>> row.type, row.size, str(row.output)
        ('convolutional', '3 x 3 / 2', '208 x 208 x 32')
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
        input: shape of one input, without the batch.
        layers: one row per layer.

    Example:
        >>> from darknet_builder import build_network, summarize
        >>> summary = summarize(build_network("yolov4-tiny", initialize=False))
        >>> print(summary.table(summary.layers[:1]), end="")  # doctest: +ELLIPSIS
        layer  type ...
            0  convolutional ...
        1 of 38 layers, 992 of 6,062,814 parameters (928 trainable), 0.075 of 6.910 BFLOPs
    """

    input: Shape
    layers: tuple[LayerSummary, ...]

    @property
    def parameters(self) -> int:
        """Number of floats in the ``.weights`` file, batch norm statistics included."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def trainable(self) -> int:
        """Number of parameters that an optimiser may change."""
        return sum(layer.trainable for layer in self.layers)

    @property
    def bflops(self) -> float:
        """Billions of operations for one image, by Darknet's formulas."""
        return sum(layer.flops for layer in self.layers) / 1e9

    def totals(self, rows: Sequence[LayerSummary] | None = None) -> dict[str, int | float]:
        """Return the totals by name, of some rows or of all."""
        part = self if rows is None else Summary(self.input, tuple(rows))
        return {
            "layers": len(part.layers),
            "parameters": part.parameters,
            "trainable": part.trainable,
            # FLOPs are whole numbers, so 9 decimals of billions are exact.
            "bflops": round(part.bflops, 9),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return values that JSON can hold.

        Shapes are [channels, height, width], or [values] for a vector.
        """
        return {
            "input": _shape_data(self.input),
            "layers": [_row_data(layer) for layer in self.layers],
            "totals": self.totals(),
        }

    def table(self, rows: Sequence[LayerSummary] | None = None) -> str:
        """Return the table as text.

        Args:
            rows: layers to show; None for all. The last line has the totals of the rows shown, then
                of the whole network if that has more.
        """
        shown = self.layers if rows is None else tuple(rows)
        lines = align_columns([_HEADINGS, *(_cells(row) for row in shown)], left=_LEFT)
        return "\n".join([*lines, _footer(Summary(self.input, shown), self)]) + "\n"

    def __str__(self) -> str:
        return self.table()


def summarize(network: Network) -> Summary:
    """Summarise a network: type, filters, size, shapes, parameters and BFLOPs of each layer.

    The totals are Darknet's own: the floats of a ``.weights`` file, and ``Total BFLOPS``.

    Example:
        >>> from darknet_builder import build_network
        >>> summarize(build_network("yolov4-tiny", initialize=False)).totals()["bflops"]
        6.910299136
    """
    layers = network.sequence()
    shapes = {NETWORK_INPUT: network.input_shape} | {
        index: layer.out_shape for index, layer in enumerate(layers)
    }
    rows: list[LayerSummary] = []
    counted: set[int] = set()
    for index, (layer, block) in enumerate(zip(layers, network.blocks[1:], strict=True)):
        filters, size = layer.summary_cells()
        # Shared weights (share_index=) count for the first layer that has them.
        new = [parameter for parameter in layer.parameters() if id(parameter) not in counted]
        counted.update(map(id, new))
        inputs = tuple(shapes[source] for source in layer.sources)
        rows.append(
            LayerSummary(
                index=index,
                # Not layer.section: from_block may return a class without one, such as
                # DepthMaxpool.
                type=find_layer_class(block, network.dialect).section,
                filters=filters,
                size=size,
                sources=layer.sources,
                inputs=inputs,
                output=layer.out_shape,
                parameters=layer.num_stored(),
                trainable=sum(parameter.numel() for parameter in new),
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
    """Return a row as text.

    If several layers are read, ``size`` lists them and the input is left out, as in Darknet.
    """
    source = f"{_shape_text(layer.inputs[0])} ->" if len(layer.inputs) == 1 else "->"
    parameters = f"{layer.parameters:,}" if layer.parameters else ""
    bflops = f"{layer.bflops:.3f}" if layer.flops else ""
    return (
        str(layer.index),
        layer.type,
        layer.filters,
        layer.size,
        source,
        _shape_text(layer.output),
        parameters,
        bflops,
    )


def _shape_text(shape: Shape) -> str:
    """Return width, height and channels in Darknet's columns."""
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
