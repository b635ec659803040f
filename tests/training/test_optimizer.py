"""Which parameters learn, how fast and with how much decay."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.optim import SGD, Adam

from darknet_builder.errors import InputError
from darknet_builder.losses.whole_network import Targets, loss_inputs, network_loss
from darknet_builder.network.build import build_network
from darknet_builder.network.network import Network
from darknet_builder.training.optimizer import (
    RatePattern,
    clip_weights,
    freeze,
    frozen_layers,
    make_optimizer,
    parameter_groups,
)

NET = """[net]
width=8
height=8
channels=3
batch=2
learning_rate=.1
decay=.01
momentum=.9
{net}
"""
LAYERS = """[convolutional]
batch_normalize=1
filters=4
size=3
pad=1
activation=leaky
{first}
[convolutional]
filters=4
size=1
activation=linear
{second}
[shortcut]
from=-2
weights_type=per_feature
weights_normalization=relu
activation=linear
{third}
[connected]
output=5
activation=linear
{fourth}
[softmax]
"""


def network(net: str = "", **lines: str) -> Network:
    """A convolution with batch norm, one without, a weighted shortcut, a connected layer."""
    named = {name: lines.get(name, "") for name in ("first", "second", "third", "fourth")}
    return build_network(NET.format(net=net) + LAYERS.format(**named))


def settings(groups: list[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """Name -> (rate, decay)."""
    return {
        name: (group["lr"], group["weight_decay"]) for group in groups for name in group["names"]
    }


def update(
    net: Network, optimizer: torch.optim.Optimizer, *, seed: int = 0, finished: int = 0
) -> None:
    """One whole update."""
    torch.manual_seed(seed)
    freeze(net, finished)
    optimizer.zero_grad()
    maps = loss_inputs(net, torch.rand(2, 3, 8, 8))
    report = network_loss(net, maps, Targets.of_labels(torch.tensor([1, 3]), 5), seen=2)
    (report.total / net.options.batch).backward()
    optimizer.step()


def test_decay_on_weights_only() -> None:
    """Not on biases, scales of batch norms, or a shortcut's weights; every parameter is in one
    group."""
    net = network()
    groups = parameter_groups(net)
    assert settings(groups) == {
        "layers.0.conv.weight": (0.1, 0.01),
        "layers.1.conv.weight": (0.1, 0.01),
        "layers.3.linear.weight": (0.1, 0.01),
        "layers.0.norm.weight": (0.1, 0),
        "layers.0.norm.bias": (0.1, 0),
        "layers.1.conv.bias": (0.1, 0),
        "layers.2.weight": (0.1, 0),
        "layers.3.linear.bias": (0.1, 0),
    }
    named = dict(net.named_parameters())
    for group in groups:
        assert all(
            named[name] is parameter
            for name, parameter in zip(group["names"], group["params"], strict=True)
        )
    assert sum(len(group["params"]) for group in groups) == len(named)


def test_other_weights_that_decay() -> None:
    """Implicit values, local and recurrent layers (representation_layer.c:110,
    local_layer.c:230)."""
    text = (
        NET.format(net="")
        + "[local]\nfilters=2\nsize=3\npad=1\nactivation=linear\n[rnn]\nhidden=4\noutput=4\n"
        "batch_normalize=1\nactivation=tanh\n[implicit]\nfilters=3\n"
    )
    decayed = {
        name
        for name, (_, decay) in settings(parameter_groups(build_network(text))).items()
        if decay
    }
    assert decayed == {
        "layers.0.weight",
        "layers.1.input_layer.linear.weight",
        "layers.1.self_layer.linear.weight",
        "layers.1.output_layer.linear.weight",
        "layers.2.weight",
    }


def test_shared_weights_are_in_one_group() -> None:
    """``share_index``: the first layer's options hold."""
    text = (
        NET.format(net="")
        + "[convolutional]\nfilters=3\nsize=1\nactivation=linear\n[convolutional]\nfilters=3\n"
        "size=1\nshare_index=0\nlearning_rate=5\nactivation=linear\n"
    )
    assert set(settings(parameter_groups(build_network(text)))) == {
        "layers.0.conv.weight",
        "layers.0.conv.bias",
    }


def test_rates_of_layers_and_patterns() -> None:
    """A layer's ``learning_rate=`` times the last pattern that fits."""
    net = network(first="learning_rate=2", second="learning_rate=3")
    rates = [
        RatePattern.parse(text) for text in ("layers.[0-1].*=0.1", "*.bias=0.5", "layers.3.*=0")
    ]
    found = {
        name: round(rate, 6) for name, (rate, _) in settings(parameter_groups(net, rates)).items()
    }
    assert found == {
        "layers.0.conv.weight": 0.02,
        "layers.0.norm.weight": 0.02,
        "layers.0.norm.bias": 0.1,
        "layers.1.conv.weight": 0.03,
        "layers.1.conv.bias": 0.15,
        "layers.2.weight": 0.1,
        "layers.3.linear.weight": 0,
        "layers.3.linear.bias": 0,
    }


