"""Batch norm folded into the weights before it: the same answers, and a network that no longer has
any."""

from __future__ import annotations

from pathlib import Path

import generator
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from darknet_builder.layers.convolutional import Convolutional
from darknet_builder.network.build import build_network
from darknet_builder.network.folding import fold_batch_norm
from darknet_builder.network.network import Network
from darknet_builder.weights.loader import load_weights
from tests.conftest import GOLDEN, read_fixture
from tests.helpers.unit_networks import UNIT_CFGS

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def recorded(name: str, folder: Path) -> tuple[Network, Tensor]:
    """A unit network with the weights and the first frame that it was recorded with."""
    meta, _ = read_fixture(GOLDEN / "layers" / f"{name}.npz")
    network = build_network(UNIT_CFGS[name], initialize=False).eval()
    generator.write_weights(
        folder / "a.weights", [segment[1:] for segment in meta["segments"]], meta["seed"]
    )
    load_weights(network, folder / "a.weights")
    frames = generator.input_image(meta["seed"] + 1, network.input_shape.batched(meta["frames"]))
    return network, torch.from_numpy(frames)


def answers(network: Network, frames: Tensor) -> np.ndarray:
    """All answers to frames that come one after the other."""
    network.reset_state()
    with torch.no_grad():
        return np.concatenate(
            [
                answer.flatten().numpy()
                for frame in frames
                for answer in network.outputs(frame[None])
            ]
        )


@pytest.mark.parametrize("name", UNIT_CFGS)
def test_folding_changes_no_answer(name: str, tmp_path: Path) -> None:
    network, frames = recorded(name, tmp_path)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    folded = fold_batch_norm(network)
    wanted, found = answers(network, frames), answers(folded, frames)
    assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max() + 1e-6
    assert before.keys() == network.state_dict().keys()
    assert all(torch.equal(before[key], tensor) for key, tensor in network.state_dict().items())


@pytest.mark.parametrize("name", UNIT_CFGS)
def test_a_folded_network_has_no_batch_norm_in_its_cfg_either(name: str, tmp_path: Path) -> None:
    folded = fold_batch_norm(recorded(name, tmp_path)[0])
    left = [module for module in folded.modules() if isinstance(module, BATCH_NORMS)]
    assert len(left) == (
        1 if name in ("lrn-batchnorm", "vectors") else 0
    )  # a [batchnorm] section of its own stays
    assert not [block for block in folded.blocks if "batch_normalize" in block]
    again = build_network(folded.blocks)
    assert {key: tensor.shape for key, tensor in again.state_dict().items()} == {
        key: tensor.shape for key, tensor in folded.state_dict().items()
    }


def test_the_arithmetic() -> None:
    """weight * s / sqrt(v + eps), b - s m / sqrt(v + eps)."""
    network = build_network(
        "[net]\nwidth=2\nheight=2\nchannels=1\n[convolutional]\nsize=1\nbatch_normalize=1\n"
    )
    layer = network.layers[0]
    assert (
        isinstance(layer, Convolutional)
        and layer.norm is not None
        and layer.norm.running_mean is not None
    )
    with torch.no_grad():
        layer.conv.weight.fill_(3)
        for tensor, value in (
            (layer.norm.weight, 2),
            (layer.norm.bias, 0.5),
            (layer.norm.running_mean, 7),
            (layer.norm.running_var, 4 - 1e-5),
        ):
            assert tensor is not None
            tensor.fill_(value)
    folded = fold_batch_norm(network).layers[0]
    assert (
        isinstance(folded, Convolutional) and folded.norm is None and folded.conv.bias is not None
    )
    assert folded.conv.weight.item() == pytest.approx(3, abs=1e-6)
    assert folded.conv.bias.item() == pytest.approx(0.5 - 7, abs=1e-5)


def test_shared_weights_are_folded_once(tmp_path: Path) -> None:
    network, _ = recorded("conv-share", tmp_path)
    folded = fold_batch_norm(network)
    owner, user = folded.layers[1], folded.layers[2]
    assert (
        isinstance(owner, Convolutional)
        and isinstance(user, Convolutional)
        and user.conv is owner.conv
    )
    original = network.layers[1]
    assert isinstance(original, Convolutional) and original.norm is not None
    assert original.norm.running_var is not None
    factor = original.norm.weight / (original.norm.running_var + original.norm.eps).sqrt()
    torch.testing.assert_close(owner.conv.weight, original.conv.weight * factor.view(-1, 1, 1, 1))


def test_a_transposed_convolution_and_binary_weights() -> None:
    text = (
        "[net]\nwidth=6\nheight=6\nchannels=3\n"
        "[deconvolutional]\nfilters=5\nsize=3\nstride=2\npad=1\nbatch_normalize=1\nactivation=leaky\n"
        "[convolutional]\nxnor=1\nfilters=4\nsize=3\npad=1\nbatch_normalize=1\nactivation=leaky\n"
    )
    torch.manual_seed(0)
    network = build_network(text, dialect="pjreddie").eval()
    for module in network.modules():
        if isinstance(module, BATCH_NORMS):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                assert tensor is not None
                nn.init.uniform_(tensor, 0.5, 1.5)
            nn.init.constant_(module.weight[:1], -1.2)  # turns the signs of a filter round
    x = torch.rand(1, 3, 6, 6)
    with torch.no_grad():
        torch.testing.assert_close(fold_batch_norm(network)(x), network(x), rtol=1e-4, atol=1e-5)


def test_a_training_network_stays_in_training() -> None:
    network = build_network(UNIT_CFGS["route"]).train()
    folded = fold_batch_norm(network)
    assert all(module.training for module in network.modules())
    assert not any(module.training for module in folded.modules())


@pytest.mark.parametrize("name", UNIT_CFGS)
def test_a_folded_network_shares_no_memory_with_the_first(name: str, tmp_path: Path) -> None:
    network = recorded(name, tmp_path)[0]
    shared = storages(network) & storages(fold_batch_norm(network))
    assert not shared


def storages(network: Network) -> set[int]:
    """The address of each parameter's and buffer's memory."""
    tensors = [*network.parameters(), *network.buffers()]
    return {tensor.untyped_storage().data_ptr() for tensor in tensors if tensor.numel()}


def test_folding_copies_no_weights_that_it_replaces(monkeypatch: pytest.MonkeyPatch) -> None:
    network = build_network(UNIT_CFGS["route"])  # each of its weights has a batch norm after it
    copied: list[nn.Parameter] = []

    def copy_tensor(tensor: nn.Parameter, memo: dict[int, object]) -> nn.Parameter:
        copied.append(tensor)
        return nn.Parameter(tensor.detach().clone())

    monkeypatch.setattr(nn.Parameter, "__deepcopy__", copy_tensor)
    fold_batch_norm(network)
    assert not copied
