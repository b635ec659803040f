"""Show why layers belong in an ``nn.ModuleList``.

The same tensors and modules are stored in several ways, to see which ones PyTorch reaches. Every
number is measured when it is requested, on modules that are built for the purpose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from darknet_builder.cfg.block import Block
from darknet_builder.layers.base import Layer
from darknet_builder.lessons.measurement import (
    Lesson,
    Variant,
    compare,
    layers_of,
    network_loss_of,
    outputs_of,
    seeded,
)
from darknet_builder.network.build import build_network
from darknet_builder.network.network import Network


class PlainListNetwork(Network):
    """A network with the mistake: it runs like any other, but its layers are in a Python list.

    Args:
        network: the network whose layers are taken.
    """

    def __init__(self, network: Network) -> None:
        super().__init__(network.blocks, network.options, network.dialect, [])
        layers: list[Layer] = network.sequence()
        del self.layers  # nn.Module refuses a list in the place of a registered module
        self.layers = layers  # type: ignore[assignment]


class WeightedSum(nn.Module):
    """A learnt weight for each of three maps, as in a weighted [shortcut].

    Args:
        weights: three Parameters in any container.
    """

    def __init__(self, weights: Sequence[nn.Parameter] | nn.ParameterList) -> None:
        super().__init__()
        self.weights = weights

    def forward(self, x: Tensor) -> Tensor:
        """(3, ...) -> (...)."""
        parts = [weight * part for weight, part in zip(self.weights, x, strict=True)]
        return torch.stack(parts).sum(0)


class Scale(nn.Module):
    """Multiply three channels by ``scale``, which is a tensor, an ``nn.Parameter`` or a buffer.

    Args:
        kind: ``tensor``, ``parameter`` or ``buffer``.

    Attributes:
        scale: (3,) float32, one factor a channel.
    """

    scale: Tensor

    def __init__(self, kind: str) -> None:
        super().__init__()
        if kind == "buffer":
            self.register_buffer("scale", torch.ones(3))
        else:
            # nn.Module registers the attribute if it is a Parameter, and not otherwise.
            self.scale = nn.Parameter(torch.ones(3)) if kind == "parameter" else torch.ones(3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3) -> (B, 3)."""
        return x * self.scale


def why_modulelist(
    cfg: str | Path | Sequence[Block],
    *,
    width: int | None = None,
    height: int | None = None,
    dialect: str | None = None,
) -> list[Lesson]:
    r"""Compare containers of modules, containers of parameters, and kinds of tensors.

    Args:
        cfg: the network of the first comparison, as for ``build_network``.
        width: width of its input in pixels. Default: the cfg's.
        height: height of its input in pixels. Default: the cfg's.
        dialect: ``alexeyab`` or ``pjreddie``, as for ``build_network``.

    Returns:
        The three lessons.

    Raises:
        DarknetError: if the cfg cannot be built.

    Example:
        >>> cfg = "[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\nfilters=2\n"
        >>> plain, registered = why_modulelist(cfg)[0].measured
        >>> print(plain.parameters, "/", registered.parameters)
        0 of 2 / 2 of 2
    """

    def build() -> Network:
        return seeded(lambda: build_network(cfg, width=width, height=height, dialect=dialect))

    return [containers_of_modules(build), containers_of_parameters(), kinds_of_tensors()]


def containers_of_modules(build: Callable[[], Network]) -> Lesson:
    """Compare the layers of one network in a plain list and in an ``nn.ModuleList``.

    Args:
        build: builds the network, with the same weights each time.
    """

    def variant(name: str, make: Callable[[], nn.Module]) -> Variant:
        return Variant(name, make, network_loss_of, layers_of)

    def build_plain() -> Network:
        return PlainListNetwork(build())

    plain, registered = build_plain(), build()
    with torch.no_grad():
        differences = [
            float((one - other).abs().max())
            for one, other in zip(outputs_of(plain), outputs_of(registered), strict=True)
        ]
    return compare(
        f"The {len(registered.layers)} layers of a network in a plain list and in an nn.ModuleList",
        [variant("plain list", build_plain), variant("nn.ModuleList", build)],
        f"Both run, and their outputs differ by {max(differences):g}: "
        "nothing but the numbers above tells them apart.",
    )


def containers_of_parameters() -> Lesson:
    """Compare three bare Parameters in a plain list and in an ``nn.ParameterList``."""

    def weights() -> list[nn.Parameter]:
        return [nn.Parameter(torch.ones(1)) for _ in range(3)]

    def loss(module: nn.Module) -> Tensor:
        return module(torch.ones(3, 4)).square().mean()

    def held(module: nn.Module) -> list[Tensor]:
        assert isinstance(module, WeightedSum)
        return list(module.weights)

    def variant(name: str, container: Callable[[list[nn.Parameter]], Any]) -> Variant:
        return Variant(name, lambda: WeightedSum(container(weights())), loss, held)

    return compare(
        "Three learnt weights in a plain list and in an nn.ParameterList",
        [variant("plain list", list), variant("nn.ParameterList", nn.ParameterList)],
        "An nn.Parameter is registered by the attribute that it is set to, not by what it is.",
    )


def kinds_of_tensors() -> Lesson:
    """Compare the same three numbers as a tensor attribute, an ``nn.Parameter`` and a buffer."""

    def loss(module: nn.Module) -> Tensor:
        return module(torch.ones(2, 3)).square().mean()

    def held(module: nn.Module) -> list[Tensor]:
        assert isinstance(module, Scale)
        return [module.scale]

    return compare(
        "Three numbers as a tensor attribute, as an nn.Parameter and as a buffer",
        [
            Variant("tensor", partial(Scale, "tensor"), loss, held),
            Variant("nn.Parameter", partial(Scale, "parameter"), loss, held),
            Variant("buffer", partial(Scale, "buffer"), loss, held),
        ],
        "A Parameter is learnt, a buffer is kept, a tensor attribute is neither: it stays behind.",
    )
