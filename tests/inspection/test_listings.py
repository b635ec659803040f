"""Listings of what a network and a cfg consist of."""

from __future__ import annotations

import pytest

from darknet_builder.cfg.parser import parse_cfg
from darknet_builder.errors import InputError
from darknet_builder.inspection.listings import list_blocks
from darknet_builder.inspection.network_listings import list_network
from darknet_builder.network.build import build_network
from darknet_builder.network.network import Network

CFG = """[net]
width=8
height=8
channels=3
[convolutional]
batch_normalize=1
filters=2
size=3
pad=1
activation=leaky
[maxpool]
size=2
stride=2
"""


@pytest.fixture
def network() -> Network:
    """A convolution with batch norm and a maxpool."""
    return build_network(CFG, initialize=False)


def test_a_pattern_without_wildcards_names_whole_parts(network: Network) -> None:
    """With them, the whole name; by a type's name too."""
    modules = list_network(network, "modules")
    assert [row.names[0] for row in modules.matching("conv")] == ["layers.0.conv"]
    assert [row.names[0] for row in modules.matching("layers.?")] == ["layers.0", "layers.1"]
    assert [row.names for row in modules.matching("BatchNorm2d")] == [
        ("layers.0.norm", "BatchNorm2d")
    ]
    assert len(modules.matching(None)) == len(modules.rows)


def test_totals_are_those_of_the_rows_that_are_shown(network: Network) -> None:
    """Beside those of all."""
    listing = list_network(network, "parameters")
    shown = listing.matching("conv.weight")
    data = listing.to_dict(shown)
    assert data["totals"] == {"entries": 1, "values": 54, "bytes": 216}
    assert data["totals_unfiltered"]["entries"] == len(listing.rows) > 1
    assert data["rows"] == [
        {"name": "layers.0.conv.weight", "shape": [2, 3, 3, 3], "values": 54, "dtype": "float32"}
    ]
    assert f"1 of {len(listing.rows)} parameters, 54 of " in listing.text(shown)


def test_the_parts_of_one_module(network: Network) -> None:
    """Their names remain those within the network."""
    assert [row.names[0] for row in list_network(network, "children", "layers.0").rows][
        0
    ] == "layers.0.conv"
    assert (
        list_network(network, "children")
        .text(list_network(network, "children").rows)
        .endswith("1 child, 58 parameters\n")
    )


def test_blocks_need_no_network() -> None:
    """[net] has no index."""
    listing = list_blocks(parse_cfg(CFG))
    assert [row.data["layer"] for row in listing.rows] == [None, 0, 1]
    assert listing.total(listing.rows) == {"entries": 3, "values": 10}
    assert (
        listing.text(listing.matching("maxpool"))
        == "# layers.1, line 11\n[maxpool]\nsize=2\nstride=2\n\n# 1 of 3 blocks, 2 of 10 options\n"
    )


def test_mistakes(network: Network) -> None:
    """The argument and its value first, then what is wrong with it."""
    with pytest.raises(
        InputError, match=r"^pattern=max: matches none of the 2 layers \(names are like layers.1\)"
    ):
        list_network(network, "summary").matching("max")
    with pytest.raises(
        InputError, match=r"^of=layers.9: the network has no such module; did you mean "
    ):
        list_network(network, "modules", "layers.9")
    with pytest.raises(InputError, match="^what=blocks: expected one of modules, "):
        list_network(network, "blocks")
