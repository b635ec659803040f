"""Compute the smallest number of values that a network must hold at once."""

from __future__ import annotations

from collections import Counter

from darknet_builder.layers.base import NETWORK_INPUT
from darknet_builder.network.network import Network


def least_values(network: Network) -> int:
    """Return the number of values of one image that any implementation must hold at once.

    A layer that computes needs its inputs and its output at the same time. A route is only its
    inputs side by side, and a sum can overwrite an input that no later layer reads, so these two
    take no memory. Layers run in the cfg's order.
    """
    layers, plan = network.sequence(), network.output_plan
    # A buffer is named after the layer that allocated it.
    # owners: layer -> the buffers that its output lies in; users: buffer -> outputs that lie in it.
    #   0 convolutional           owners 0: {0}       allocates
    #   1 convolutional           owners 1: {1}       allocates
    #   2 route layers=0,1        owners 2: {0, 1}    allocates nothing
    owners: dict[int, set[int]] = {NETWORK_INPUT: {NETWORK_INPUT}}
    sizes = {NETWORK_INPUT: network.input_shape.size}
    users = Counter((NETWORK_INPUT,))
    alive, peak = network.input_shape.size, 0
    for index, released in zip(plan.steps, plan.released, strict=True):
        layer = layers[index]
        sources = layer.sources
        if layer.is_view or (layer.can_overwrite and sources[0] in released):
            read = sources if layer.is_view else sources[:1]
            owners[index] = set().union(*(owners[source] for source in read))
        else:
            owners[index], sizes[index] = {index}, layer.out_shape.size
        # Buffers without a user before are new; those without one after ``subtract`` are freed.
        alive += sum(sizes[owner] for owner in owners[index] if not users[owner])
        users.update(owners[index])
        peak = max(peak, alive)
        for old in released:
            users.subtract(owners[old])
            alive -= sum(sizes[owner] for owner in owners.pop(old) if not users[owner])
    return peak
