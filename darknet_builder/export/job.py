"""Prepare a network to be exported, and compare the file with it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from darknet_builder.export.reference import Reference, trial_inputs
from darknet_builder.export.settings import ExportSettings
from darknet_builder.export.tolerance import Comparison, compare_values
from darknet_builder.export.traceable import Sizes, Traceable, describe, plan_sizes
from darknet_builder.images.fits import FITS, RESIZE_MODES, check_resize
from darknet_builder.network.folding import fold_batch_norm
from darknet_builder.network.network import Network
from darknet_builder.network.task import default_resize, is_classifier, known_names


@dataclass(frozen=True)
class ExportJob:
    """All that the formats which hold a graph need.

    Attributes:
        module: what is traced: the network at its level, with batch norm folded where asked for.
        reference: PyTorch's own outputs, to compare with.
        sizes: of the inputs, fixed or free.
        metadata: of the file, text by key.
        inputs: to try the file on, by name.
        example: (B, C, H, W) zeros, to trace with.
    """

    module: Traceable
    reference: Reference
    sizes: Sizes
    metadata: dict[str, str]
    inputs: dict[str, Tensor]
    example: Tensor

    @classmethod
    def plan(cls, network: Network, settings: ExportSettings, fold: bool) -> ExportJob:
        """Prepare an export; everything that can be refused is refused here.

        Raises:
            InputError: with the reason, for a network or a setting that the file cannot hold.
            DataError: for names that do not fit the network.
        """
        whole = Traceable(network, settings.level).eval()
        sizes = plan_sizes(network, settings.batch, settings.any_batch, settings.any_size)
        resize = resize_of(network, settings.resize)
        metadata = describe(
            network, settings.level, names_of(network, settings.names), resize, sizes
        )
        if network.heads:
            metadata |= settings.suppression.metadata(settings.level)
        module = Traceable(fold_batch_norm(network), settings.level).eval() if fold else whole
        inputs = dict(trial_inputs(network, sizes, resize, settings.images))
        example = torch.zeros(network.input_shape.batched(sizes.traced_batch))
        return cls(module, Reference(whole), sizes, metadata, inputs, example)

    def shapes(
        self, outputs: Sequence[Tensor]
    ) -> tuple[dict[str, list[int | str]], dict[str, list[int | str]]]:
        """Input and outputs by name; what may change goes by a word."""
        first: int | str = "batch" if self.sizes.any_batch else self.sizes.batch
        inner: list[int | str] = (
            ["height", "width"] if self.sizes.any_size else list(self.example.shape[2:])
        )
        inputs = {self.module.input_name: [first, self.example.shape[1], *inner]}
        return inputs, {
            name: [first, *output.shape[1:]]
            for name, output in zip(self.module.output_names, outputs, strict=True)
        }

    def compare(
        self, run: Callable[[Tensor], Sequence[Any]]
    ) -> tuple[list[Comparison], list[Tensor]]:
        """Compare a file with the network on every trial input.

        Args:
            run: the file: (B, C, H, W) -> its outputs.

        Returns:
            The comparisons, and PyTorch's outputs of the first input.

        Raises:
            ExportError: naming the output that differs by more than float32 explains.
        """
        comparisons, first = [], None
        for what, x in self.inputs.items():
            wanted = self.reference(x)
            first = first or wanted
            comparisons.append(
                compare_values(
                    what,
                    wanted,
                    run(x),
                    self.module.output_names,
                    partial(self.reference.precise, x),
                )
            )
        return comparisons, first or []


def at_rest(network: Network) -> Network:
    """The network in eval mode on the CPU, without a state: a copy, unless it is so already."""
    if network.device.type == "cpu" and not any(module.training for module in network.modules()):
        if not network.is_recurrent:
            return network
    rested = copy.deepcopy(network).eval().cpu()
    rested.reset_state()
    return rested


def resize_of(network: Network, resize: str | None) -> str:
    """Return how images are fitted: checked if it is given, otherwise the network's own way."""
    if resize is None:
        return default_resize(network)
    return check_resize(resize, FITS if is_classifier(network) else RESIZE_MODES)


def names_of(network: Network, names: Sequence[str]) -> tuple[str, ...]:
    """Return the class names for a file: those given, or else the network's own; empty if there are
    none.

    Raises:
        DataError: when they are not as many as the network has classes.
    """
    return known_names(network, names or network.names or None)
