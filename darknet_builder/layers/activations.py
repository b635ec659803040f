"""Darknet's activations (activations.h:56): a table from the name in a cfg to a module.

Activations hold no weights. Each is a module around a pure function only so that it has a name
and appears in ``named_modules()``. Where torch has a module with the same formula, it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darknet_builder.cfg.synonyms import suggest
from darknet_builder.errors import InputError, shorten


class Elementwise(nn.Module):
    """Apply one pure function to a tensor.

    Args:
        name: Darknet's name of the activation, shown by ``print(network)``.
        function: maps a tensor to a tensor of the same shape.
    """

    def __init__(self, name: str, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.name = name
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """Return ``function(x)``, a tensor of the shape of ``x``."""
        return self.function(x)

    def extra_repr(self) -> str:
        """Return the name, which ``print(network)`` shows."""
        return self.name


def _loggy(x: Tensor) -> Tensor:
    return 2 * torch.sigmoid(x) - 1


def _elu(x: Tensor) -> Tensor:
    # torch.where computes both branches: the clamp keeps exp from overflowing to inf for large x.
    return torch.where(x >= 0, x, torch.exp(x.clamp(max=0)) - 1)


def _selu(x: Tensor) -> Tensor:
    # Darknet rounds both constants (activations.h:67), so this is not quite torch's selu.
    return torch.where(x >= 0, 1.0507 * x, 1.0507 * 1.6732 * (torch.exp(x.clamp(max=0)) - 1))


def _relie(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.01 * x)


def _ramp(x: Tensor) -> Tensor:
    return F.relu(x) + 0.1 * x


def _plse(x: Tensor) -> Tensor:
    outer = torch.where(x < 0, 0.01 * (x + 4), 0.01 * (x - 4) + 1)
    return torch.where(x.abs() > 4, outer, 0.125 * x + 0.5)


def _stair(x: Tensor) -> Tensor:
    # Flat where floor(x) is even, rising by one where it is odd (activations.h:48).
    floor = torch.floor(x)
    half = torch.floor(x / 2)
    return torch.where(floor % 2 == 0, half, (x - floor) + torch.floor(floor / 2))


def _lhtan(x: Tensor) -> Tensor:
    # At 0 and 1 all branches are equal, but Darknet's gradient is .001 there (activations.h:91).
    return torch.where(x <= 0, 0.001 * x, torch.where(x >= 1, 0.001 * (x - 1) + 1, x))


def _hard_mish(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, torch.where(x > -2, x * x / 2 + x, 0.0))


def _normalize_channels(x: Tensor) -> Tensor:
    # 1e-4 keeps the division finite where no channel is positive (activations.c:193).
    positive = F.relu(x)
    return positive / (1e-4 + positive.sum(1, keepdim=True))


def _normalize_channels_softmax(x: Tensor) -> Tensor:
    exponential = torch.exp(x)
    return exponential / (1e-4 + exponential.sum(1, keepdim=True))


def _normalize_channels_softmax_maxval(x: Tensor) -> Tensor:
    return _normalize_channels_softmax(x - x.amax(1, keepdim=True))


def _function(
    name: str, function: Callable[[Tensor], Tensor]
) -> tuple[str, Callable[[], nn.Module]]:
    return name, partial(Elementwise, name, function)


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "linear": nn.Identity,
    "logistic": nn.Sigmoid,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky": partial(nn.LeakyReLU, 0.1),
    "revleaky": partial(nn.LeakyReLU, 0.1),
    "tanh": nn.Tanh,
    "swish": nn.SiLU,
    "mish": nn.Mish,
    "gelu": partial(nn.GELU, approximate="tanh"),
    "hardtan": nn.Hardtanh,
    **dict(
        [
            _function("loggy", _loggy),
            _function("elu", _elu),
            _function("selu", _selu),
            _function("relie", _relie),
            _function("ramp", _ramp),
            _function("plse", _plse),
            _function("stair", _stair),
            _function("lhtan", _lhtan),
            _function("hard_mish", _hard_mish),
            _function("normalize_channels", _normalize_channels),
            _function("normalize_channels_softmax", _normalize_channels_softmax),
            _function("normalize_channels_softmax_maxval", _normalize_channels_softmax_maxval),
        ]
    ),
}


def make_activation(name: str) -> nn.Module:
    """Return a new module for one of Darknet's activation names.

    Args:
        name: a key of ``ACTIVATIONS``, such as ``leaky``.

    Raises:
        InputError: if the name is unknown. Darknet silently uses relu instead (activations.c:75).

    Example:
        >>> make_activation("leaky")
        LeakyReLU(negative_slope=0.1)
    """
    if name not in ACTIVATIONS:
        raise InputError(f"unknown activation {shorten(name)!r}", hint=suggest(name, ACTIVATIONS))
    return ACTIVATIONS[name]()
