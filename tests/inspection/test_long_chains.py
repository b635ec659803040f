"""A chain of thousands of shortcuts: every walk over sources takes a step a source, and none
recurses.

A shortcut reads two layers, so a walk that follows every way back without noting where it was
doubles with each section: 40 of them would take longer than a day.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from darknet_builder import Detector, Network, build_network
from darknet_builder.cfg.parser import format_cfg, parse_cfg
from darknet_builder.engines.fused import FusedNetwork
from darknet_builder.export.traceable import describe, plan_sizes
from darknet_builder.inspection.adapt import Adaptation, adapt_cfg
from darknet_builder.inspection.check import check
from darknet_builder.inspection.memory import least_values
from darknet_builder.inspection.summary import summarize
from darknet_builder.losses.whole_network import loss_inputs, reached_layers
from darknet_builder.pages.diagram import Diagram, find_arcs
from darknet_builder.pages.network_page import make_page
from darknet_builder.training.optimizer import clip_weights, freeze, parameter_groups
from darknet_builder.weights.loader import load_weights, save_weights

DATA = Path(__file__).parents[1] / "data"
LENGTH = 5000
SECONDS = 60
"""Linear walks take 1 to 10 seconds for this length on one slow core; a quadratic one takes
minutes."""
CONVOLUTION = "[convolutional]\nfilters={}\nsize=1\nactivation=linear\n"
HEAD = "[yolo]\nmask=0\nanchors=4,4\nnum=1\nclasses={}\n"


def chain(length: int = LENGTH, filters: int = 6) -> str:
    """Two convolutions, then shortcuts that each read the two layers before them, then a head."""
    return (
        "[net]\nwidth=32\nheight=32\nchannels=3\nmax_batches=9\n"
        + CONVOLUTION.format(2) * 2
        + "[shortcut]\nfrom=-2\nactivation=relu\n" * length
        + CONVOLUTION.format(filters)
        + HEAD.format(1)
    )


@pytest.fixture(scope="module")
def network() -> Network:
    """The chain, built once. Without weights, the values stay finite."""
    network = build_network(chain()).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    return network


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    """Every test within the bound."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < SECONDS


def test_check_names_the_forgotten_filters() -> None:
    """The commonest mistake, behind the shortcuts."""
    errors = [
        finding.text for finding in check(DATA / "check-hangs.cfg") if finding.level == "error"
    ]
    assert len(errors) == 1 and "filters=255: the [yolo] of line" in errors[0]
    errors = [finding.text for finding in check(chain(filters=255)) if finding.level == "error"]
    assert (
        len(errors) == 1 and "needs filters=6 in the layer before it, which gives 255" in errors[0]
    )


def test_what_follows_from_a_section_that_cannot_be_built() -> None:
    """Behind an unknown section nothing is blamed, however long the chain."""
    text = chain(filters=255).replace("[convolutional]", "[unknown]", 1)
    errors = [finding.text for finding in check(text) if finding.level == "error"]
    assert errors == ["<text>:6: [unknown]: unknown section; a plugin can add sections"]


def test_a_chain_of_dropouts() -> None:
    """Each works in the memory of the one before: the last one owns it."""
    network = build_network(
        "[net]\ninputs=4\n[connected]\noutput=4\nactivation=linear\n"
        + "[dropout]\n" * LENGTH
        + "[route]\nlayers=0\n"
    )
    assert network.layers[-1].sources == (LENGTH,)


WALKS: dict[str, Callable[[Network, Path], Any]] = {
    "detect": lambda network, folder: Detector(network)(np.zeros((9, 9, 3), np.uint8)),
    "dump": lambda network, folder: (
        str(summarize(network)),
        json.dumps(summarize(network).to_dict()),
    ),
    "draw-network": lambda network, folder: make_page(network, Diagram.of(network, "chain")),
    "train": lambda network, folder: (_step(network),),
    "optimize": lambda network, folder: FusedNetwork(network)(torch.zeros(1, 3, 32, 32)),
    "weights": lambda network, folder: (
        save_weights(network, folder / "a.weights"),
        load_weights(network, folder / "a.weights"),
    ),
    "export": lambda network, folder: describe(
        network, "raw", ["one"], "stretch", plan_sizes(network, 1, False, False)
    ),
    "adapt-cfg": (
        lambda network, folder: adapt_cfg(chain(), parse_cfg(chain()), Adaptation(2)).text()
    ),
    "format": lambda network, folder: parse_cfg(format_cfg(network.blocks)),
    "memory": lambda network, folder: (least_values(network), network.peak_values()),
}


def _step(network: Network) -> None:
    """What a step of a training walks over, but for the loss itself."""
    network.train()
    parameter_groups(network)
    freeze(network)
    reached_layers(network)
    loss_inputs(network, torch.zeros(1, 3, 32, 32))[0].sum().backward()
    clip_weights(network)
    network.eval()


@pytest.mark.parametrize("name", WALKS)
def test_walk(name: str, network: Network, tmp_path: Path) -> None:
    """What each command calls, over the whole chain."""
    assert WALKS[name](network, tmp_path) is not None


def test_arcs_of_a_chain(network: Network) -> None:
    """Neighbouring arcs overlap, so they alternate between two lanes."""
    arcs = find_arcs(summarize(network))
    assert len(arcs) == LENGTH and {arc.lane for arc in arcs} == {0, 1}
