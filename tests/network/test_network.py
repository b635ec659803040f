"""The network: what it returns, what it keeps, how it begins, and what it refuses."""

from __future__ import annotations

import copy
import gc
import math
import weakref
from pathlib import Path

import pytest
import torch

from darknet_builder import Classifier, Detector, export_network
from darknet_builder.cfg.parser import parse_cfg
from darknet_builder.errors import CfgError, InputError
from darknet_builder.layers.base import Layer
from darknet_builder.network.build import build_network

CHAIN = (
    "[net]\nwidth=8\nheight=6\nchannels=3\n" + "[convolutional]\nfilters=5\nactivation=leaky\n" * 4
)
CLASSIFIER = f"{CHAIN}[avgpool]\n[softmax]\n[cost]\ntype=sse\n"
DETECTOR = (
    f"{CHAIN}[convolutional]\nfilters=7\nactivation=linear\n[yolo]\nanchors=1,2\nnum=1\nclasses=2\n"
    "[route]\nlayers=-3\n[convolutional]\nfilters=14\nactivation=linear\n"
    "[yolo]\nanchors=1,2,3,4\nnum=2\nclasses=2\n"
)


def test_a_detector_returns_its_raw_maps() -> None:
    """One a head; ``layer_outputs`` has the heads' own arithmetic on top."""
    network = build_network(DETECTOR).eval()
    x = torch.rand(2, 3, 6, 8)
    raw, outputs = network(x), network.layer_outputs(x)
    assert [tuple(part.shape) for part in raw] == [(2, 7, 6, 8), (2, 14, 6, 8)]
    assert torch.equal(raw[0], outputs[4]) and torch.equal(network.heads[0](raw[0]), outputs[5])
    assert [layer.section for layer in network.heads] == ["yolo", "yolo"]
    network.layers[5] = copy.deepcopy(network.layers[5])
    assert network.heads[0] is network.layers[5]
    assert network.input_size == (8, 6)


def test_a_classifier_returns_its_last_answer() -> None:
    """A [cost] at the end is passed by, though it has its place among the layers."""
    network = build_network(CLASSIFIER).eval()
    x = torch.rand(2, 3, 6, 8)
    assert torch.allclose(network(x).sum(1), torch.ones(2))
    assert network.layer_outputs(x)[-1].abs().max() == 0
    assert len(network.layers) == 7


def test_names_are_darknets_indices() -> None:
    """``named_modules`` reads ``layers.4.conv``."""
    network = build_network(DETECTOR)
    assert "layers.4.conv" in dict(network.named_modules())
    assert network.layers[7].sources == (6,) and network.layers[6].sources == (3,)
    assert [layer.sources for layer in network.sequence()][:2] == [(-1,), (0,)]


