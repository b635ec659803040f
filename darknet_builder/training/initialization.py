"""Weight initialisation: Darknet's or another method, for all sections or for one kind.

    initialize(network, [InitRule.parse("kaiming"), InitRule.parse("connected=normal:0,0.01")])

Only weights of two dimensions and more are drawn at random; biases become 0. Batch norms always
get scale 1, mean 0 and variance 1.

``prior:P`` sets the biases that a head reads objectness from, so that every anchor box begins with
objectness P. Without it they all begin at 0.5, which is wrong for nearly all of them, and the first
hundreds of steps are spent on unlearning that (Lin et al., Focal Loss for Dense Object Detection,
section 4.1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from darknet_builder.cfg.synonyms import suggest
from darknet_builder.errors import InputError, did_you_mean
from darknet_builder.layers.base import registered_sections
from darknet_builder.network.network import Network

_LEAK = 0.1
"""The slope of Darknet's leaky ReLU below 0, which Kaiming's gain depends on."""
_PRIOR = "prior"
_Draw = Callable[[Tensor], object]


@dataclass(frozen=True)
class InitRule:
    """One method of initialisation, for some sections.

    Attributes:
        method: ``darknet``, ``kaiming``, ``xavier``, ``normal`` or ``prior``.
        numbers: mean and standard deviation for ``normal``, a probability for ``prior``; empty
            for the others.
        section: name of the sections that it applies to; empty for all. ``prior`` needs a head.

    Example:
        >>> InitRule.parse("connected=normal:0,0.01")
        InitRule(method='normal', numbers=(0.0, 0.01), section='connected')
    """

    method: str
    numbers: tuple[float, ...] = ()
    section: str = ""

    @classmethod
    def parse(cls, text: str) -> InitRule:
        """Parse ``METHOD``, ``normal:MEAN,STD``, ``prior:P`` or ``SECTION=METHOD``.

        Raises:
            InputError: for any other text.
        """
        section, _, rest = text.rpartition("=")
        method, _, numbers = rest.partition(":")
        if section and section not in registered_sections():
            raise InputError(
                f"unknown section [{section}]",
                argument="rule",
                value=text,
                hint=suggest(section, registered_sections()),
            )
        methods = (*_METHODS, _PRIOR)
        if method not in methods:
            raise InputError(
                f"expected one of {', '.join(methods)}",
                argument="rule",
                value=text,
                hint=did_you_mean(method, methods),
            )
        return cls(method, _numbers(text, method, numbers), section)


def initialize(network: Network, rules: Sequence[InitRule]) -> None:
    """Initialise the weights of a network in place.

    Args:
        network: its layers that no rule applies to are left unchanged.
        rules: the methods. If several apply to a layer, the last one is used.

    Raises:
        InputError: for a rule whose section the network does not have, or a ``prior`` without a
            head.

    Example:
        >>> from darknet_builder import build_network
        >>> network = build_network("shapes")
        >>> initialize(network, [InitRule("normal", (0.0, 0.01))])
        >>> weight = network.sequence()[0].conv.weight
        >>> bool(weight.abs().max() < 0.1)
        True
    """
    # A rule for a section that the network lacks is more likely a typo than intended.
    sections = {spelling for layer in network.sequence() for spelling in layer.spellings}
    for rule in rules:
        if rule.section and rule.section not in sections:
            raise InputError(
                f"the network has no [{rule.section}]",
                argument="rule",
                value=f"{rule.section}={rule.method}",
            )
    for layer in network.sequence():
        # The last rule that fits wins, so a general rule can stand before the special ones.
        fitting = [
            rule
            for rule in rules
            if rule.section in ("", *layer.spellings) and rule.method != _PRIOR
        ]
        if fitting:
            layer.apply(_Initializer(fitting[-1]))
    # Last, because a draw sets all biases to 0.
    for rule in rules:
        if rule.method == _PRIOR:
            _set_prior(network, rule)


def _set_prior(network: Network, rule: InitRule) -> None:
    """Set the objectness biases before the heads that a rule applies to."""
    heads = [
        head for head in network.heads if head.num_anchors and rule.section in ("", *head.spellings)
    ]
    if not heads:
        raise InputError(
            "expected a network with [yolo], [Gaussian_yolo] or [region], and no other section",
            argument="rule",
            value=f"{rule.section}={_PRIOR}".removeprefix("="),
        )
    (probability,) = rule.numbers
    for head in heads:
        bias = network.sequence()[head.sources[0]].output_bias
        if bias is None:
            raise InputError(
                "expected a convolution without batch_normalize before each head",
                argument="rule",
                value=_PRIOR,
            )
        # (A * V,) -> (A, V). Objectness is the logistic of its raw value; log(P / (1 - P)) is the
        # inverse.
        with torch.no_grad():
            bias.view(-1, head.values_per_anchor)[:, head.objectness_channel] = math.log(
                probability / (1 - probability)
            )


class _Initializer:
    """A function for ``Module.apply``, which calls it with every module of a layer."""

    def __init__(self, rule: InitRule) -> None:
        self.rule = rule

    def __call__(self, module: nn.Module) -> None:
        reset = getattr(module, "reset_parameters", None)
        if reset is not None and (isinstance(module, _BatchNorm) or self.rule.method == "darknet"):
            reset()
            return
        # Module.apply visits the children too, hence no recursion here.
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.dim() > 1:
                _METHODS[self.rule.method](*self.rule.numbers)(parameter)
            elif name == "bias":
                nn.init.zeros_(parameter)


def _normal(mean: float, deviation: float) -> _Draw:
    return lambda weight: nn.init.normal_(weight, mean, deviation)


def _kaiming() -> _Draw:
    return lambda weight: nn.init.kaiming_normal_(weight, a=_LEAK, nonlinearity="leaky_relu")


def _xavier() -> _Draw:
    return nn.init.xavier_uniform_


def _darknet() -> _Draw:
    """Return Darknet's draw, U(-1, 1) * sqrt(2 / fan_in)."""
    # Modules with a reset_parameters use that; this is for tensors of all others.

    def draw(weight: Tensor) -> Tensor:
        bound = math.sqrt(2 / max(weight[0].numel(), 1))
        return nn.init.uniform_(weight, -bound, bound)

    return draw


_METHODS: dict[str, Callable[..., _Draw]] = {
    "darknet": _darknet,
    "kaiming": _kaiming,
    "xavier": _xavier,
    "normal": _normal,
}


def _numbers(text: str, method: str, numbers: str) -> tuple[float, ...]:
    if method == _PRIOR:
        return (_probability(text, numbers),)
    if method != "normal":
        if numbers:
            raise InputError(f"{method} takes no numbers", argument="rule", value=text)
        return ()
    try:
        mean, deviation = (float(number) for number in numbers.split(","))
    except ValueError:
        raise InputError(
            "expected normal:MEAN,STD, such as normal:0,0.01", argument="rule", value=text
        ) from None
    if not (math.isfinite(mean) and 0 < deviation < math.inf):
        raise InputError("expected a standard deviation above 0", argument="rule", value=text)
    return mean, deviation


def _probability(text: str, number: str) -> float:
    try:
        probability = float(number)
    except ValueError:
        probability = math.nan
    if not 0 < probability < 1:
        raise InputError(
            "expected prior:P with P between 0 and 1, such as prior:0.01",
            argument="rule",
            value=text,
        )
    return probability
