"""Prepare a network for export, and compare the exported file with it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from darknet_builder.export.layouts import layout_metadata
from darknet_builder.export.reference import Reference, trial_inputs
from darknet_builder.export.settings import LAYOUTS, ExportSettings
from darknet_builder.export.tolerance import Comparison, compare_values
from darknet_builder.export.traceable import (
    Sizes,
    Traceable,
    coarsest_step,
    describe,
    plan_sizes,
)
from darknet_builder.images.fits import FITS, RESIZE_MODES, check_resize
from darknet_builder.network.folding import fold_batch_norm
from darknet_builder.network.network import Network
from darknet_builder.network.task import class_names, default_resize, is_classifier, known_names


@dataclass(frozen=True)
class ExportJob:
    """Everything that the formats with a graph (ONNX, ``.pt2``, TorchScript) need.

    Attributes:
        module: the module to trace: the network at its level, with batch norm folded on request.
        reference: PyTorch's outputs, to compare with; batch norm is not folded in it.
        sizes: which input sizes are fixed and which may change.
        metadata: the file's metadata, text by key.
        inputs: test inputs by name, each (B, C, H, W) or (B, N).
        example: (B, C, H, W) or (B, N) zeros, to trace with.
    """

    module: Traceable
    reference: Reference
    sizes: Sizes
    metadata: dict[str, str]
    inputs: dict[str, Tensor]
    example: Tensor

    @classmethod
    def plan(cls, network: Network, settings: ExportSettings, fold: bool) -> ExportJob:
        """Prepare an export, and refuse here everything that can be refused before writing.

        Args:
            network: a network in eval mode on the CPU.
            settings: settings that ``check_settings`` has accepted.
            fold: whether to fold batch norm into the weights.

        Raises:
            InputError: with the reason, if the file cannot hold the network or a setting.
            DataError: if the number of names differs from the number of classes.
        """
        whole = Traceable(network, settings.level, settings.layout).eval()
        sizes = plan_sizes(network, settings.batch, settings.any_batch, settings.any_size)
        resize = resize_of(network, settings.resize)
        metadata = describe(
            network, settings.level, names_of(network, settings.names), resize, sizes
        )
        if network.heads:
            metadata |= settings.suppression.metadata(settings.level)
        if settings.layout != LAYOUTS[0]:
            names = class_names(network, settings.names or network.names or None)
            metadata |= layout_metadata(
                settings.layout, names, coarsest_step(network), sizes.batch, network.input_size
            )
        # The reference stays unfolded, so that the comparison covers the folding too.
        module = whole
        if fold:
            folded = fold_batch_norm(network)
            module = Traceable(folded, settings.level, settings.layout).eval()
        inputs = dict(trial_inputs(network, sizes, resize, settings.images))
        example = torch.zeros(network.input_shape.batched(sizes.traced_batch))
        return cls(module, Reference(whole), sizes, metadata, inputs, example)

    def shapes(
        self, outputs: Sequence[Tensor]
    ) -> tuple[dict[str, list[int | str]], dict[str, list[int | str]]]:
        """Return (inputs, outputs): shapes by name, with a word for each size that may change.

        Args:
            outputs: PyTorch's outputs for one of ``inputs``.
        """
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
            run: calls the file's program: (B, C, H, W) -> its outputs, in the order of
                ``module.output_names``.

        Returns:
            One comparison for each trial input, and PyTorch's outputs for the first one.

        Raises:
            ExportError: naming the output that differs by more than float32 rounding explains.
        """
        comparisons, first_outputs = [], None
        names = self.module.output_names
        for what, x in self.inputs.items():
            expected = self.reference(x)
            first_outputs = first_outputs or expected
            # float64 is computed only if the values differ by more than usual.
            precise = partial(self.reference.precise, x)
            comparisons.append(compare_values(what, expected, run(x), names, precise))
        return comparisons, first_outputs or []


def at_rest(network: Network) -> Network:
    """Return the network in eval mode on the CPU, without the state of recurrent layers.

    Args:
        network: any network; it is not changed.

    Returns:
        A copy, or ``network`` itself if it is in that condition already.
    """
    is_training = any(module.training for module in network.modules())
    if network.device.type == "cpu" and not is_training and not network.is_recurrent:
        return network
    rested = copy.deepcopy(network).eval().cpu()
    rested.reset_state()
    return rested


def resize_of(network: Network, resize: str | None) -> str:
    """Return how images are fitted to the network's input.

    Args:
        network: the network to export.
        resize: the user's choice; None takes the default of the network's cfg and dialect.

    Raises:
        InputError: if networks of this kind cannot be fitted that way.
    """
    if resize is None:
        return default_resize(network)
    return check_resize(resize, FITS if is_classifier(network) else RESIZE_MODES)


def names_of(network: Network, names: Sequence[str]) -> tuple[str, ...]:
    """Return the class names for a file's metadata; empty without classes or names.

    Args:
        network: the network to export.
        names: one for each class; empty takes the network's own names.

    Raises:
        DataError: if the number of names differs from the number of classes.
    """
    return known_names(network, names or network.names or None)