def test_patterns_are_the_shells() -> None:
    """``[0-9]`` is one digit, so that layers.10 is another layer."""
    text = NET.format(net="") + "[convolutional]\nfilters=3\nsize=1\nactivation=linear\n" * 11
    found = settings(parameter_groups(build_network(text), [RatePattern("layers.[0-9].*", 0.5)]))
    assert {name for name, (rate, _) in found.items() if rate == 0.1} == {
        "layers.10.conv.weight",
        "layers.10.conv.bias",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "layers.0",
            (
                "'layers.0': expected PATTERN=FACTOR with a factor of 0 or more, such as"
                " 'layers.[0-9].*=0.1'"
            ),
        ),
        (
            "=0.1",
            (
                "'=0.1': expected PATTERN=FACTOR with a factor of 0 or more, such as"
                " 'layers.[0-9].*=0.1'"
            ),
        ),
        (
            "a=b",
            (
                "'a=b': expected PATTERN=FACTOR with a factor of 0 or more, such as"
                " 'layers.[0-9].*=0.1'"
            ),
        ),
        (
            "a=-1",
            (
                "'a=-1': expected PATTERN=FACTOR with a factor of 0 or more, such as"
                " 'layers.[0-9].*=0.1'"
            ),
        ),
        (
            "a=nan",
            (
                "'a=nan': expected PATTERN=FACTOR with a factor of 0 or more, such as"
                " 'layers.[0-9].*=0.1'"
            ),
        ),
        (
            "a=inf",
            (
                "'a=inf': expected PATTERN=FACTOR with a factor of 0 or more, such as"
                " 'layers.[0-9].*=0.1'"
            ),
        ),
    ],
)
def test_patterns_that_are_none(text: str, message: str) -> None:
    """One line, with an example."""
    with pytest.raises(InputError) as error:
        RatePattern.parse(text)
    assert str(error.value) == message


def test_a_pattern_must_fit_something() -> None:
    """Most likely it is a slip."""
    with pytest.raises(InputError) as error:
        parameter_groups(network(), [RatePattern("layers.1.conv.wieght", 1.0)])
    assert (
        str(error.value) == "the pattern 'layers.1.conv.wieght' matches no parameter; did you mean "
        "'layers.1.conv.weight'?; names are like 'layers.0.conv.weight'; * matches any text"
    )


def test_everything_frozen() -> None:
    """Nothing would be left to do."""
    with pytest.raises(InputError) as error:
        parameter_groups(network(fourth="stopbackward=1"))
    assert str(error.value) == (
        "<text>:1: [net]: the network cannot be trained: every layer is frozen"
    )


# ---- freezing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "frozen"),
    [
        ({}, [set(), set(), set()]),
        ({"second": "stopbackward=1"}, [{0, 1}, {0, 1}, {0, 1}]),
        ({"second": "stopbackward=2"}, [{0, 1}, {0, 1}, set()]),
        ({"second": "onlyforward=1"}, [{1}, {1}, {1}]),
        ({"first": "train_only_bn=1"}, [{0}, {0}, {0}]),
        (
            {"second": "train_only_bn=1"},
            [{0, 1}, {0, 1}, {0, 1}],
        ),  # and all layers before it (parser.c)
        (
            {"first": "train_only_bn=1", "third": "train_only_bn=1"},
            [{0, 1, 2}, {0, 1, 2}, {0, 1, 2}],
        ),
        ({"first": "dont_update=2"}, [{0}, {0}, set()]),
        ({"net": "burn_in=1", "first": "burnin_update=3"}, [{0}, {0}, set()]),
        ({"net": "burn_in=2", "fourth": "burnin_update=1"}, [{3}, set(), set()]),
        (
            {"first": "burnin_update=3"},
            [set(), set(), set()],
        ),  # without burn_in there is nothing to wait for
    ],
)
def test_frozen_layers(lines: dict[str, str], frozen: list[set[int]]) -> None:
    """Before the first, second and third update; and what is frozen does not move."""
    net = network(**lines)
    optimizer = make_optimizer(net)
    for finished, expected in enumerate(frozen):
        assert frozen_layers(net, finished) == expected
        before = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
        update(net, optimizer, seed=finished, finished=finished)
        moved = {
            int(name.split(".")[1])
            for name, parameter in net.named_parameters()
            if not torch.equal(parameter, before[name])
        }
        behind = (
            {0} if "onlyforward" in lines.get("second", "") else set()
        )  # its gradient came through layer 1 alone
        assert moved | behind == {0, 1, 2, 3} - expected | behind


def test_layers_frozen_for_good_are_in_no_group() -> None:
    """Those that thaw are."""
    assert {
        name.split(".")[1] for name in settings(parameter_groups(network(third="train_only_bn=1")))
    } == {"3"}
    assert {
        name.split(".")[1] for name in settings(parameter_groups(network(second="stopbackward=1")))
    } == {"2", "3"}
    assert len(settings(parameter_groups(network(second="stopbackward=9")))) == 8


