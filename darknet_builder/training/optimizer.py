"""Optimisers, parameter groups and freezing, from the options of a cfg."""

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
from darknet_builder.losses.whole_network import reached_layers
from darknet_builder.network.network import Network

_ALWAYS = 1
"""``stopbackward=1`` freezes layers for the whole training; ``n`` > 1, until update ``n``."""


@dataclass(frozen=True)
class RatePattern:
    """A factor for the learning rate of some parameters.

    Attributes:
        pattern: shell pattern with ``*``, ``?`` and ``[...]`` that must match the whole name of a
            parameter, such as ``layers.[0-9].*``.
        factor: factor of the learning rate, 0 or more; 0 freezes the parameters.

    Example:
        >>> RatePattern.parse("layers.[0-9].*=0.1")
        RatePattern(pattern='layers.[0-9].*', factor=0.1)
    """

    pattern: str
    factor: float

    @classmethod
    def parse(cls, text: str) -> RatePattern:
        """Parse ``PATTERN=FACTOR``.

        Raises:
            InputError: for any other text.
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
    """Group the parameters of a network by learning rate and decay, as Darknet updates them.

    - ``decay=`` applies to the weights of convolutions, connected and local layers and to implicit
      values; not to biases, the scales of batch norms or the weights of a shortcut
      (convolutional_layer.c:1599, shortcut_layer.c:310). Darknet's Adam also decays biases and
      scales; this does not.
    - ``loss_scale=`` divides the rate and multiplies the decay, to undo its effect on the gradient.
    - Parameters that are always frozen (``stopbackward=1``, ``onlyforward``, ``train_only_bn``) are
      in no group. ``freeze`` handles those that are frozen for a time.

    Args:
        network: its parameters are grouped by the options of its layers.
        rates: factors of the learning rate, beside ``learning_rate=`` of each layer. If several
            match a name, the last one is used.

    Returns:
        Groups with ``params``, ``names``, ``lr``, ``rate_scale`` (the factor of the schedule's
        rate) and ``weight_decay``.

    Raises:
        InputError: for a pattern that matches no parameter, or when every layer is frozen.

    Example:
        >>> from darknet_builder import build_network
        >>> network = build_network("shapes")
        >>> [group["weight_decay"] > 0 for group in parameter_groups(network)]
        [True, False]
    """
    _check_patterns(network, rates)
    rate = network.options.schedule.learning_rate
    groups = []
    for (scale, decay), named in _group_members(network, rates).items():
        group = {"params": list(named.values()), "names": list(named), "lr": rate * scale}
        groups.append({**group, "rate_scale": scale, "weight_decay": decay})
    return groups


def _group_members(
    network: Network, rates: Sequence[RatePattern]
) -> dict[tuple[float, float], dict[str, Tensor]]:
    """Return parameters by name for each (factor of the rate, decay)."""
    options, layers = network.options, network.sequence()
    frozen = _frozen_forever(network)
    members: dict[tuple[float, float], dict[str, Tensor]] = {}
    for index, name, parameter, decays in _parameters(network):
        if index not in frozen:
            factor = layers[index].options.learning_rate * _factor(name, rates)
            # The gradient is loss_scale times too large. SGD steps by rate * (gradient + decay *
            # weight), so the rate is divided by loss_scale and the decay multiplied by it.
            decay = options.decay * options.loss_scale if decays else 0.0
            members.setdefault((factor / options.loss_scale, decay), {})[name] = parameter
    if not members:
        raise InputError(
            "the network cannot be trained: every layer is frozen", **network.blocks[0].place()
        )
    return members


def make_optimizer(network: Network, rates: Sequence[RatePattern] = ()) -> Optimizer:
    r"""Make the cfg's optimiser: SGD with momentum, or Adam with ``adam=1``.

    It expects the gradient of the summed losses divided by ``batch``.

    Args:
        network: has the parameters and the options.
        rates: factors of the learning rate; see ``parameter_groups``.

    Raises:
        InputError: for a pattern that matches no parameter, or when every layer is frozen.

    Example:
        >>> from darknet_builder import build_network
        >>> cfg = "[net]\nwidth=8\nheight=8\nchannels=1\n[connected]\noutput=2\n[softmax]\n"
        >>> optimizer = make_optimizer(build_network(cfg))
        >>> type(optimizer).__name__, optimizer.param_groups[0]["momentum"]
        ('SGD', 0.9)
    """
    groups, options = parameter_groups(network, rates), network.options
    rate = options.schedule.learning_rate
    if not options.adam:
        return SGD(groups, lr=rate, momentum=options.momentum)
    for group in groups:  # Adam's steps do not depend on the gradient's scale
        group["rate_scale"] *= options.loss_scale
        group["lr"] *= options.loss_scale
    # Darknet gives Adam the sum over the batch, not the mean. Both give equal steps if eps is
    # divided by batch as well (blas_kernels.cu:192).
    return Adam(
        groups,
        lr=rate,
        betas=(options.beta1, options.beta2),
        eps=options.epsilon * options.loss_scale / options.batch,
    )


def frozen_layers(network: Network, finished: int) -> set[int]:
    """Return the numbers of the layers that the next update leaves unchanged.

    - ``stopbackward=1`` freezes a layer and all before it; ``n`` > 1, until update ``n``
      (network_kernels.cu:268).
    - ``onlyforward=1`` freezes a layer.
    - ``train_only_bn=1`` freezes a layer and all before it, except the statistics of batch norms
      (parser.c, set_train_only_bn).
    - ``dont_update=n`` freezes a layer for n updates.
    - ``burnin_update=k`` freezes a layer until k times ``burn_in`` (network_kernels.cu:390).

    Args:
        network: the options of its layers are read.
        finished: number of finished updates.
    """
    # The options count updates from 1, so the next one has this number.
    number, burn_in = finished + 1, network.options.schedule.burn_in
    resting = {
        index
        for index, layer in enumerate(network.sequence())
        if layer.options.dont_update >= number or layer.options.burnin_update * burn_in > number
    }
    last = _last_with(network, lambda options: options.stopbackward > finished)
    return _frozen_forever(network) | resting | set(range(last + 1))


def freeze(network: Network, finished: int = 0, *, norms: bool = False) -> set[int]:
    """Freeze the layers of ``frozen_layers`` for the next update.

    Call it before each update, after ``network.train()``. Frozen parameters get no gradient, so the
    optimiser skips them. A layer with ``onlyforward=1`` stops the gradient. Batch norms of frozen
    layers still use and update the statistics of the batch, as in Darknet; but those before a layer
    with ``stopbackward=1`` use the stored statistics (parser.c sets ``l.train = 0`` there).

    Args:
        network: changed in place; must be in training mode.
        finished: number of finished updates.
        norms: freeze every batch norm: use the stored statistics, and do not train scale and bias.

    Returns:
        The numbers of the frozen layers.

    Example:
        >>> from darknet_builder import build_network
        >>> network = build_network("shapes")
        >>> freeze(network)
        set()
    """
    frozen = frozen_layers(network, finished)
    for layer in network.sequence():
        # The hook stays; freeze is called before every update.
        if layer.options.onlyforward and _detached not in layer._forward_hooks.values():
            layer.register_forward_hook(_detached)
    for index, _, parameter, _ in _parameters(network):
        parameter.requires_grad_(index not in frozen)
    stored = _last_with(network, lambda options: options.stopbackward == _ALWAYS)
    if norms:
        stored = len(network.layers)
    for layer in network.sequence()[: max(stored, 0)]:
        for module in layer.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
                if norms:
                    module.requires_grad_(False)
    return frozen


def clip_weights(network: Network) -> None:
    """Clip the weights of layers with ``clip=``; call it after each update."""
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


def _last_with(network: Network, fits: Callable[[CommonOptions], bool]) -> int:
    """Return the number of the last layer whose options fit; -1 without one."""
    return max(
        (index for index, layer in enumerate(network.sequence()) if fits(layer.options)),
        default=-1,
    )


def _parameters(network: Network) -> Iterator[tuple[int, str, nn.Parameter, bool]]:
    """Yield (layer number, full name, parameter, whether it decays) for each parameter."""
    # A shared parameter counts once, for the first layer that has it.
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
    # fnmatchcase, not fnmatch, whose case rules depend on the system.
    fitting = [rate.factor for rate in rates if fnmatchcase(name, rate.pattern)]
    return fitting[-1] if fitting else 1.0


def _check_patterns(network: Network, rates: Sequence[RatePattern]) -> None:
    names = [name for _, name, _, _ in _parameters(network)]
    for rate in rates:
        if not any(fnmatchcase(name, rate.pattern) for name in names):
            raise InputError(
                f"the pattern {rate.pattern!r} matches no"
                f" parameter{did_you_mean(rate.pattern, names)}; names are like {names[0]!r}; *"
                " matches any text"
            )


def _detached(module: nn.Module, args: Any, output: Tensor) -> Tensor:
    # Cut from the graph: no layer before this one gets a gradient through it.
    return output.detach()


def reached_parameters(network: Network) -> set[nn.Parameter]:
    """Return the parameters that a gradient can reach."""
    layers = network.sequence()
    return {
        parameter for index in reached_layers(network) for parameter in layers[index].parameters()
    }
