"""The least number of values that a network holds at once."""

from __future__ import annotations

from collections import Counter

from darknet_builder.layers.base import NETWORK_INPUT
from darknet_builder.network.network import Network


def least_values(network: Network) -> int:
    """The most values of one image that must be alive at once, whatever the implementation, in the
    layers' order.

    A layer that computes needs its inputs and its output together. A route is its inputs side by
    side, and a sum can replace an input that nobody reads later, so neither takes anything.
    """
    layers, plan = network.sequence(), network.output_plan
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
        alive += sum(sizes[owner] for owner in owners[index] if not users[owner])
        users.update(owners[index])
        peak = max(peak, alive)
        for old in released:
            users.subtract(owners[old])
            alive -= sum(sizes[owner] for owner in owners.pop(old) if not users[owner])
    return peak
