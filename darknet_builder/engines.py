"""Whether a network remembers frames, which decides what can run it."""

from __future__ import annotations

from darknet_builder.network import Network


def has_memory(network: Network) -> bool:
    """Whether one frame's answer depends on the frames before it."""
    return any(hasattr(layer, "reset_state") for layer in network.layers)
