"""List the runs of floats in a ``.weights`` file, in the order of ``weight_layout``."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from darknet_builder.errors import InputError
from darknet_builder.layers.base import NORM_KINDS, Layer, WeightsHeader, tensor_kind
from darknet_builder.network.network import Network


@dataclass(frozen=True)
class Entry:
    """One run of floats in a weights file.

    Attributes:
        index: index of the layer.
        layer: the layer with that index.
        name: name of the tensor in ``weight_layout``.
        tensor: the tensor that the floats belong to.
        start: number of floats in the file before this run.
    """

    index: int
    layer: Layer
    name: str
    tensor: Tensor
    start: int

    @property
    def stop(self) -> int:
        """Number of floats in the file up to the end of this run."""
        return self.start + self.tensor.numel()


def weight_entries(
    network: Network,
    header: WeightsHeader | None = None,
    until: int | None = None,
    *,
    loading: bool = False,
) -> list[Entry]:
    """Return every run of floats of the network's weights file, in order.

    Args:
        network: a network; its weights need not be loaded.
        header: header of the file; None for the network's own.
        until: only layers before this index; None for all.
        loading: leave out what ``dontload`` and ``dontloadscales`` exclude from loading
            (parser.c:2274).

    Raises:
        InputError: if ``until`` is not the index of a layer.

    Example:
        >>> from darknet_builder import build_network
        >>> network = build_network("yolov4-tiny", initialize=False)
        >>> [(entry.name, entry.start) for entry in weight_entries(network, until=1)]
        [('bias', 0), ('scale', 32), ('mean', 64), ('var', 96), ('weight', 128)]
    """
    layers = network.sequence()
    if until is not None and not 0 < until <= len(layers):
        raise InputError(f"expected a layer from 1 to {len(layers)}", argument="until", value=until)
    entries: list[Entry] = []
    for index, layer in enumerate(layers[:until]):
        for name, tensor in layer.weight_layout(header or network.header):
            absent = layer.options.dontload or (
                layer.options.dontloadscales and tensor_kind(name) in NORM_KINDS
            )
            if not (loading and absent):
                # A tensor that is left out takes no room in the file: the next one starts in its
                # place.
                start = entries[-1].stop if entries else 0
                entries.append(Entry(index, layer, name, tensor, start))
    return entries