def test_outputs_are_released_after_their_last_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain never holds more than what goes in and what comes out of a layer."""
    network = build_network(CHAIN).eval()
    alive: list[weakref.ref[torch.Tensor]] = []
    most = 0
    original = Layer.__call__

    def watched(layer: Layer, *inputs: torch.Tensor) -> torch.Tensor:
        nonlocal most
        output = original(layer, *inputs)
        alive.append(weakref.ref(output))
        gc.collect()
        most = max(most, sum(reference() is not None for reference in alive))
        return output

    monkeypatch.setattr(Layer, "__call__", watched)
    with torch.no_grad():
        network(torch.rand(1, 3, 6, 8))
    assert most == 2
    assert network.peak_values() == 2 * 5 * 6 * 8


def test_sizes_override_the_cfg() -> None:
    """And only those."""
    network = build_network(DETECTOR, width=16, height=10)
    assert network.input_shape.batched(1) == (1, 3, 10, 16)
    with pytest.raises(
        InputError,
        match=r"^expected an input of shape \(B, 3, 10, 16\), got \(1, 3, 6, 8\); "
        r"use build_network\(cfg, width=\.\.\., height=\.\.\.\) for another size$",
    ):
        network(torch.rand(1, 3, 6, 8))
    with pytest.raises(InputError, match=r"^width=0: expected 1 or more pixels$"):
        build_network(DETECTOR, width=0)


def test_weights_fit_every_size() -> None:
    """A fully convolutional network has the same tensors at every size; a connected layer has
    not."""
    network = build_network(DETECTOR).eval()
    larger = build_network(DETECTOR, width=16, height=10, initialize=False).eval()
    larger.load_state_dict(network.state_dict())
    assert [tuple(part.shape[2:]) for part in larger(torch.rand(1, 3, 10, 16))] == [(10, 16)] * 2
    assert larger.layers[0].out_shape.width == 16
    x = torch.rand(1, 3, 6, 8)
    assert all(
        torch.equal(*pair) for pair in zip(network.outputs(x), larger.outputs(x), strict=True)
    )
    flat = f"{CHAIN}[connected]\noutput=2\n"
    with pytest.raises(RuntimeError, match="size mismatch for layers.4.linear.weight"):
        build_network(flat, width=16, height=10).load_state_dict(build_network(flat).state_dict())


def test_the_old_names_of_outputs_still_work() -> None:
    network = build_network(DETECTOR).eval()
    x = torch.rand(1, 3, 6, 8)
    with pytest.warns(DeprecationWarning, match=r"^Network\.answers is now Network\.outputs$"):
        assert torch.equal(network.answers(x)[1], network.outputs(x)[1])
    with pytest.warns(
        DeprecationWarning, match=r"^Network\.answer_indices is now Network\.output_indices$"
    ):
        assert network.answer_indices == network.output_indices == (4, 7)
    with pytest.warns(
        DeprecationWarning, match=r"^Network\.answer_plan is now Network\.output_plan$"
    ):
        assert network.answer_plan is network.output_plan
    optimized = network.optimized()
    with pytest.warns(
        DeprecationWarning, match=r"^OptimizedNetwork\.answers is now OptimizedNetwork\.outputs$"
    ):
        assert torch.equal(optimized.answers(x)[1], optimized.outputs(x)[1])
    with pytest.warns(DeprecationWarning, match=r"^Head\.facts is now Head\.metadata$"):
        assert network.heads[0].facts() == network.heads[0].metadata()


def test_the_cfg_may_be_a_path_text_or_blocks(tmp_path: Path) -> None:
    """All build the same."""
    path = tmp_path / "net.cfg"
    path.write_text(DETECTOR)
    counts = {
        build_network(cfg).num_stored for cfg in (path, str(path), DETECTOR, parse_cfg(DETECTOR))
    }
    assert len(counts) == 1


def test_unknown_dialect() -> None:
    """With the nearest known one."""
    with pytest.raises(
        InputError,
        match=r"^dialect 'pjredie' is unknown; expected one of alexeyab, pjreddie; "
        r"did you mean 'pjreddie'\?$",
    ):
        build_network(CHAIN, dialect="pjredie")


def test_initialization_is_darknets() -> None:
    """U(-1, 1) * sqrt(2 / fan_in), biases 0, batch norm 1, 0."""
    torch.manual_seed(0)
    text = "[net]\nwidth=8\nheight=6\nchannels=3\n[convolutional]\nbatch_normalize=1\nfilters=200\nsize=3\npad=1\n"
    layer = build_network(text).layers[0]
    bound = math.sqrt(2 / 27)
    weight = layer.conv.weight.detach()
    assert bound * 0.99 < weight.abs().max() <= bound
    assert abs(float(weight.std()) - bound / math.sqrt(3)) < 0.01
    assert layer.conv.bias is None
    assert layer.norm.weight.min() == layer.norm.weight.max() == 1
    assert layer.norm.bias.abs().max() == layer.norm.running_mean.abs().max() == 0
    assert (layer.norm.momentum, layer.norm.eps) == (0.01, 1e-5)


def test_too_large_networks_are_refused_before_they_take_memory() -> None:
    """The limit can be raised."""
    text = "[net]\nwidth=64\nheight=64\nchannels=3\n[convolutional]\nfilters=64\nsize=3\npad=1\n"
    with pytest.raises(
        CfgError,
        match=r"^<text>:1: \[net\]: the network needs 0\.0 GiB for its weights and 0\.0 GiB "
        r"for one image, more than the limit of 0\.0 GiB; if that is intended, raise it with "
        r"build_network\(\.\.\., memory_limit=BYTES\)$",
    ):
        build_network(text, memory_limit=2**20)
    assert build_network(text, memory_limit=2**21).num_stored == 64 * 28


def test_no_tensor_stays_without_memory() -> None:
    """Built on the meta device, given memory at the end; constants keep their values."""
    text = "[net]\nwidth=8\nheight=6\nchannels=3\n[maxpool]\nsize=2\nstride=2\nantialiasing=1\n"
    network = build_network(
        text + "[implicit]\nfilters=4\n[convolutional]\nfilters=2\n", initialize=False
    )
    assert not [
        name
        for name, tensor in [*network.named_parameters(), *network.named_buffers()]
        if tensor.is_meta
    ]
    assert torch.allclose(network.layers[0].blur.kernel.sum((2, 3)), torch.ones(3, 1))


@pytest.mark.parametrize("kind", [torch.float16, torch.float64])
def test_weights_of_another_type(kind: torch.dtype, tmp_path: Path) -> None:
    """They are refused where images or files in float32 meet them; the network itself runs."""
    network = build_network("[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\n[avgpool]\n")
    network = network.eval().to(kind)
    words = f"the network's weights are {str(kind)[6:]}; call network.float"
    with pytest.raises(InputError, match=words):
        export_network(network, tmp_path / "small.pt")
    with pytest.raises(InputError, match=words):
        Classifier(network)
    assert network(torch.rand(1, 3, 8, 8, dtype=kind)).dtype == kind
    assert not list(tmp_path.iterdir())


def test_a_module_around_a_network() -> None:
    """Such as ``torch.compile`` and ``DataParallel`` return."""
    network = torch.nn.DataParallel(build_network(DETECTOR))
    for function in (build_network, Detector):
        with pytest.raises(InputError, match="expected a cfg or a Network, got a DataParallel; gi"):
            function(network)  # type: ignore[operator]
