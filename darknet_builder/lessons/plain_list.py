"""Why layers live in an ``nn.ModuleList``: the same things held in several ways, and what PyTorch
reaches of them.

Every number is measured when it is asked for, on modules that are built for the purpose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

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
    """The mistake: a network that runs like any other, with its layers in a Python list."""

    def __init__(self, network: Network) -> None:
        super().__init__(network.blocks, network.options, network.dialect, [])
        layers: list[Layer] = network.sequence()
        del self.layers
        self.layers = layers  # type: ignore[assignment]


class WeightedSum(nn.Module):
    """A learnt weight for each of three maps, as in a weighted [shortcut]; how they are held is the
    caller's choice.

    Args:
        weights: a container of three Parameters.
    """

    def __init__(self, weights: Sequence[nn.Parameter] | nn.ParameterList) -> None:
        super().__init__()
        self.weights = weights

    def forward(self, x: Tensor) -> Tensor:
        """(3, ...) -> (...)."""
        return torch.stack(
            [weight * part for weight, part in zip(self.weights, x, strict=True)]
        ).sum(0)


class Scale(nn.Module):
    """Three channels times ``scale``, which is a tensor, an ``nn.Parameter`` or a buffer.

    Args:
        kind: ``tensor``, ``parameter`` or ``buffer``.
    """

    scale: Tensor

    def __init__(self, kind: str) -> None:
        super().__init__()
        if kind == "buffer":
            self.register_buffer("scale", torch.ones(3))
        else:
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
    """The three comparisons: containers of modules, containers of parameters, kinds of tensors.

    Args:
        cfg: the network of the first comparison, as for ``build_network``.
        width: of its input in pixels, instead of the cfg's.
        height: likewise.
        dialect: ``alexeyab`` or ``pjreddie``.

    Raises:
        DarknetError: when the cfg cannot be built.
    """

    def build() -> Network:
        return seeded(lambda: build_network(cfg, width=width, height=height, dialect=dialect))

    return [containers_of_modules(build), containers_of_parameters(), kinds_of_tensors()]


def containers_of_modules(build: Callable[[], Network]) -> Lesson:
    """The layers of one network in a plain list and in an ``nn.ModuleList``.

    Args:
        build: builds the network, with the same weights each time.
    """

    def variant(name: str, make: Callable[[], nn.Module]) -> Variant:
        return Variant(name, make, network_loss_of, layers_of)

    plain, registered = PlainListNetwork(build()), build()
    with torch.no_grad():
        differences = [
            float((one - other).abs().max())
            for one, other in zip(outputs_of(plain), outputs_of(registered), strict=True)
        ]
    return compare(
        f"The {len(registered.layers)} layers of a network in a plain list and in an nn.ModuleList",
        [variant("plain list", lambda: PlainListNetwork(build())), variant("nn.ModuleList", build)],
        f"Both run, and their outputs differ by {max(differences):g}: "
        "nothing but the numbers above tells them apart.",
    )


def containers_of_parameters() -> Lesson:
    """Three bare Parameters in a plain list and in an ``nn.ParameterList``."""

    def weights() -> list[nn.Parameter]:
        return [nn.Parameter(torch.ones(1)) for _ in range(3)]

    def loss(module: nn.Module) -> Tensor:
        return module(torch.ones(3, 4)).square().mean()

    def held(module: nn.Module) -> list[Tensor]:
        assert isinstance(module, WeightedSum)
        return list(module.weights)

    return compare(
        "Three learnt weights in a plain list and in an nn.ParameterList",
        [
            Variant("plain list", lambda: WeightedSum(weights()), loss, held),
            Variant(
                "nn.ParameterList", lambda: WeightedSum(nn.ParameterList(weights())), loss, held
            ),
        ],
        "An nn.Parameter is registered by the attribute that it is set to, not by what it is.",
    )


def kinds_of_tensors() -> Lesson:
    """The same three numbers as a tensor attribute, an ``nn.Parameter`` and a buffer."""

    def loss(module: nn.Module) -> Tensor:
        return module(torch.ones(2, 3)).square().mean()

    def held(module: nn.Module) -> list[Tensor]:
        assert isinstance(module, Scale)
        return [module.scale]

    return compare(
        "Three numbers as a tensor attribute, as an nn.Parameter and as a buffer",
        [
            Variant("tensor", lambda: Scale("tensor"), loss, held),
            Variant("nn.Parameter", lambda: Scale("parameter"), loss, held),
            Variant("buffer", lambda: Scale("buffer"), loss, held),
        ],
        "A Parameter is learnt, a buffer is kept, a tensor attribute is neither: it stays behind.",
    )
