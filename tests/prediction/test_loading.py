"""Loading: a cfg and its weights become a network that is ready to run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from darknet_builder.engines.base import Engine
from darknet_builder.engines.choice import make_engine
from darknet_builder.engines.names import (
    BACKEND_NAMES,
    installed_backends,
    precision_name,
    short_precision,
)
from darknet_builder.engines.optimized import OptimizedNetwork
from darknet_builder.engines.torch_engine import RecurrentEngine, TorchEngine
from darknet_builder.errors import InputError
from darknet_builder.export.export import export_network
from darknet_builder.prediction.loading import (
    build_unloaded,
    choose_runner,
    load_into,
    load_network,
)
from darknet_builder.training.settings import TrainSettings
from tests.engines.test_optimized import SMALL, make
from tests.helpers.toy_detector import toy_files, toy_network
from tests.helpers.unit_networks import UNIT_CFGS


def same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    """Return whether all tensors are equal."""
    theirs = second.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in first.state_dict().items())


def test_load_network(tmp_path: Path) -> None:
    """A cfg with weights, a model file and a Network are the same network, in eval mode."""
    cfg, weights, _ = toy_files(tmp_path)
    export_network(toy_network(), tmp_path / "toy.pt")
    loaded = load_network(cfg, weights)
    assert not loaded.training and same(loaded, load_network(tmp_path / "toy.pt"))
    assert load_network(loaded) is loaded
    assert load_network(cfg, weights, width=64, height=96).input_size == (64, 96)
    assert load_network(cfg, weights, device=torch.device("cpu")).device.type == "cpu"


def test_networks_without_weights(tmp_path: Path) -> None:
    """They are refused, left as they are, or initialized as ``build_network`` does."""
    cfg, weights, _ = toy_files(tmp_path)
    with pytest.raises(InputError, match=r"^weights: expected the path of a \.weights file$"):
        load_network(cfg)
    assert not load_network(cfg, required=False).training
    torch.manual_seed(1)
    first = load_network(cfg, initialize=True)
    torch.manual_seed(1)
    assert same(first, build_unloaded(cfg, initialize=True)) and not same(
        first, load_network(cfg, weights)
    )
    before = torch.get_rng_state()
    assert same(load_network(cfg, weights, initialize=True), load_network(cfg, weights))
    assert torch.equal(before, torch.get_rng_state())  # nothing is drawn where there are weights


def test_two_sets_of_weights(tmp_path: Path) -> None:
    """The error comes before anything is read."""
    export_network(toy_network(), tmp_path / "toy.pt")
    with pytest.raises(InputError, match=r"toy\.pt holds weights already; leave no\.weights out$"):
        build_unloaded(tmp_path / "toy.pt", "no.weights")
    with pytest.raises(
        InputError, match="^a Network is already built and loaded; it cannot be given weights"
    ):
        build_unloaded(toy_network(), "no.weights")


def test_the_two_halves(tmp_path: Path) -> None:
    """Options can be checked against the network before its weights are read."""
    cfg, weights, _ = toy_files(tmp_path)
    network = build_unloaded(cfg, weights).train()
    assert network.heads
    load_into(network, cfg, weights)
    assert same(network, load_network(cfg, weights)) and not network.training


@pytest.mark.parametrize(
    ("built", "precision", "backend", "itself"),
    [
        (True, "float32", None, True),
        (True, "float32", "torch", False),
        (True, "auto", None, False),
        (False, "float32", None, False),
    ],
)
def test_choose_runner(built: bool, precision: str, backend: str | None, itself: bool) -> None:
    """A given Network runs itself, unless something else is requested."""
    network = toy_network().eval()
    runner = choose_runner(network, network if built else "toy.cfg", precision, backend, 1)
    assert (runner is network) == itself and isinstance(runner, OptimizedNetwork) != itself


# ---- how an engine describes itself --------------------------------------------------------------


@pytest.mark.parametrize(
    "backend", installed_backends([name for name in BACKEND_NAMES if name != "compile"])
)
def test_the_contract_of_an_engine(backend: str) -> None:
    """Each engine has a description, says whether it compiles, and returns raw maps in float32."""
    network = make(SMALL.format(activation="leaky"))
    engine: Engine = make_engine(network, backend, "float32")
    x = torch.rand(network.input_shape.batched(1))
    with torch.inference_mode():
        wanted = [(raw.shape, torch.float32) for raw in network.outputs(x)]
        assert [(raw.shape, raw.dtype) for raw in engine(x)] == wanted
    assert engine.detail and engine.compiles == (engine.detail == "graph")


def test_which_engines_compile() -> None:
    """Only these are worth warming up."""
    network = toy_network().eval()
    assert (
        TorchEngine(network, "float32", "graph").compiles
        and not TorchEngine(network, "float32", "plain").compiles
    )
    recurrent = make_engine(
        load_network(UNIT_CFGS["conv-lstm"], initialize=True), "torch", "float32"
    )
    assert isinstance(recurrent, RecurrentEngine) and not recurrent.compiles


# ---- words ---------------------------------------------------------------------------------------


def test_one_vocabulary_of_precisions(tmp_path: Path) -> None:
    """Torch's names are used; the short ones mean the same and are written to checkpoints."""
    assert [precision_name(word) for word in ("fp32", "bf16", "bfloat16", "fp8")] == [
        "float32",
        "bfloat16",
        "bfloat16",
        "fp8",
    ]
    assert (short_precision("float32"), short_precision("bfloat16")) == ("fp32", "bf16")
    assert TrainSettings(tmp_path, precision="bf16").precision == "bfloat16"
    assert (
        TrainSettings(tmp_path).precision
        == TrainSettings(tmp_path, precision="fp32").precision
        == "float32"
    )
