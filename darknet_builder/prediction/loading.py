"""From a cfg and its weights to a network that is ready to run: built, with weights, on its device,
in eval mode.

``build_unloaded`` and ``load_into`` are the two halves, for those who check their options against
the network before its weights are read; ``load_network`` is both, ``choose_runner`` adds the fast
path.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from darknet_builder.cfg.block import Block
from darknet_builder.cfg.model_metadata import is_model_file, refuse_second_weights
from darknet_builder.engines.optimized import OptimizedNetwork
from darknet_builder.errors import InputError
from darknet_builder.network.build import build_network
from darknet_builder.network.network import Network
from darknet_builder.weights.loader import load_weights

ModelSource = str | Path | Sequence[Block] | Network
"""A path, the text, Blocks, a model file that ``export`` wrote, or a Network that is built and
loaded."""


def load_network(
    source: ModelSource,
    weights: str | Path | None = None,
    *,
    width: int | None = None,
    height: int | None = None,
    dialect: str | None = None,
    device: torch.device | None = None,
    required: bool = True,
    initialize: bool = False,
) -> Network:
    """Build a network, load its weights, and put it into eval mode.

    Args:
        source: see ``ModelSource``.
        weights: the ``.weights`` file; None with a Network, or with a file that holds weights too.
        width: of the network's input in pixels; None is the cfg's.
        height: likewise.
        dialect: whose rules hold, as for ``build_network``.
        device: where it is to run; None leaves it where it is.
        required: refuse a network without weights.
        initialize: draw random weights for a network without.

    Raises:
        DarknetError: the kinds that ``build_network`` and ``load_weights`` raise; ``InputError``
            for a network with two sets of weights, or with none where they are required.
    """
    network = build_unloaded(
        source, weights, width=width, height=height, dialect=dialect, initialize=initialize
    )
    load_into(network, source, weights, device=device, required=required and not initialize)
    return network


def build_unloaded(
    source: ModelSource,
    weights: str | Path | None = None,
    *,
    width: int | None = None,
    height: int | None = None,
    dialect: str | None = None,
    initialize: bool = False,
) -> Network:
    """Build a network; ``weights`` are not read yet. A Network is returned as it is.

    Args:
        source, weights, width, height, dialect, initialize: see ``load_network``.

    Raises:
        DarknetError: the kinds that ``build_network`` raises; ``InputError`` for a network with two
            sets of weights, or for options that a built Network does not take.
    """
    if isinstance(source, Network):
        if weights is not None or width is not None or height is not None:
            raise InputError(
                "a Network is built and loaded already: it takes no weights, width or height here"
            )
        return source
    refuse_second_weights(source, weights)
    return build_network(
        source,
        width=width,
        height=height,
        dialect=dialect,
        initialize=initialize and weights is None,
    )


def load_into(
    network: Network,
    source: ModelSource,
    weights: str | Path | None = None,
    *,
    device: torch.device | None = None,
    required: bool = True,
) -> None:
    """Load the weights into what ``build_unloaded`` returned, put it into eval mode, and move it to
    its device.

    Args:
        network: built from ``source``.
        source, weights, device, required: see ``load_network``.

    Raises:
        DarknetError: the kinds that ``load_weights`` raises; ``InputError`` where required weights
            are missing.
    """
    if weights is not None:
        load_weights(network, weights)
    elif required and not isinstance(source, Network) and not is_model_file(source):
        raise InputError("weights: expected the path of a .weights file")
    network.eval()
    if device is not None:
        network.to(device)


def choose_runner(
    network: Network, source: ModelSource, precision: str, backend: str | None, batch: int
) -> Network | OptimizedNetwork:
    """Return the network itself, or the fast path: a copy for inference alone.

    Args:
        network: loaded, in eval mode.
        source: what it was built from. A Network runs itself unless something else is asked for, so
            that it may still be trained.
        precision: as for ``Network.optimized``.
        backend: likewise; None is ``torch``, or the network itself.
        batch: images of a call.

    Raises:
        InputError: as ``Network.optimized``.
        MissingExtraError: likewise.
    """
    if isinstance(source, Network) and backend is None and precision == "float32":
        return network
    return network.optimized(precision, backend or "torch", batch)
