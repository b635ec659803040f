"""Model files with floats that no network can compute with."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from darknet_builder import build_network
from darknet_builder.cfg.model_files import write_model_file
from darknet_builder.cfg.model_metadata import ModelMetadata
from darknet_builder.errors import WeightsError
from darknet_builder.inspection.check import check
from darknet_builder.network.network import Network
from darknet_builder.weights.loader import load_weights

CFG = """[net]
width=8
height=8
channels=3
[convolutional]
filters=2
activation=linear
[convolutional]
batch_normalize=1
filters=4
activation=leaky
"""
NOT_FINITE = "the training diverged or the file is damaged"
VARIANCE = "a variance plus 1e-05 must be above 0: the file belongs to another cfg"


def with_value(name: str, value: float) -> Network:
    """Return a network with one value in the last place but one of a tensor."""
    network = build_network(CFG)
    with torch.no_grad():
        network.state_dict()[name].view(-1)[-2] = value
    return network


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("0.conv.bias", math.nan, f"float 0 is nan, in NAME of layer 0 [{{}}]; {NOT_FINITE}"),
        ("1.conv.weight", -math.inf, f"float 6 is -inf, in NAME of layer 1 [{{}}]; {NOT_FINITE}"),
        ("1.norm.running_var", math.inf, f"float 2 is inf, in NAME of layer 1 [{{}}]; {NOT_FINITE}"),
        ("1.norm.running_var", -1e-5, f"float 2 is -1e-05, in NAME of layer 1 [{{}}]; {VARIANCE}"),
        ("1.norm.running_var", -3, f"float 2 is -3, in NAME of layer 1 [{{}}]; {VARIANCE}"),
    ],
)  # fmt: skip
def test_refused(tmp_path: Path, suffix: str, name: str, value: float, message: str) -> None:
    """With the place, and before anything is written into a network; ``check`` says the same."""
    path = tmp_path / f"a{suffix}"
    write_model_file(path, with_value(f"layers.{name}", value), ModelMetadata(CFG))
    expected = f"{path}: {message}".replace("{}", "convolutional").replace("NAME", f"layers.{name}")
    reads: tuple[Callable[[], object], ...] = (
        lambda: build_network(path),
        lambda: load_weights(network, path),
    )
    network = build_network(CFG)
    before = [tensor.clone() for tensor in network.state_dict().values()]
    for read in reads:
        with pytest.raises(WeightsError) as error:
            read()
        assert str(error.value) == expected
    assert all(map(torch.equal, before, network.state_dict().values()))
    assert [finding.text for finding in check(path)] == [expected]


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_hair_below_zero(tmp_path: Path, suffix: str) -> None:
    """Published variances down to -9.9e-6 are valid."""
    path = tmp_path / f"a{suffix}"
    write_model_file(path, with_value("layers.1.norm.running_var", -9.9e-6), ModelMetadata(CFG))
    loaded = build_network(path).state_dict()["layers.1.norm.running_var"]
    assert loaded[-2] == torch.tensor(-9.9e-6)


def test_too_large_for_float32(tmp_path: Path) -> None:
    """A float64 that becomes infinite."""
    network = build_network(CFG)
    state = {name: tensor.double() for name, tensor in network.state_dict().items()}
    state["layers.0.conv.bias"][1] = 1e300
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(WeightsError, match=r"float 1 is inf, in layers\.0\.conv\.bias of layer 0 "):
        load_weights(network, tmp_path / "a.pt")


def test_whole_numbers_in_place_of_floats(tmp_path: Path) -> None:
    """They are not converted."""
    state = build_network(CFG).state_dict()
    state["layers.0.conv.bias"] = torch.ones(2, dtype=torch.int64)
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(WeightsError, match=r"a\.pt: layers\.0\.conv\.bias is int64, the network "):
        load_weights(build_network(CFG), tmp_path / "a.pt")
