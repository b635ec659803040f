"""What each head learns from: Darknet's own gradients, not those of a textbook.

Each file here holds the loss of one section, fed by the raw map, the targets and the head's options
alone::

    maps = loss_inputs(network, images)
    report = network_loss(network, maps, targets, seen=seen)
    (report.total / batch).backward()

``batch`` is the cfg's, so that the parts of a batch (``subdivisions``) add up to Darknet's update.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from darknet_builder.errors import InputError
from darknet_builder.layers.base import NETWORK_INPUT, Layer
from darknet_builder.losses import detection as _detection  # noqa: F401
from darknet_builder.losses import gaussian_yolo as _gaussian_yolo  # noqa: F401
from darknet_builder.losses import region as _region  # noqa: F401
from darknet_builder.losses import yolo as _yolo  # noqa: F401
from darknet_builder.losses.base import HeadLoss, LossContext, Targets, find_loss, loss_for
from darknet_builder.network.network import Network

__all__ = [
    "HeadLoss",
    "LossContext",
    "LossMaps",
    "LossReport",
    "Targets",
    "find_loss",
    "loss_for",
    "loss_inputs",
    "loss_sources",
    "network_loss",
    "reached_layers",
]


@dataclass(frozen=True)
class LossReport:
    """What a network says of one part of a batch.

    Attributes:
        total: sum of the heads' costs over the images; ``backward()`` through it gives minus
            Darknet's deltas.
        heads: each head's own.
    """

    total: Tensor
    heads: tuple[HeadLoss, ...]

    @property
    def cost(self) -> Tensor:
        """Mean over the heads, without a gradient: what Darknet averages and prints
        (network.c:290).
        """
        return self.total.detach() / max(len(self.heads), 1)


@dataclass(frozen=True)
class _Point:
    """A layer that learns: its index, where the map stands that it learns from, and what lies
    between the two.
    """

    index: int
    layer: Layer
    source: int
    between: Layer | None = None


def _points(network: Network) -> list[_Point]:
    """The heads; without any, the [softmax] at the end and every [cost].

    Raises:
        InputError: when the network has nothing to learn from.
    """
    layers = network.sequence()
    points = [
        _Point(index, layer, layer.sources[0])
        for index, layer in enumerate(layers)
        if layer.is_head
    ]
    if not points:
        answer = max((index for index, layer in enumerate(layers) if not layer.is_cost), default=-1)
        points = [
            _point_at_end(layers, index)
            for index, layer in enumerate(layers)
            if layer.has_loss and (layer.is_cost or index == answer)
        ]
    if not points:
        raise InputError(
            "there is nothing to learn from: the network has no head "
            "([yolo], [region], ...), and neither [softmax] nor [cost] at its end",
            **network.blocks[0].place(),
        )
    return points


def _point_at_end(layers: Sequence[Layer], index: int) -> _Point:
    source = layers[index].sources[0]
    before = layers[source] if layers[index].section == "cost" and source >= 0 else None
    if before is not None and before.section == "softmax":
        return _Point(index, layers[index], before.sources[0], before)
    return _Point(index, layers[index], source)


def loss_inputs(network: Network, x: Tensor) -> list[Tensor]:
    """The maps that ``network_loss`` takes: for a detector what ``network(x)`` gives, for a
    classifier the scores.

    Args:
        x: (B, C, H, W) in [0, 1].

    Raises:
        InputError: when the network has nothing to learn from.
    """
    return network.outputs_of(x, loss_sources(network))


def loss_sources(network: Network) -> list[int]:
    """Return the layers whose outputs are the maps of ``network_loss``, one for each loss.

    Raises:
        InputError: when the network has nothing to learn from.
    """
    return [point.source for point in _points(network)]


def reached_layers(network: Network) -> set[int]:
    """The layers that a gradient comes to: behind a layer or a head with ``onlyforward`` it
    ends.
    """
    layers = network.sequence()
    stack = [point.source for point in _points(network) if not point.layer.options.onlyforward]
    reached: set[int] = set()
    while stack:
        index = stack.pop()
        if (
            index != NETWORK_INPUT
            and index not in reached
            and not layers[index].options.onlyforward
        ):
            reached.add(index)
            stack.extend(layers[index].sources)
    return reached


class LossMaps(nn.Module):
    """``loss_inputs`` as a module, for wrappers that only know ``forward``
    (``DistributedDataParallel``).

    It takes images of any width and height: in multi-scale training they change from batch to
    batch.

    Raises:
        InputError: when the network has nothing to learn from.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.sources = loss_sources(network)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, C, H, W) -> one map for each loss."""
        return self.network.outputs_of(x, self.sources, size=(x.shape[3], x.shape[2]))


def network_loss(
    network: Network,
    maps: Sequence[Tensor],
    targets: Targets,
    *,
    seen: int,
    net_size: tuple[int, int] | None = None,
) -> LossReport:
    """What a network learns from one part of a batch.

    Args:
        network: its layers' options.
        maps: from ``loss_inputs(network, x)``.
        targets: one list of boxes an image, or shares of classes.
        seen: how many images were trained on, these included.
        net_size: (width, height) of ``x`` where it is not the network's own.

    Raises:
        InputError: when maps, targets and network do not fit together.
    """
    points = _points(network)
    if len(maps) != len(points):
        raise InputError(
            f"the network learns from {len(points)} maps, got {len(maps)}; loss_inputs(network, x) "
            "gives them"
        )
    context = LossContext(net_size or network.input_size, seen, network.options.loss_scale)
    # onlyforward keeps a head from learning (network_kernels.cu:268).
    losses = tuple(
        _loss_at(point, raw, targets, context)
        for point, raw in zip(points, maps, strict=True)
        if not point.layer.options.onlyforward
    )
    if not losses:
        raise InputError(
            "every head says onlyforward=1: there is nothing to learn from",
            **network.blocks[0].place(),
        )
    return LossReport(torch.stack([loss.value for loss in losses]).sum(), losses)


def _loss_at(point: _Point, raw: Tensor, targets: Targets, context: LossContext) -> HeadLoss:
    loss = find_loss(point.layer)(
        point.layer, raw, targets, replace(context, between=point.between)
    )
    return replace(loss, layer=point.index, section=point.layer.section)
