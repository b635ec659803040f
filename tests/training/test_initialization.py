"""How weights begin."""

from __future__ import annotations

import math

import pytest
import torch

from darknet_builder.errors import InputError
from darknet_builder.network.build import build_network
from darknet_builder.training.initialization import InitRule, initialize

CFG = """[net]\nwidth=16\nheight=16\nchannels=3\n[convolutional]\nbatch_normalize=1\nfilters=64\nsize=3\nstride=2\npad=1
[convolutional]\nfilters=32\nsize=3\npad=1\n[connected]\noutput=50\n"""


@pytest.mark.parametrize(
    "method, deviation",
    [
        ("darknet", math.sqrt(2 / 576) / math.sqrt(3)),
        ("kaiming", math.sqrt(2 / 1.01 / 576)),
        ("xavier", math.sqrt(2 / (576 + 288))),
        ("normal:0,0.02", 0.02),
    ],
)
def test_spread(method: str, deviation: float) -> None:
    """The standard deviation is the method's; biases are 0, batch norms as they were."""
    torch.manual_seed(0)
    network = build_network(CFG)
    initialize(network, [InitRule.parse(method)])
    weight = network.get_parameter("layers.1.conv.weight")
    assert weight.std().item() == pytest.approx(deviation, rel=0.03)
    assert weight.mean().item() == pytest.approx(0, abs=deviation / 20)
    assert not network.get_parameter("layers.1.conv.bias").any()
    assert (network.get_parameter("layers.0.norm.weight") == 1).all()


def test_rules_by_section() -> None:
    """The last rule that is for a section counts; without one, its weights stay."""
    torch.manual_seed(0)
    network = build_network(CFG)
    before = network.get_parameter("layers.0.conv.weight").clone()
    initialize(network, [InitRule.parse("connected=xavier"), InitRule.parse("conn=normal:3,0.1")])
    connected = next(
        parameter
        for name, parameter in network.named_parameters()
        if name.startswith("layers.2") and parameter.dim() == 2
    )
    assert connected.mean().item() == pytest.approx(3, abs=0.01)
    assert torch.equal(network.get_parameter("layers.0.conv.weight"), before)


@pytest.mark.parametrize(
    "text, message",
    [
        (
            "kaimin",
            (
                "rule=kaimin: expected one of darknet, kaiming, xavier, normal, prior; did you mean"
                " 'kaiming'?"
            ),
        ),
        ("conected=xavier", "unknown section [conected]; did you mean 'connected'?"),
        ("normal", "rule=normal: expected normal:MEAN,STD, such as normal:0,0.01"),
        ("normal:0,-1", "expected a standard deviation above 0"),
        ("xavier:1", "xavier takes no numbers"),
        ("prior:1", "rule=prior:1: expected prior:P with P between 0 and 1, such as prior:0.01"),
        ("prior", "rule=prior: expected prior:P"),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    """Each with what was expected."""
    with pytest.raises(InputError) as error:
        InitRule.parse(text)
    assert message in str(error.value)


def test_a_section_that_is_not_there() -> None:
    """It would change nothing."""
    with pytest.raises(InputError, match=r"rule=lstm=xavier: the network has no \[lstm\]"):
        initialize(build_network(CFG), [InitRule.parse("lstm=xavier")])


def test_prior() -> None:
    """Every place begins with that objectness, in every anchor; nothing else changes."""
    torch.manual_seed(0)
    text = CFG.split("[connected]")[0].replace(
        "filters=32\nsize=3\npad=1", "filters={}\nsize=3\npad=1"
    )
    for head, values, index in (
        ("[yolo]\nmask=0,1\nanchors=2,2,4,4\nnum=2\nclasses=3\n", 8, 4),
        ("[Gaussian_yolo]\nmask=0,1\nanchors=2,2,4,4\nnum=2\nclasses=3\n", 12, 8),
        ("[region]\nanchors=2,2,4,4\nnum=2\nclasses=3\n", 8, 4),
    ):
        network = build_network(text.format(2 * values) + head)
        section = head[1 : head.index("]")]
        initialize(
            network, [InitRule.parse(f"{section}=prior:0.01"), InitRule.parse("normal:0,0.01")]
        )
        bias = network.get_parameter("layers.1.conv.bias").view(2, values)
        assert torch.sigmoid(bias[:, index]).tolist() == pytest.approx([0.01, 0.01])
        assert bias.count_nonzero() == 2


def test_prior_needs_a_head_and_a_plain_convolution() -> None:
    """One line each."""
    with pytest.raises(InputError, match=r"^rule=prior: expected a network with \[yolo\], "):
        initialize(build_network(CFG), [InitRule.parse("prior:0.01")])
    with pytest.raises(InputError, match="^rule=connected=prior: expected a network with"):
        initialize(build_network(CFG), [InitRule.parse("connected=prior:0.01")])
    text = CFG.split("[convolutional]\nfilters=32")[0].replace("filters=64", "filters=8")
    network = build_network(text + "[yolo]\nmask=0\nanchors=2,2\nnum=1\nclasses=3\n")
    with pytest.raises(
        InputError, match="^rule=prior: expected a convolution without batch_normalize before each"
    ):
        initialize(network, [InitRule.parse("prior:0.01")])
