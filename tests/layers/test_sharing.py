"""``share_index``: another layer's numbers with a geometry of the section's own
(convolutional_layer.c:545)."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from darknet_builder import build_network
from darknet_builder.engines.fused import FusedNetwork, available_methods
from darknet_builder.errors import CfgError, CfgWarning
from darknet_builder.network.folding import fold_batch_norm
from darknet_builder.network.network import Network

NET = "[net]\nwidth=12\nheight=10\nchannels=4\nbatch=2\n"
OWN = "[convolutional]\nfilters=4\nsize=3\npad=1\nactivation=linear\n"
GEOMETRIES = [
    "dilation=2",
    "dilation=3",
    "stride=2",
    "stride_x=2\nstride_y=1",
    "pad=0\npadding=2",
    "stride=2\nantialiasing=1",
    "stride=2\nantialiasing=2",
]


def shared_cfg(geometry: str, norm: str = "batch_normalize=1\n") -> str:
    """A layer and one with its numbers; the geometry stands first, because the first of two equal
    keys counts."""
    fresh = "".join(
        line + "\n" for line in OWN.splitlines()[1:] if line.split("=")[0] not in geometry
    )
    return f"{NET}{OWN}{norm}[convolutional]\nshare_index=0\n{geometry}\n{norm}{fresh}"


def randomized(network: Network) -> Network:
    """With statistics and scales that are not those of a new network."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand_like(tensor) + (0.5 if "norm" in name else -0.5))
    return network


def by_hand(network: Network, x: Tensor) -> Tensor:
    """The second layer before batch norm, from the first one's weights and the second one's own
    options."""
    block, weight = network.blocks[2], network.layers[0].conv.weight  # type: ignore[union-attr]
    dilation = block.get_int("dilation", 1)
    padding = 1 if block.get_flag("pad") else block.get_int("padding", 0)
    stride = block.get_int("stride", 1)
    strides = block.get_int("stride_y", stride), block.get_int("stride_x", stride)
    return F.conv2d(
        x,
        weight,
        None,
        (1, 1) if "antialiasing" in block else strides,
        padding * dilation,
        dilation,
    )


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_gradients_add_up_in_one_set_of_weights(geometry: str) -> None:
    """The gradient of both layers is the sum of each one's, and the statistics are one layer's,
    updated by both."""
    network = randomized(build_network(shared_cfg(geometry))).train()
    first, second = network.sequence()
    assert len(list(network.parameters())) == 3 and first.norm is second.norm  # type: ignore[attr-defined]
    x = torch.rand(2, 4, 10, 12)
    mean = first.norm.running_mean.clone()  # type: ignore[attr-defined]
    outputs = network.layer_outputs(x)
    seen = F.conv2d(x, first.conv.weight, padding=1).mean((0, 2, 3))  # type: ignore[attr-defined]
    expected = 0.99 * (0.99 * mean + 0.01 * seen) + 0.01 * by_hand(network, outputs[0]).mean(
        (0, 2, 3)
    )
    assert torch.allclose(first.norm.running_mean, expected, atol=1e-6)  # type: ignore[attr-defined]
    gradients = [
        torch.autograd.grad(
            output.square().sum(),
            first.conv.weight,  # type: ignore[attr-defined]
            retain_graph=True,
        )[0]
        for output in outputs
    ]
    sum(output.square().sum() for output in outputs).backward()  # type: ignore[union-attr]
    assert torch.allclose(first.conv.weight.grad, sum(gradients), rtol=1e-4, atol=1e-4)  # type: ignore


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_folded_and_fused_answer_alike(geometry: str) -> None:
    """Folding and the fast path keep each layer's geometry."""
    network = randomized(build_network(shared_cfg(geometry))).eval()
    x = torch.rand(2, 4, 10, 12)
    with torch.no_grad():
        expected = network(x)
        assert torch.allclose(fold_batch_norm(network)(x), expected, atol=1e-5)
        for method in available_methods():
            fused = FusedNetwork(network, method=method)
            assert fused(x)[0].shape == expected.shape
            assert torch.allclose(fused(x)[0], expected, atol=1e-4), method


def test_binary_weights_with_a_geometry_of_its_own() -> None:
    """``binary=1`` and ``xnor=1`` take the numbers alone as well."""
    for kind, padding in (("binary=1", 0.0), ("xnor=1", -1.0)):
        network = randomized(build_network(shared_cfg(f"stride=2\n{kind}", norm=""))).eval()
        first, second = network.sequence()
        x = torch.rand(1, 4, 10, 12) - 0.5
        weight = first.conv.weight  # type: ignore[attr-defined]
        weight = weight.sign() * weight.abs().mean((1, 2, 3), keepdim=True)
        read = x.sign() if padding else x
        expected = F.conv2d(
            F.pad(read, (1, 1, 1, 1), value=padding), weight, first.conv.bias, stride=2
        )  # type: ignore[attr-defined]
        assert torch.allclose(second(x), expected, atol=1e-5), kind


def test_shared_weights_stand_once_in_a_file() -> None:
    """The file holds one set, whatever the geometries."""
    network = build_network(shared_cfg("dilation=2"))
    assert [layer.num_stored() for layer in network.sequence()] == [4 * 4 * 9 + 4 * 4, 0]
    assert "stride=1, activation=linear, share_index=0, padding=1, dilation=2" in repr(
        network.layers[1]
    )


def test_the_layer_before_a_dropout_can_be_shared() -> None:
    """``share_index`` names a layer; a dropout takes over that layer's output, not its weights."""
    network = build_network(f"{NET}{OWN}[dropout]\n{OWN}share_index=0\n")
    assert network.layers[2].conv is network.layers[0].conv  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("first", "second", "has"),
    [("batch_normalize=1\n", "", "has batch norm"), ("", "batch_normalize=1\n", "has none")],
)
def test_batch_norm_comes_with_the_weights(first: str, second: str, has: str) -> None:
    """Where the sections disagree, Darknet's detector does as the shared layer says
    (network.c:1304)."""
    with pytest.warns(
        CfgWarning,
        match=rf": \[convolutional\].*layer 0, whose weights are shared, {has}; this layer",
    ):
        network = build_network(
            f"{NET}{OWN}{first or chr(10)}[convolutional]\nfilters=4\nsize=3\npad=1\n"
            f"share_index=0\n{second}"
        )
    assert network.layers[1].norm is network.layers[0].norm  # type: ignore[union-attr]


def test_shared_weights_need_the_same_channels() -> None:
    """Weights of one shape can belong to other channels and groups: Darknet refuses them too."""
    text = f"{NET}{OWN}groups=2\n[route]\nlayers=0\ngroups=2\ngroup_id=0\n{OWN}share_index=0\n"
    with (
        pytest.raises(
            CfgError,
            match="layer 0 reads 4 channels, this one 2: layers that share weights need the same",
        ),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        build_network(text)
