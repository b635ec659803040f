"""Compute the losses of all heads of a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from darknet_builder.errors import InputError
from darknet_builder.layers.base import NETWORK_INPUT, Layer

# Importing a loss registers it.
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
    """The losses of a network for one part of a batch.

    Attributes:
        total: scalar, the heads' costs summed over heads and images. ``backward()`` through it
            gives minus Darknet's deltas.
        heads: the loss of each head.

    Example:
        >>> head = HeadLoss(torch.tensor(3.0))
        >>> LossReport(torch.tensor(6.0), (head, head)).cost
        tensor(3.)
    """

    total: Tensor
    heads: tuple[HeadLoss, ...]

    @property
    def cost(self) -> Tensor:
        """The mean over the heads, without a gradient, as Darknet prints it (network.c:290)."""
        return self.total.detach() / max(len(self.heads), 1)


@dataclass(frozen=True)
class _Point:
    """A layer with a loss.

    Attributes:
        index: number of the layer in the network.
        layer: a head, a [softmax] or a [cost].
        source: number of the layer whose output is the raw map of the loss.
        between: a [softmax] between that output and the layer; None without one.
    """

    index: int
    layer: Layer
    source: int
    between: Layer | None = None


def _points(network: Network) -> list[_Point]:
    """Find the layers with a loss: the heads, or else the last [softmax] and every [cost].

    Raises:
        InputError: for a network without such layers.
    """
    layers = network.sequence()
    points = [
        _Point(index, layer, layer.sources[0])
        for index, layer in enumerate(layers)
        if layer.is_head
    ]
    if not points:
        # Only the softmax that gives the network's output has a loss, not one inside.
        output = max((index for index, layer in enumerate(layers) if not layer.is_cost), default=-1)
        points = [
            _point_at_end(layers, index)
            for index, layer in enumerate(layers)
            if layer.has_loss and (layer.is_cost or index == output)
        ]
    if not points:
        raise InputError(
            "the network cannot be trained: expected a detection head ([yolo], [region], ...), or "
            "[softmax] or [cost] at the end",
            **network.blocks[0].place(),
        )
    return points


def _point_at_end(layers: Sequence[Layer], index: int) -> _Point:
    source = layers[index].sources[0]
    # Darknet's [softmax] hands the delta of a [cost] through unchanged, to the scores before it.
    before = layers[source] if layers[index].section == "cost" and source >= 0 else None
    if before is not None and before.section == "softmax":
        return _Point(index, layers[index], before.sources[0], before)
    return _Point(index, layers[index], source)


def loss_inputs(network: Network, x: Tensor) -> list[Tensor]:
    r"""Run the network and return the raw maps that ``network_loss`` takes.

    They are ``network(x)`` for a detector, and the scores before the softmax for a classifier.

    Args:
        network: in training mode, on the device of ``x``.
        x: (B, C, H, W) float, values in [0, 1].

    Returns:
        One map for each loss.

    Raises:
        InputError: when the network has no layer with a loss.

    Example:
        >>> from darknet_builder import build_network
        >>> cfg = "[net]\nwidth=4\nheight=4\nchannels=1\n[connected]\noutput=3\n[softmax]\n"
        >>> network = build_network(cfg)
        >>> [scores.shape for scores in loss_inputs(network, torch.zeros(2, 1, 4, 4))]
        [torch.Size([2, 3])]
    """
    return network.outputs_of(x, loss_sources(network))


def loss_sources(network: Network) -> list[int]:
    """Return the numbers of the layers whose outputs ``network_loss`` takes, one for each loss.

    Raises:
        InputError: when the network has no layer with a loss.
    """
    return [point.source for point in _points(network)]


def reached_layers(network: Network) -> set[int]:
    r"""Return the numbers of the layers that a gradient reaches.

    A layer or a head with ``onlyforward=1`` stops it.

    Raises:
        InputError: when the network has no layer with a loss.

    Example:
        >>> from darknet_builder import build_network
        >>> cfg = "[net]\nwidth=4\nheight=4\nchannels=1\n[connected]\noutput=3\n[softmax]\n"
        >>> reached_layers(build_network(cfg))
        {0}
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
    r"""``loss_inputs`` as a module, for ``DistributedDataParallel``, which only calls ``forward``.

    It takes images of any width and height: in multi-scale training they change from batch to
    batch.

    Args:
        network: the network to run.

    Attributes:
        sources: numbers of the layers whose outputs are returned.

    Raises:
        InputError: when the network has no layer with a loss.

    Example:
        >>> from darknet_builder import build_network
        >>> cfg = "[net]\nwidth=4\nheight=4\nchannels=1\n[connected]\noutput=3\n[softmax]\n"
        >>> LossMaps(build_network(cfg)).sources
        [0]
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.sources = loss_sources(network)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return one map for each loss, for (B, C, H, W) images in [0, 1]."""
        return self.network.outputs_of(x, self.sources, size=(x.shape[3], x.shape[2]))


def network_loss(
    network: Network,
    maps: Sequence[Tensor],
    targets: Targets,
    *,
    seen: int,
    net_size: tuple[int, int] | None = None,
) -> LossReport:
    r"""Compute the losses of a network for one part of a batch.

    Args:
        network: the network that gave the maps.
        maps: the raw maps, from ``loss_inputs(network, x)``.
        targets: one list of boxes for each image, or class probabilities.
        seen: number of images trained on so far, including these.
        net_size: (width, height) of ``x`` in pixels; None for the network's input size.

    Raises:
        InputError: when maps, targets and network do not fit together.

    Example:
        >>> from darknet_builder import build_network
        >>> cfg = "[net]\nwidth=4\nheight=4\nchannels=1\n[connected]\noutput=3\n[softmax]\n"
        >>> network = build_network(cfg)
        >>> targets = Targets.of_labels(torch.tensor([1]), classes=3)
        >>> report = network_loss(network, [torch.zeros(1, 3)], targets, seen=1)
        >>> round(float(report.total), 3)  # -ln(1/3)
        1.099
    """
    points = _points(network)
    if len(maps) != len(points):
        raise InputError(
            f"expected {len(points)} maps, as loss_inputs(network, x) returns them, got {len(maps)}"
        )
    context = LossContext(net_size or network.input_size, seen, network.options.loss_scale)
    # A head with onlyforward=1 has no loss (network_kernels.cu:268).
    losses = tuple(
        _loss_at(point, raw, targets, context)
        for point, raw in zip(points, maps, strict=True)
        if not point.layer.options.onlyforward
    )
    if not losses:
        raise InputError(
            "the network cannot be trained: every head has onlyforward=1; remove it from one",
            **network.blocks[0].place(),
        )
    return LossReport(torch.stack([loss.value for loss in losses]).sum(), losses)


def _loss_at(point: _Point, raw: Tensor, targets: Targets, context: LossContext) -> HeadLoss:
    loss = find_loss(point.layer)(
        point.layer, raw, targets, replace(context, between=point.between)
    )
    return replace(loss, layer=point.index, section=point.layer.section)
