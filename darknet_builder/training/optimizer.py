"""Which parameters learn, how fast, and with how much decay: a cfg's rules as parameter groups of
an optimiser.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import SGD, Adam, Optimizer

from darknet_builder.errors import InputError, did_you_mean
from darknet_builder.layers.base import CommonOptions, Layer
from darknet_builder.network.network import Network

_ALWAYS = 1
"""``stopbackward=1`` freezes for good; a larger number is the update at which the layers thaw."""


@dataclass(frozen=True)
class RatePattern:
    """A user's own factor for the rate of some parameters.

    Attributes:
        pattern: with the shell's ``*``, ``?`` and ``[...]``, for whole names (``layers.[0-9].*``).
        factor: of the learning rate; 0 holds them still.
    """

    pattern: str
    factor: float

    @classmethod
    def parse(cls, text: str) -> RatePattern:
        """``PATTERN=FACTOR``.

        Raises:
            InputError: for anything else.
        """
        pattern, equals, number = text.rpartition("=")
        try:
            factor = float(number)
        except ValueError:
            factor = math.nan
        if not (pattern and equals and 0 <= factor < math.inf):
            raise InputError(
                f"{text!r}: expected PATTERN=FACTOR with a factor of 0 or more, "
                "such as 'layers.[0-9].*=0.1'"
            )
        return cls(pattern, factor)


def parameter_groups(network: Network, rates: Sequence[RatePattern] = ()) -> list[dict[str, Any]]:
    """A network's parameters in groups of equal rate and decay, as a cfg's update rules have them.

    - Decay (``decay=``) acts on weights of convolutions, connected and local layers and on implicit
      values; not on biases, not on the scales of batch norms, not on the weights of a shortcut
      (convolutional_layer.c:1599, shortcut_layer.c:310). Darknet's Adam also decays biases and
      scales; this does not.
    - A layer's ``learning_rate=`` is a factor. Of ``rates`` the last that fits a name multiplies it
      further.
    - ``loss_scale`` divides the rate and multiplies the decay, which undoes what it does to the
      gradient.
    - Parameters that never learn (``stopbackward=1``, ``onlyforward``, ``train_only_bn``) are in no
      group. Those that rest for some time are in theirs: ``freeze`` says when.

    Args:
        network: its parameters and options.
        rates: the user's own factors.

    Returns:
        Groups with ``params``, ``names``, ``lr``, ``rate_scale`` (its factor, for schedulers),
        ``weight_decay``.

    Raises:
        InputError: for a pattern that fits no parameter, or when nothing is left to learn.
    """
    _check_patterns(network, rates)
    options, layers = network.options, network.sequence()
    frozen = _frozen_forever(network)
    members: dict[tuple[float, float], dict[str, Tensor]] = {}
    for index, name, parameter, decays in _parameters(network):
        if index not in frozen:
            factor = layers[index].options.learning_rate * _factor(name, rates)
            decay = options.decay * options.loss_scale if decays else 0.0
            members.setdefault((factor / options.loss_scale, decay), {})[name] = parameter
    if not members:
        raise InputError(
            "every layer is frozen: there is nothing to learn", **network.blocks[0].place()
        )
    return [
        {
            "params": list(named.values()),
            "names": list(named),
            "lr": options.schedule.learning_rate * scale,
            "rate_scale": scale,
            "weight_decay": decay,
        }
        for (scale, decay), named in members.items()
    ]


def make_optimizer(network: Network, rates: Sequence[RatePattern] = ()) -> Optimizer:
    """The cfg's optimiser over ``parameter_groups``: SGD with momentum, or Adam with ``adam=1``.

    It takes the gradient of the sum of the losses divided by ``batch``. Darknet gives Adam the sum
    itself, which comes to the same but for ``eps``: that is divided here (blas_kernels.cu:192).

    Args:
        network: its parameters and options.
        rates: the user's own factors.

    Raises:
        InputError: as for ``parameter_groups``.
    """
    groups, options = parameter_groups(network, rates), network.options
    rate = options.schedule.learning_rate
    if not options.adam:
        return SGD(groups, lr=rate, momentum=options.momentum)
    for group in groups:  # Adam's steps do not depend on the gradient's scale
        group["rate_scale"] *= options.loss_scale
        group["lr"] *= options.loss_scale
    return Adam(
        groups,
        lr=rate,
        betas=(options.beta1, options.beta2),
        eps=options.epsilon * options.loss_scale / options.batch,
    )


def frozen_layers(network: Network, finished: int) -> set[int]:
    """The layers that the next update leaves alone.

    ``stopbackward=1`` freezes a layer and all before it, with a larger number until so many updates
    are finished (network_kernels.cu:268); ``onlyforward`` a layer for good, ``train_only_bn`` a
    layer and all before it but for the statistics of batch norms (parser.c, set_train_only_bn);
    ``dont_update=n`` for n updates; ``burnin_update=k`` until k times ``burn_in``
    (network_kernels.cu:390).

    Args:
        network: its layers' options.
        finished: how many updates lie behind.
    """
    number, burn_in = finished + 1, network.options.schedule.burn_in
    resting = {
        index
        for index, layer in enumerate(network.sequence())
        if layer.options.dont_update >= number or layer.options.burnin_update * burn_in > number
    }
    last = _last_with(network, lambda options: options.stopbackward > finished)
    return _frozen_forever(network) | resting | set(range(last + 1))


def freeze(network: Network, finished: int = 0, *, norms: bool = False) -> set[int]:
    """Make autograd agree with ``frozen_layers``; to be called before each update, or once where
    nothing thaws.

    Frozen parameters get no gradient, so the optimiser passes them by. Behind ``onlyforward`` the
    gradient ends. Batch norms of frozen layers go on using and gathering the statistics of what
    they see, as Darknet's do; but before a layer with ``stopbackward=1`` they use the stored ones
    (parser.c sets ``l.train = 0`` there). ``network.train()`` undoes that, so it comes before.

    Args:
        network: to be changed, in training mode.
        finished: how many updates lie behind.
        norms: freeze every batch norm: stored statistics, and neither scale nor bias learns.

    Returns:
        The frozen layers.
    """
    frozen = frozen_layers(network, finished)
    for index, layer in enumerate(network.sequence()):
        if layer.options.onlyforward and _detached not in layer._forward_hooks.values():
            layer.register_forward_hook(_detached)
    for index, _, parameter, _ in _parameters(network):
        parameter.requires_grad_(index not in frozen)
    stored = (
        len(network.layers)
        if norms
        else _last_with(network, lambda options: options.stopbackward == _ALWAYS)
    )
    for layer in network.sequence()[: max(stored, 0)]:
        for module in layer.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
                if norms:
                    module.requires_grad_(False)
    return frozen


def clip_weights(network: Network) -> None:
    """Bring the weights of layers with ``clip=`` back within it; to be called after each update."""
    limits = [layer.options.clip for layer in network.sequence()]
    with torch.no_grad():
        for index, _, parameter, decays in _parameters(network):
            if limits[index] and decays:
                parameter.clamp_(-limits[index], limits[index])


def _frozen_forever(network: Network) -> set[int]:
    last = _last_with(
        network, lambda options: options.stopbackward == _ALWAYS or options.train_only_bn
    )
    return {
        index
        for index, layer in enumerate(network.sequence())
        if layer.options.onlyforward or index <= last
    }


def _last_with(network: Network, wanted: Callable[[CommonOptions], bool]) -> int:
    """The index of the last layer with such options; -1 without any."""
    return max(
        (index for index, layer in enumerate(network.sequence()) if wanted(layer.options)),
        default=-1,
    )


def _parameters(network: Network) -> Iterator[tuple[int, str, nn.Parameter, bool]]:
    """(layer, full name, parameter, whether it decays); a shared parameter once, with the first
    layer that has it.
    """
    seen: set[nn.Parameter] = set()
    for index, layer in enumerate(network.sequence()):
        for prefix, module in layer.named_modules(prefix=f"layers.{index}"):
            for name, parameter in module.named_parameters(recurse=False):
                if parameter not in seen:
                    seen.add(parameter)
                    yield index, f"{prefix}.{name}", parameter, _decays(layer, module, name)


def _decays(layer: Layer, module: nn.Module, name: str) -> bool:
    return name == "weight" and layer.decays and not isinstance(module, _BatchNorm)


def _factor(name: str, rates: Sequence[RatePattern]) -> float:
    fitting = [rate.factor for rate in rates if fnmatchcase(name, rate.pattern)]
    return fitting[-1] if fitting else 1.0


def _check_patterns(network: Network, rates: Sequence[RatePattern]) -> None:
    names = [name for _, name, _, _ in _parameters(network)]
    for rate in rates:
        if not any(fnmatchcase(name, rate.pattern) for name in names):
            raise InputError(
                f"the pattern {rate.pattern!r} fits no"
                f" parameter{did_you_mean(rate.pattern, names)}; names are like {names[0]!r}; *"
                " stands for anything"
            )


def _detached(module: nn.Module, args: Any, output: Tensor) -> Tensor:
    return output.detach()