def test_onlyforward_ends_the_gradient() -> None:
    """Through the layer nothing flows back; around it, by the shortcut, something does."""
    net = network(second="onlyforward=1")
    assert freeze(net) == freeze(net) == {1}
    assert len(net.sequence()[1]._forward_hooks) == 1
    x = torch.rand(2, 3, 8, 8)
    first, second = net.outputs_of(x, [0, 1])
    assert first.requires_grad and not second.requires_grad


@pytest.mark.parametrize(
    "lines",
    [
        {"first": "train_only_bn=1"},
        {"second": "train_only_bn=1"},
        {"first": "stopbackward=1"},
        {"second": "stopbackward=9"},
    ],
)
def test_frozen_batch_norm_still_gathers_statistics(lines: dict[str, str]) -> None:
    """As Darknet's do in training."""
    net = network(**lines).train()
    norm = net.sequence()[0].norm
    before = norm.running_mean.clone()
    update(net, make_optimizer(net))
    assert not torch.equal(norm.running_mean, before)


def test_batch_norm_before_stopbackward_uses_what_is_stored() -> None:
    """Darknet reads those layers as for detection (parser.c: ``l.train = 0``)."""
    net = network(second="stopbackward=1").train()
    norm, x = net.sequence()[0].norm, torch.rand(2, 3, 8, 8)
    before = norm.running_mean.clone()
    freeze(net)
    (first,) = net.outputs_of(x, [0])
    assert torch.equal(norm.running_mean, before)
    assert torch.equal(first, net.eval().outputs_of(x, [0])[0])


def test_frozen_norms() -> None:
    """Neither statistics nor scales and biases change; all else learns."""
    net = network().train()
    norm = net.sequence()[0].norm
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    optimizer = make_optimizer(net)
    freeze(net, norms=True)
    maps = loss_inputs(net, torch.rand(2, 3, 8, 8))
    network_loss(net, maps, Targets.of_labels(torch.tensor([1, 3]), 5), seen=2).total.backward()
    optimizer.step()
    same = {name for name, tensor in net.state_dict().items() if torch.equal(tensor, before[name])}
    assert same == {f"layers.0.norm.{name}" for name in norm.state_dict()}
    freeze(net.train())
    assert norm.training and norm.weight.requires_grad


# ---- the optimisers ------------------------------------------------------------------------------


def test_sgd_is_darknets() -> None:
    """u += -decay * B * w + g; w += rate / B * u; u *= momentum (convolutional_layer.c:1599)."""
    net = network()
    optimizer = make_optimizer(net)
    assert isinstance(optimizer, SGD)
    weights = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
    updates = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    decays = {name: decay for name, (_, decay) in settings(parameter_groups(net)).items()}
    for seed in range(4):
        update(net, optimizer, seed=seed)
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None
            updates[name] += -2 * parameter.grad - decays[name] * 2 * weights[name]
            weights[name] += 0.1 / 2 * updates[name]
            updates[name] *= 0.9
            torch.testing.assert_close(parameter.detach(), weights[name])


def test_adam_is_darknets_but_for_decay_on_biases() -> None:
    """On the sum of the gradients, eps outside the root, its size not divided by B
    (blas_kernels.cu:192)."""
    net = network("adam=1\nB1=.8\nB2=.95\neps=.01")
    optimizer = make_optimizer(net)
    assert isinstance(optimizer, Adam)
    weights = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
    first, second = (
        {name: torch.zeros_like(weight) for name, weight in weights.items()} for _ in range(2)
    )
    decays = {name: decay for name, (_, decay) in settings(parameter_groups(net)).items()}
    for number in range(1, 5):
        update(net, optimizer, seed=number)
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None
            d = -2 * parameter.grad - decays[name] * 2 * weights[name]
            first[name] = 0.8 * first[name] + 0.2 * d
            second[name] = 0.95 * second[name] + 0.05 * d * d
            mean, square = first[name] / (1 - 0.8**number), second[name] / (1 - 0.95**number)
            weights[name] += 0.1 * mean / (square.sqrt() + 0.01)
            torch.testing.assert_close(parameter.detach(), weights[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["", "adam=1"])
def test_loss_scale_undoes_itself(kind: str) -> None:
    """The gradient is larger, the step is not."""
    plain, scaled = network(kind), network(f"{kind}\nloss_scale=128")
    scaled.load_state_dict(plain.state_dict())
    optimizers = make_optimizer(plain), make_optimizer(scaled)
    for seed in range(3):
        update(plain, optimizers[0], seed=seed)
        update(scaled, optimizers[1], seed=seed)
    for (name, ours), (_, theirs) in zip(
        plain.named_parameters(), scaled.named_parameters(), strict=True
    ):
        assert ours.grad is not None and theirs.grad is not None
        torch.testing.assert_close(128 * ours.grad, theirs.grad, rtol=1e-3, atol=1e-4, msg=name)
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6, msg=name)


def test_clip() -> None:
    """``clip=`` holds the weights of its layer, not its biases, and no other layer's."""
    net = network(second="clip=.25")
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(-3)
    clip_weights(net)
    clipped = {
        name
        for name, parameter in net.named_parameters()
        if float(parameter.detach().min()) == -0.25
    }
    assert clipped == {"layers.1.conv.weight"}
