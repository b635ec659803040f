"""The runs of floats of a ``.weights`` file, in the order of ``weight_layout``."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from darknet_builder.errors import InputError
from darknet_builder.layers.base import NORM_KINDS, Layer, WeightsHeader, tensor_kind
from darknet_builder.network.network import Network


@dataclass(frozen=True)
class Entry:
    """One run of floats of a weights file.

    Attributes:
        index: of the layer.
        layer: itself.
        name: of the tensor, as ``weight_layout`` calls it.
        tensor: where the floats belong.
        start: how many floats of the file stand before it.
    """

    index: int
    layer: Layer
    name: str
    tensor: Tensor
    start: int

    @property
    def stop(self) -> int:
        """How many floats of the file stand before its end."""
        return self.start + self.tensor.numel()


def weight_entries(
    network: Network,
    header: WeightsHeader | None = None,
    until: int | None = None,
    *,
    loading: bool = False,
) -> list[Entry]:
    """Every run of floats of the network's weights file, in order.

    Args:
        network: whose.
        header: of the file; the network's own by default.
        until: only the layers before this index.
        loading: leave out what ``dontload`` and ``dontloadscales`` say is not in a file to be
            loaded (parser.c:2274).

    Raises:
        InputError: for an ``until`` that is no layer.
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
                entries.append(
                    Entry(index, layer, name, tensor, entries[-1].stop if entries else 0)
                )
    return entries
