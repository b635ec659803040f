"""Statistics of a network's weights: numbers and bins of each layer, and histograms of any
parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from darknet_builder.errors import InputError, did_you_mean
from darknet_builder.layers.base import NORM_KINDS, Layer, tensor_kind
from darknet_builder.network.network import Network
from darknet_builder.support.figures import load_figures, save_figure

BINS = 33
"""Odd, so that weights around zero fall into one bin in the middle."""
_REACH = 4
"""Standard deviations on each side of the mean: a few far values would press all others into one
bin."""
_MOST_PLOTS = 64
_PLOT_COLUMNS = 4
_PLOT_BINS = 60
_BESIDE = ("bias", *NORM_KINDS)
"""What batch norm and biases are called in a weights file: shown as numbers, left out of the
histogram."""


@dataclass(frozen=True)
class TensorStatistics:
    """One run of floats of a weights file.

    Attributes:
        name: as ``weight_layout`` calls it.
        shape: of the tensor.
        low, high, mean, deviation: of its finite values; 0 where it has none.
    """

    name: str
    shape: tuple[int, ...]
    low: float
    high: float
    mean: float
    deviation: float


@dataclass(frozen=True)
class WeightStatistics:
    """One layer.

    Attributes:
        tensors: everything it has in a weights file.
        low, high: where the first bin begins and the last one ends.
        counts: how many weights fall into each of ``BINS`` bins of equal width.
        outside: how many finite weights lie beyond the bins.
        not_finite: how many floats of the layer, batch norm's included, are infinite or no number.
    """

    tensors: tuple[TensorStatistics, ...]
    low: float
    high: float
    counts: tuple[int, ...]
    outside: int
    not_finite: int


def weight_statistics(network: Network) -> list[WeightStatistics | None]:
    """One entry a layer; None for a layer without floats in a weights file.

    The histogram is of the layer's weights; of all its floats where it has only biases or batch
    norm.
    """
    return [_layer_statistics(network, layer) for layer in network.sequence()]


@torch.no_grad()
def _layer_statistics(network: Network, layer: Layer) -> WeightStatistics | None:
    layout = layer.weight_layout(network.header)
    if not layout:
        return None
    weights = [tensor for name, tensor in layout if tensor_kind(name) not in _BESIDE]
    values = torch.cat([_finite(tensor) for tensor in weights or [tensor for _, tensor in layout]])
    low, high = _range(values)
    counts, _ = np.histogram(
        values.numpy(), BINS, (low, high)
    )  # torch.histc counts in float32, to 2^24 only
    stored = sum(tensor.numel() for _, tensor in layout)
    return WeightStatistics(
        tuple(_tensor_statistics(name, tensor) for name, tensor in layout),
        low,
        high,
        tuple(counts.tolist()),
        values.numel() - int(counts.sum()),
        stored - sum(_finite(tensor).numel() for _, tensor in layout),
    )


def _range(values: Tensor) -> tuple[float, float]:
    """Where the bins lie; not empty even when all values are equal."""
    if not values.numel():
        return -1.0, 1.0
    mean, reach = float(values.double().mean()), _REACH * float(values.double().std(correction=0))
    low, high = max(float(values.min()), mean - reach), min(float(values.max()), mean + reach)
    return (
        (low, high)
        if low < high
        else (mean - max(abs(mean), 1.0) / 2, mean + max(abs(mean), 1.0) / 2)
    )


def _tensor_statistics(name: str, tensor: Tensor) -> TensorStatistics:
    values = _finite(tensor).double()
    if not values.numel():
        return TensorStatistics(name, tuple(tensor.shape), 0.0, 0.0, 0.0, 0.0)
    return TensorStatistics(
        name,
        tuple(tensor.shape),
        float(values.min()),
        float(values.max()),
        float(values.mean()),
        float(values.std(correction=0)),
    )


def _finite(tensor: Tensor) -> Tensor:
    values = tensor.detach().flatten().to("cpu", torch.float32)
    return values[torch.isfinite(values)]


# ---- pictures -----------------------------------------------------------------------------------


def choose_parameters(network: Network, pattern: str) -> dict[str, Tensor]:
    """Return the parameters, by name, whose names match a pattern; as many as ``plot_histograms``
    takes.

    Args:
        network: any.
        pattern: a glob for whole names, such as ``layers.0.*``.

    Raises:
        InputError: when it matches no parameter or more than 64.
    """
    named = dict(network.named_parameters())
    chosen = {name: tensor.detach() for name, tensor in named.items() if fnmatchcase(name, pattern)}
    if not chosen:
        example = f"a name reads {next(iter(named), '(none)')}"
        raise InputError(
            "fits no parameter",
            argument="pattern",
            value=pattern,
            hint=f"{did_you_mean(pattern, named)}; {example}",
        )
    if len(chosen) > _MOST_PLOTS:
        raise InputError(
            f"fits {len(chosen)} parameters, more than the {_MOST_PLOTS} of one picture",
            argument="pattern",
            value=pattern,
            hint="name fewer, such as 'layers.1?.*'",
        )
    return chosen


def plot_histograms(states: Mapping[str, Mapping[str, Tensor]], path: str | Path) -> None:
    """Draw a histogram of each parameter, with one line for each state of the network.

    Args:
        states: label of the state -> name -> values; every state has the same names.
        path: of the picture, whose suffix is the format.

    Raises:
        MissingExtraError: without matplotlib.
        InputError: when the file cannot be written.
    """
    names = list(next(iter(states.values())))
    columns = min(len(names), _PLOT_COLUMNS)
    rows = -(-len(names) // _PLOT_COLUMNS)
    figure = load_figures().Figure(figsize=(4 * columns, 2.6 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for place, name in zip(axes, names, strict=False):
        _plot_parameter(place, name, {state: values[name] for state, values in states.items()})
    for place in axes[len(names) :]:
        place.set_axis_off()
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(states)
    )
    save_figure(figure, path, dpi=80)


def _plot_parameter(axes: Any, name: str, values: Mapping[str, Tensor]) -> None:
    low = min(float(tensor.min()) for tensor in values.values())
    high = max(float(tensor.max()) for tensor in values.values())
    bounds = (low, high) if low < high else None
    for state, tensor in values.items():
        axes.hist(
            tensor.flatten().numpy(),
            bins=_PLOT_BINS,
            range=bounds,
            histtype="step",
            density=True,
            label=state,
        )
    deviations = " / ".join(f"{float(tensor.std(correction=0)):.3g}" for tensor in values.values())
    axes.set_title(f"{name}, std {deviations}", fontsize=8)
    axes.tick_params(labelsize=7)
