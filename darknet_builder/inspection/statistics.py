"""Statistics of a network's weights: numbers and histograms of layers and parameters."""

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
"""An odd number, so that weights around zero fall into one bin in the middle."""
_REACH = 4
"""Number of standard deviations on each side of the mean that bins cover.

A few far values would otherwise press all others into one bin.
"""
_MAX_PLOTS = 64
_PLOT_COLUMNS = 4
_PLOT_BINS = 60
_BESIDE = ("bias", *NORM_KINDS)
"""Kinds of floats in a weights file that are shown as numbers and left out of the histogram."""


@dataclass(frozen=True)
class TensorStatistics:
    """Statistics of one run of floats in a weights file.

    Attributes:
        name: name of the tensor in ``weight_layout``.
        shape: shape of the tensor.
        low: smallest finite value; 0 if no value is finite, as for the attributes below.
        high: largest finite value; 0 if no value is finite.
        mean: mean of the finite values.
        deviation: standard deviation of the finite values.
    """

    name: str
    shape: tuple[int, ...]
    low: float
    high: float
    mean: float
    deviation: float


@dataclass(frozen=True)
class WeightStatistics:
    """Statistics of one layer.

    Attributes:
        tensors: one entry for each run of floats in a weights file.
        low: lower edge of the first bin.
        high: upper edge of the last bin.
        counts: number of weights in each of ``BINS`` bins of equal width.
        outside: number of finite weights outside the bins.
        not_finite: number of floats of the layer, batch norm included, that are infinite or NaN.
    """

    tensors: tuple[TensorStatistics, ...]
    low: float
    high: float
    counts: tuple[int, ...]
    outside: int
    not_finite: int


def weight_statistics(network: Network) -> list[WeightStatistics | None]:
    """Return one entry per layer; None for a layer without floats in a weights file.

    The histogram is of the layer's weights, or of all its floats if it has only biases or batch
    norm.

    Example:
        >>> from darknet_builder import build_network
        >>> entry = weight_statistics(build_network("yolov4-tiny"))[0]
        >>> len(entry.counts), [tensor.name for tensor in entry.tensors]
        (33, ['bias', 'scale', 'mean', 'var', 'weight'])
    """
    return [_layer_statistics(network, layer) for layer in network.sequence()]


@torch.no_grad()
def _layer_statistics(network: Network, layer: Layer) -> WeightStatistics | None:
    layout = layer.weight_layout(network.header)
    if not layout:
        return None
    stored = [tensor for _, tensor in layout]
    weights = [tensor for name, tensor in layout if tensor_kind(name) not in _BESIDE]
    values = torch.cat([_finite(tensor) for tensor in weights or stored])
    low, high = _range(values)
    # Not torch.histc: it counts in float32, which is exact only to 2^24.
    counts, _ = np.histogram(values.numpy(), BINS, (low, high))
    tensors = tuple(_tensor_statistics(name, tensor) for name, tensor in layout)
    return WeightStatistics(
        tensors,
        low,
        high,
        tuple(counts.tolist()),
        values.numel() - int(counts.sum()),
        sum(tensor.numel() - _finite(tensor).numel() for tensor in stored),
    )


def _range(values: Tensor) -> tuple[float, float]:
    """Return the edges of the bins, which differ even if all values are equal."""
    if not values.numel():
        return -1.0, 1.0
    mean, reach = float(values.double().mean()), _REACH * float(values.double().std(correction=0))
    low, high = max(float(values.min()), mean - reach), min(float(values.max()), mean + reach)
    if low < high:
        return low, high
    # All values are equal: bins of some width around them.
    half = max(abs(mean), 1.0) / 2
    return mean - half, mean + half


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
    values = tensor.detach().flatten().to("cpu", torch.float32)  # (N,)
    return values[torch.isfinite(values)]


# ---- pictures -----------------------------------------------------------------------------------


def choose_parameters(network: Network, pattern: str) -> dict[str, Tensor]:
    """Return the parameters, by name, whose names match a pattern.

    Args:
        network: a network; its weights need not be loaded.
        pattern: a glob for whole names, such as ``layers.0.*``.

    Raises:
        InputError: if it matches no parameter, or more than the 64 that ``plot_histograms`` takes.
    """
    named = dict(network.named_parameters())
    chosen = {name: tensor.detach() for name, tensor in named.items() if fnmatchcase(name, pattern)}
    if not chosen:
        example = f"names are like {next(iter(named), '(none)')}"
        raise InputError(
            "matches no parameter",
            argument="pattern",
            value=pattern,
            hint=f"{did_you_mean(pattern, named)}; {example}",
        )
    if len(chosen) > _MAX_PLOTS:
        raise InputError(
            f"matches {len(chosen)} parameters, but one picture shows at most {_MAX_PLOTS}",
            argument="pattern",
            value=pattern,
            hint="use a narrower pattern, such as 'layers.1?.*'",
        )
    return chosen


def plot_histograms(states: Mapping[str, Mapping[str, Tensor]], path: str | Path) -> None:
    """Draw a histogram of each parameter, with one line for each state of the network.

    Args:
        states: label of the state -> name -> values; every state has the same names.
        path: path of the picture; the suffix decides its format.

    Raises:
        MissingExtraError: if matplotlib is not installed.
        InputError: if the file cannot be written.
    """
    names = list(next(iter(states.values())))
    columns = min(len(names), _PLOT_COLUMNS)
    rows = -(-len(names) // _PLOT_COLUMNS)
    figure = load_figures().Figure(figsize=(4 * columns, 2.6 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for subplot, name in zip(axes, names, strict=False):
        _plot_parameter(subplot, name, {state: values[name] for state, values in states.items()})
    for subplot in axes[len(names) :]:
        subplot.set_axis_off()
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(states)
    )
    save_figure(figure, path, dpi=80)


def _plot_parameter(axes: Any, name: str, values: Mapping[str, Tensor]) -> None:
    low = min(float(tensor.min()) for tensor in values.values())
    high = max(float(tensor.max()) for tensor in values.values())
    # The same bins for all states, so that their lines can be compared.
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
