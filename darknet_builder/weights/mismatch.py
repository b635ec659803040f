"""Explain a ``.weights`` file whose length does not fit the network."""

from __future__ import annotations

from darknet_builder.errors import WeightsError
from darknet_builder.network.network import Network
from darknet_builder.weights.entries import Entry


def check_length(
    network: Network, source: str, available: int, entries: list[Entry], until: int | None
) -> None:
    """Compare the number of floats in a file with the network's.

    Args:
        network: the network that the file is loaded into.
        source: path of the file.
        available: number of floats in the file.
        entries: what is to be loaded.
        until: index of the first layer that is not loaded; None if all are.

    Raises:
        WeightsError: with the tensor in which the file ends, or the likely cause of a surplus.
    """
    needed = entries[-1].stop if entries else 0
    if available < needed:
        raise WeightsError(_too_short(network, available, entries), path=source)
    if available > needed and until is None:
        raise WeightsError(_too_long(network, needed, available - needed), path=source)


def _too_short(network: Network, available: int, entries: list[Entry]) -> str:
    broken = next(entry for entry in entries if entry.stop > available)
    block = network.blocks[broken.index + 1]
    missing = entries[-1].stop - available
    text = (
        f"ends at float {available}, {missing} too early: in {broken.name} "
        f"{tuple(broken.tensor.shape)} of layer {broken.index} ({block.where()}); "
    )
    # A cut-off such as yolov4.conv.137 ends exactly where a layer begins.
    at_layer_start = entries[entries.index(broken) - 1].index != broken.index
    if available and broken.start == available and at_layer_start:
        return (
            text + "it holds exactly the layers before: load such a cut-off with"
            f" until={_first_without_weights(network, broken.index)}, or the download is incomplete"
        )
    return text + (
        _fitting_classes(network, -missing) or "the file is incomplete, or belongs to another cfg"
    )


def _first_without_weights(network: Network, index: int) -> int:
    """Return the smallest cut-off that contains the same weights as one at ``index``."""
    layers = network.sequence()
    while index > 1 and not layers[index - 1].num_stored():
        index -= 1
    return index


def _too_long(network: Network, needed: int, surplus: int) -> str:
    cause = _fitting_classes(network, surplus) or "it belongs to another cfg"
    return f"{surplus} floats are left over after the {needed} that the network takes; {cause}"


def _fitting_classes(network: Network, difference: int) -> str:
    """Explain the most common cause: the file was trained for another number of classes.

    Returns:
        A text with the number of classes that fits, or an empty string if none does.
    """
    heads = [head for head in network.heads if head.num_anchors]
    if not heads or len({head.classes for head in heads}) > 1:
        return ""
    # One class more adds num_anchors filters to the convolution before each head, each with its
    # bias and weights.
    per_class = 0
    layers = network.sequence()
    for head in heads:
        source = layers[head.sources[0]]
        per_class += head.num_anchors * source.num_stored() // source.out_shape.channels
    classes = heads[0].classes + difference // per_class if per_class else 0
    # Another difference is not a whole number of classes, so the cause is another one.
    if classes < 1 or difference % per_class:
        return ""
    return (
        f"it fits this cfg with classes={classes} (and filters to match) instead of"
        f" {heads[0].classes}"
    )
