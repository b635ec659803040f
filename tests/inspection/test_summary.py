"""The table of layers: its rows, its text, its plain data, and totals equal to Darknet's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from darknet_builder import Network, build_network, find_unregistered, summarize
from tests.conftest import GOLDEN, read_meta
from tests.helpers.pack_cfgs import PackNetwork, pack_networks
from tests.helpers.unit_networks import UNIT_CFGS

CFG = """
[net]
width=32
height=16
channels=3

[convolutional]
batch_normalize=1
filters=8
size=3
stride_x=2
stride_y=1
pad=1
activation=leaky

[convolutional]
filters=8
groups=8
size=3
pad=1
activation=leaky

[route]
layers=-1,-2

[maxpool]
size=2
stride=2

[connected]
output=10
activation=linear
"""
TABLE = """\
layer  type           filters  size / stride                input            output  parameters  BFLOPs
    0  convolutional        8  3 x 3 / 2x1     32 x  16 x    3 ->   16 x  16 x    8         248   0.000
    1  convolutional      8/8  3 x 3 / 1       16 x  16 x    8 ->   16 x  16 x    8          80   0.000
    2  route                   1 0                             ->   16 x  16 x   16
    3  maxpool                 2 x 2 / 2       16 x  16 x   16 ->    8 x   8 x   16               0.000
    4  connected           10                   8 x   8 x   16 ->                10      10,250
5 layers, 10,578 parameters (10,562 trainable), 0.000 BFLOPs
"""
# Darknet's names for its own kinds of layers, where they are not those of its cfgs (AlexeyAB's
# layer.h).
RECORDED_NAMES = {
    "activation": ("active",),
    "reorg": ("reorg_old", "reorg"),
    "reorg3d": ("reorg",),
    "Gaussian_yolo": ("gaussian_yolo",),
}


def test_text() -> None:
    assert str(summarize(build_network(CFG))) == TABLE


def test_some_rows_only() -> None:
    summary = summarize(build_network(CFG))
    assert (
        summary.table(summary.layers[:2]).splitlines()[-1]
        == "2 of 5 layers, 328 of 10,578 parameters (312 trainable), 0.000 of 0.000 BFLOPs"
    )


def test_plain_data() -> None:
    data = json.loads(json.dumps(summarize(build_network(CFG)).to_dict()))
    assert data["input"] == [3, 16, 32]
    assert data["layers"][2] == {
        "index": 2,
        "type": "route",
        "filters": "",
        "size": "1 0",
        "sources": [1, 0],
        "inputs": [[8, 16, 16], [8, 16, 16]],
        "output": [16, 16, 16],
        "parameters": 0,
        "trainable": 0,
        "flops": 0,
    }
    assert data["layers"][4]["output"] == [10]
    flops = 2 * 8 * 3 * 9 * 256 + 2 * 8 * 9 * 256 + 4 * 16 * 64
    assert data["totals"] == {
        "layers": 5,
        "parameters": 10578,
        "trainable": 10562,
        "bflops": flops / 1e9,
    }


def test_weights_of_an_earlier_layer_count_once() -> None:
    network = build_network(UNIT_CFGS["conv-share"])
    summary = summarize(network)
    assert (summary.layers[2].parameters, summary.layers[2].trainable) == (0, 0)
    assert summary.trainable == sum(parameter.numel() for parameter in network.parameters())


def test_aliases_have_the_main_name() -> None:
    network = build_network(CFG.replace("[convolutional]", "[conv]").replace("[maxpool]", "[max]"))
    assert str(summarize(network)) == TABLE


def _check(network: PackNetwork) -> Network:
    """Totals, names and sizes as recorded from Darknet, which keeps the size before the blur in
    blurred layers; returns the network."""
    built = network.build()
    summary = summarize(built)
    assert summary.parameters == network.meta["parameters"]
    if network.meta.get("bflops") is not None:
        assert f"{summary.bflops:.3f}" == f"{network.meta['bflops']:.3f}"
    for row, recorded in zip(summary.layers, network.meta["layers"], strict=True):
        assert recorded["type"] in RECORDED_NAMES.get(row.type, (row.type,)), (
            network.name,
            row.index,
        )
        if (
            recorded["out_c"]
            and not row.output.flat
            and getattr(built.layers[row.index], "blur", None) is None
        ):
            assert (row.output.channels, row.output.height, row.output.width) == (
                recorded["out_c"],
                recorded["out_h"],
                recorded["out_w"],
            ), (network.name, row.index)
    return built


@pytest.mark.parametrize("name", UNIT_CFGS)
def test_totals_are_darknets(name: str) -> None:
    meta = read_meta(GOLDEN / "layers" / f"{name}.npz")
    _check(PackNetwork(name, meta, UNIT_CFGS[name], "alexeyab"))


@pytest.mark.pack
def test_totals_are_darknets_for_the_whole_pack(pack: Path, pytestconfig: pytest.Config) -> None:
    """And nothing in a network is hidden from ``parameters()``, since all of them are built here."""
    networks = list(pack_networks(pack, pytestconfig))
    assert networks
    for network in networks:
        assert find_unregistered(_check(network)) == [], network.name
