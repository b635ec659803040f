"""Training as it was recorded: the same weights, images and boxes, a few whole steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import generator
import numpy as np
import torch
from torch import Tensor

from darknet_builder.layers.base import WeightsHeader
from darknet_builder.layers.convolutional import Convolutional
from darknet_builder.losses.whole_network import LossReport, Targets, loss_inputs, network_loss
from darknet_builder.network.build import build_network
from darknet_builder.network.network import Network
from darknet_builder.training.optimizer import clip_weights, freeze, make_optimizer
from darknet_builder.training.schedules import make_scheduler
from tests.conftest import read_fixture

_NUDGE = 1e-7


@dataclass
class Run:
    """What our training came to, in the recorded fixture's terms.

    Attributes:
        costs: by (step, subdivision, layer).
        rates: one a step.
        outputs, deltas: by layer, of the first part of the first step.
        gradients: by (layer, ``weight``, ``bias`` or ``scale``), of the first step's whole batch,
            minus the gradient: the values at the recorded positions and the norm of all.
        weights: of each segment of the weights file after all steps: the values at the recorded
            positions, and the norm of all its changes.
    """

    costs: dict[tuple[int, int, int], float] = field(default_factory=dict)
    rates: list[float] = field(default_factory=list)
    outputs: dict[int, np.ndarray] = field(default_factory=dict)
    deltas: dict[int, np.ndarray] = field(default_factory=dict)
    gradients: dict[tuple[int, str], tuple[np.ndarray, float]] = field(default_factory=dict)
    weights: list[tuple[np.ndarray, float]] = field(default_factory=list)


class Recording:
    """One ``training/*.npz``."""

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self.meta: dict[str, Any]
        self.meta, self.arrays = read_fixture(path)

    # ---- how it was made -------------------------------------------------------------------------

    def network(self) -> Network:
        """The cfg with the weights at the start."""
        network = build_network(self.meta["cfg_text"], initialize=False).train()
        start = 0
        for tensor, (_, kind, count, fan_in, gain) in zip(
            stored(network), self.meta["segments"], strict=True
        ):
            values = generator.segment_values(kind, count, fan_in, gain, self.meta["seed"], start)
            with torch.no_grad():
                tensor.copy_(torch.from_numpy(values).view(tensor.shape))
            start += count
        return network

    def images(self) -> Tensor:
        """All of them, in order."""
        meta = self.meta
        shape = (meta["steps"] * meta["batch"], 3, meta["height"], meta["width"])
        return torch.from_numpy(generator.input_image(meta["seed"] + 1, shape))

    def targets(self, chosen: slice) -> Targets:
        """Boxes, or labels, of some images."""
        boxes = torch.from_numpy(self.arrays["boxes"][chosen])
        return (
            Targets.of_labels(boxes, self.meta["classes"])
            if boxes.dim() == 1
            else Targets.of_boxes(list(boxes))
        )

    def run(self, *, nudge: int = 0) -> Run:
        """Train.

        Args:
            nudge: the seed of a change of every pixel by some 1e-7 of itself, about as much as
                float32 rounds; 0 for none. How far two such runs come apart shows how much of a
                difference is chaos.
        """
        network, images, run = self.network(), self.images(), Run()
        if nudge:
            torch.manual_seed(nudge)
            images = images * (1 + _NUDGE * torch.randn_like(images))
        before = [tensor.detach().clone() for tensor in stored(network)]
        optimizer = make_optimizer(network)
        scheduler = make_scheduler(optimizer, network.options.schedule)
        for step in range(self.meta["steps"]):
            freeze(network, step)
            run.rates.append(optimizer.param_groups[0]["lr"])
            self._accumulate(network, images, step, run)
            optimizer.step()
            clip_weights(network)
            scheduler.step()
            optimizer.zero_grad()
        for number, (new, old) in enumerate(zip(stored(network), before, strict=True)):
            positions = generator.sample_positions(
                self.meta["seed"] + 5000 + number, new.numel(), 32
            )
            values = new.detach().flatten()[positions].numpy()
            run.weights.append((values, float((new.detach() - old).double().norm())))
        return run

    def _accumulate(self, network: Network, images: Tensor, step: int, run: Run) -> None:
        """Forward and backward through one batch, in its parts."""
        part = self.meta["batch"] // self.meta["subdivisions"]
        for number in range(self.meta["subdivisions"]):
            start = step * self.meta["batch"] + number * part
            maps = loss_inputs(network, images[start : start + part])
            report = network_loss(
                network, maps, self.targets(slice(start, start + part)), seen=start + part
            )
            run.costs.update(
                {(step, number, loss.layer): float(loss.value.detach()) for loss in report.heads}
            )
            if step == number == 0:
                _note_heads(network, report, maps, run)
            (report.total / self.meta["batch"]).backward()
        if step == 0:
            for (layer, kind), parameter in convolution_parameters(network):
                assert parameter.grad is not None
                gradient = -parameter.grad.flatten().double() * self.meta["batch"]
                positions = generator.sample_positions(
                    self.meta["seed"] + 3 + layer, len(gradient), 64
                )
                run.gradients[layer, kind] = gradient[positions].numpy(), float(gradient.norm())

    # ---- what was recorded -----------------------------------------------------------------------

    def gradient_errors(self, run: Run, other: Run | None = None) -> dict[tuple[int, str], float]:
        """The largest difference at the sampled positions, and that of the norms, over the recorded
        norm.

        Args:
            run: ours.
            other: another of ours to compare with, instead of the recorded values.
        """
        errors = {}
        for (layer, kind), (values, norm) in run.gradients.items():
            name = f"gradient/{layer}/{kind}"
            recorded = self.arrays[name], float(self.arrays[f"{name}/norm"])
            theirs, whole = recorded if other is None else other.gradients[layer, kind]
            errors[layer, kind] = (
                max(np.abs(values - theirs).max(), abs(norm - whole)) / recorded[1]
            )
        return errors

    def weight_errors(self, run: Run, other: Run | None = None) -> np.ndarray:
        """Of each segment after all steps: the largest difference and that of the changes' norms,
        over that norm."""
        errors = []
        for number, (values, change) in enumerate(run.weights):
            recorded = (
                self.arrays[f"after/{number}/values"],
                float(self.arrays[f"after/{number}/change"]),
            )
            theirs, whole = recorded if other is None else other.weights[number]
            errors.append(
                max(np.abs(values - theirs).max(), abs(change - whole)) / max(recorded[1], 1e-12)
            )
        return np.array(errors)

    def cost_errors(self, run: Run, other: Run | None = None) -> np.ndarray:
        """(steps, costs a step): relative differences."""
        rows = [
            (
                run.costs[step, part, layer],
                cost if other is None else other.costs[step, part, layer],
            )
            for step, part, layer, cost in self.meta["costs"]
        ]
        return np.array([abs(ours / theirs - 1) for ours, theirs in rows]).reshape(
            self.meta["steps"], -1
        )


def stored(network: Network) -> list[Tensor]:
    """The tensors of the weights file, in its order."""
    return [
        tensor for layer in network.sequence() for _, tensor in layer.weight_layout(WeightsHeader())
    ]


def convolution_parameters(network: Network) -> Iterator[tuple[tuple[int, str], Tensor]]:
    """((layer, kind), parameter) of every convolution, by Darknet's names."""
    for index, layer in enumerate(network.sequence()):
        if isinstance(layer, Convolutional):
            yield (index, "weight"), layer.conv.weight
            bias = layer.conv.bias if layer.norm is None else layer.norm.bias
            assert bias is not None
            yield (index, "bias"), bias
            if layer.norm is not None:
                yield (index, "scale"), layer.norm.weight


def _note_heads(network: Network, report: LossReport, maps: list[Tensor], run: Run) -> None:
    for loss, raw in zip(report.heads, maps, strict=True):
        (gradient,) = torch.autograd.grad(loss.value, raw, retain_graph=True)
        run.deltas[loss.layer] = -gradient.flatten().numpy()
        with torch.no_grad():
            run.outputs[loss.layer] = network.sequence()[loss.layer](raw).flatten().numpy()
