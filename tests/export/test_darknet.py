"""Networks exported as .cfg and .weights: read back, they give the same outputs."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

from darknet_builder.cfg.parser import parse_cfg
from darknet_builder.errors import CfgWarning, ExportError, WeightsError
from darknet_builder.export import export
from darknet_builder.export.export import export_network
from darknet_builder.export.settings import ExportSettings
from darknet_builder.layers.base import WeightsHeader
from darknet_builder.network.build import build_network
from darknet_builder.network.network import Network
from darknet_builder.weights.loader import load_weights
from tests.helpers.unit_networks import UNIT_CFGS

TREE = "animal -1\nthing -1\ncat 0\ndog 0\n"
TREE_CFG = (
    "[net]\nwidth=16\nheight=16\nchannels=3\n[convolutional]\nfilters=9\nsize=8\nstride=8\n"
    "[region]\nanchors=1,1\nclasses=4\nnum=1\ntree=lists/a.tree\nmap=lists/a.map\nsoftmax=1\n"
)


def random_network(text: str | Path, **keywords: str | int) -> Network:
    """Build a network with random weights and batch norm statistics."""
    torch.manual_seed(1)
    network = build_network(text, **keywords).eval()  # type: ignore[arg-type]
    for name, tensor in network.state_dict().items():
        if "running" in name:
            tensor.uniform_(0.2, 1.5)
    return network


def read(path: Path, **keywords: str) -> Network:
    """Build the network of both files."""
    network = build_network(path, initialize=False, **keywords).eval()  # type: ignore[arg-type]
    load_weights(network, path.with_suffix(".weights"))
    return network


@pytest.mark.parametrize("name", UNIT_CFGS)
def test_every_section_comes_back(name: str, tmp_path: Path) -> None:
    network = random_network(UNIT_CFGS[name])
    report = export_network(network, tmp_path / "a.cfg")
    assert report.paths == (tmp_path / "a.cfg", tmp_path / "a.weights") and report.difference == 0
    again = read(tmp_path / "a.cfg")
    state = network.state_dict()
    assert again.state_dict().keys() == state.keys()
    assert all(
        torch.equal(tensor, state[key])
        for key, tensor in again.state_dict().items()
        if "batches" not in key
    )
    assert again.blocks[1:] == network.blocks[1:]


@pytest.mark.parametrize(
    "name", ["yolo-heads", "conv-share", "conv-lstm", "recurrent", "conv-antialiasing"]
)
def test_folded_on_request(name: str, tmp_path: Path) -> None:
    network = random_network(UNIT_CFGS[name])
    report = export_network(network, tmp_path / "a.cfg", settings=ExportSettings(fold=True))
    assert report.difference < 1e-4
    assert "batch_normalize" not in (tmp_path / "a.cfg").read_text()
    assert read(tmp_path / "a.cfg").num_stored < network.num_stored


def test_the_header_goes_along(tmp_path: Path) -> None:
    network = random_network(UNIT_CFGS["route"])
    network.header = WeightsHeader(0, 2, 5, 123_456_789_012)
    export_network(network, tmp_path / "a.cfg")
    assert read(tmp_path / "a.cfg").header == network.header


def test_the_size_that_the_network_has_now(tmp_path: Path) -> None:
    network = random_network(UNIT_CFGS["yolo-heads"], width=128, height=64)
    export_network(network, tmp_path / "a.cfg")
    assert parse_cfg(tmp_path / "a.cfg")[0]["width"] == "128"
    assert read(tmp_path / "a.cfg").input_size == (128, 64)


def test_the_dialect_is_named(tmp_path: Path) -> None:
    text = (
        "[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\nfilters=4\nsize=1\nbatch_normalize=1\n"
        "[deconvolutional]\nfilters=2\nsize=2\nstride=2\nbatch_normalize=1\n"
    )
    network = random_network(text, dialect="pjreddie")
    export_network(network, tmp_path / "a.cfg", settings=ExportSettings(fold=True))
    assert (tmp_path / "a.cfg").read_text().startswith("# dialect: pjreddie\n[net]\nwidth=8\n")
    assert read(tmp_path / "a.cfg", dialect="pjreddie")(torch.rand(1, 3, 8, 8)).shape == (
        1,
        2,
        16,
        16,
    )


def test_all_weights_are_there_to_be_loaded(tmp_path: Path) -> None:
    """dontload and dontloadscales describe the original weights file, not the exported one."""
    text = (
        UNIT_CFGS["route"]
        .replace("filters=8\n", "filters=8\ndontload=1\n", 1)
        .replace("filters=12\n", "filters=12\ndontloadscales=1\n", 1)
    )
    assert text.count("dontload") == 2
    network = random_network(text)
    assert export_network(network, tmp_path / "a.cfg").difference == 0
    assert "dontload" not in (tmp_path / "a.cfg").read_text()


def test_files_that_the_cfg_names_are_laid_beside_it(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "lists").mkdir(parents=True)
    target.mkdir()
    (source / "lists" / "a.tree").write_text(TREE)
    (source / "lists" / "a.map").write_text("2\n3\n")
    (source / "a.cfg").write_text(TREE_CFG)
    network = random_network(source / "a.cfg")
    export_network(network, target / "b.cfg")
    assert sorted(path.name for path in target.iterdir()) == [
        "a.map",
        "a.tree",
        "b.cfg",
        "b.weights",
    ]
    assert (target / "a.tree").read_text() == TREE
    region = parse_cfg(target / "b.cfg")[-1]
    assert (region["tree"], region["map"]) == ("a.tree", "a.map")
    export_network(read(target / "b.cfg"), target / "c.cfg")  # a.tree and a.map are there already
    assert parse_cfg(target / "c.cfg")[-1]["tree"] == "a.tree"
    other = tmp_path / "other"
    other.mkdir()
    export_network(network, other / "d.safetensors")
    assert sorted(path.name for path in other.iterdir()) == ["a.map", "a.tree", "d.safetensors"]
    assert build_network(other / "d.safetensors").blocks[-1]["tree"] == "a.tree"


def test_what_was_warned_of_once_is_not_warned_of_again(tmp_path: Path) -> None:
    with pytest.warns(CfgWarning, match="unknown option"):
        network = random_network(
            UNIT_CFGS["route"].replace("filters=8\n", "filters=8\nfilter=9\n", 1)
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        export_network(network, tmp_path / "a.cfg")


def test_all_or_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.weights").mkdir()  # a folder that has the name of the weights file
    with pytest.raises(
        WeightsError,
        match=r"a\.weights: is a folder, but the weights file needs this name; rename the folder, "
        r"or give the cfg another name$",
    ):
        export_network(random_network(UNIT_CFGS["route"]), tmp_path / "a.cfg")
    assert [path.name for path in tmp_path.iterdir()] == ["a.weights"]


def test_a_difference_takes_the_laid_files_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def different(*args: object) -> None:
        raise ExportError("differs")

    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "a.tree").write_text(TREE)
    (tmp_path / "lists" / "a.map").write_text("2\n3\n")
    (tmp_path / "a.cfg").write_text(TREE_CFG)
    (tmp_path / "new").mkdir()
    monkeypatch.setattr(export, "compare_values", different)
    with pytest.raises(ExportError):
        export_network(random_network(tmp_path / "a.cfg"), tmp_path / "new" / "b.cfg")
    assert list((tmp_path / "new").iterdir()) == []


def test_another_file_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "a.tree").write_text(TREE)
    (tmp_path / "lists" / "a.map").write_text("2\n3\n")
    (tmp_path / "a.cfg").write_text(TREE_CFG)
    (tmp_path / "a.tree").write_text("other -1\n")
    with pytest.raises(
        WeightsError,
        match=r"a\.tree: exists and differs from .*lists/a\.tree, which the new cfg needs beside it; "
        r"export into another folder$",
    ):
        export_network(random_network(tmp_path / "a.cfg"), tmp_path / "b.cfg")
