"""Measure how fast a network trains: whole steps, including the preparation of their images."""

from __future__ import annotations

import io
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from darknet_builder.cfg.source import read_cfg
from darknet_builder.network.network import Network
from darknet_builder.prediction.loading import load_network
from darknet_builder.support.devices import computes_bfloat16
from darknet_builder.training.log.run_log import LOG_NAME, read_log
from darknet_builder.training.samples import LabelledImages
from darknet_builder.training.settings import PRECISIONS, TrainSettings
from darknet_builder.training.trainer import Trainer

WARM_STEPS = 5
"""Steps that are not counted: their images were prepared while the training started."""


@dataclass(frozen=True)
class TrainingCase:
    """A network whose training is timed.

    Attributes:
        cfg: path or name of the cfg.
        size: width and height of the input in pixels; None for the cfg's.
        dialect: ``alexeyab`` or ``pjreddie``; None for the one noted in the cfg.
        weights: path of the initial weights; None for random ones.
    """

    cfg: str
    size: int | None = None
    dialect: str | None = None
    weights: str | None = None

    def network(self, batch: int, steps: int) -> Network:
        """Build the network with its batch in one part and without multi-scale training.

        Args:
            batch: number of images in a step.
            steps: number of steps, as ``max_batches`` of the cfg.
        """
        source = read_cfg(self.cfg)
        blocks = source.blocks
        for index, block in enumerate(blocks):
            if "random" in block:  # multi-scale training would change the size between steps
                blocks[index] = block.with_option("random", "0")
        for key, value in (("batch", batch), ("subdivisions", 1), ("max_batches", steps)):
            blocks[0] = blocks[0].with_option(key, str(value))
        return load_network(
            blocks,
            self.weights,
            width=self.size,
            height=self.size,
            dialect=self.dialect or source.dialect,
            initialize=True,
        )


def trained_precisions(device: torch.device) -> list[str]:
    """Return those of ``PRECISIONS`` at which training on the device is timed."""
    return [name for name in PRECISIONS if name == "float32" or computes_bfloat16(device)]


@dataclass
class TrainingRate:
    """The times of training steps at one precision.

    Attributes:
        network: name of the network.
        size: (width, height) of the input in pixels.
        batch: number of images in a step.
        precision: type of the activations: ``float32`` or ``bfloat16``.
        seconds: duration of each step in seconds.
        waited: seconds of each step spent waiting for its images.

    Example:
        >>> rate = TrainingRate("net", (416, 416), 8, "float32", seconds=[0.5], waited=[0.125])
        >>> rate.images_per_second, rate.waiting
        (16.0, 0.25)
    """

    network: str
    size: tuple[int, int]
    batch: int
    precision: str
    seconds: list[float] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)

    @property
    def images_per_second(self) -> float:
        """Return the images per second in the median step."""
        return self.batch / statistics.median(self.seconds)

    @property
    def waiting(self) -> float:
        """Return the share of all time spent waiting for images, 0 to 1."""
        return sum(self.waited) / sum(self.seconds)


def measure_training(
    make_network: Callable[[int], Network],
    name: str,
    images: LabelledImages,
    *,
    precisions: Sequence[str],
    rounds: int,
    steps: int,
    workers: int,
    device: str = "cpu",
) -> list[TrainingRate]:
    """Time the training of a network, interleaving the precisions.

    Every training starts again from the same state; nothing is kept.

    Args:
        make_network: builds the network for a number of steps, which includes ``WARM_STEPS``.
        name: name of the network in reports.
        images: the training images with their labels.
        precisions: names from ``training.settings.PRECISIONS``, in the order of the result.
        rounds: number of trainings at each precision.
        steps: number of counted steps in a training.
        workers: number of processes that prepare images, as for ``TrainSettings``.
        device: name of a torch device.

    Raises:
        DarknetError: as ``Trainer``.
    """
    rates: dict[str, TrainingRate] = {}
    for _ in range(rounds):
        for precision in precisions:
            network = make_network(WARM_STEPS + steps)
            rate = rates.setdefault(
                precision, TrainingRate(name, network.input_size, network.options.batch, precision)
            )
            with tempfile.TemporaryDirectory() as folder:
                settings = TrainSettings(
                    Path(folder) / "run",
                    precision=precision,
                    workers=workers,
                    device=device,
                    save_every=WARM_STEPS + steps,  # once, after the last step
                )
                records = _train(network, images, settings)
            rate.seconds += [record["seconds"] for record in records]
            rate.waited += [record["waited"] for record in records]
    return list(rates.values())


def _train(
    network: Network, images: LabelledImages, settings: TrainSettings
) -> list[dict[str, Any]]:
    """Train, and return the log records of the counted steps."""
    Trainer(network, images, settings, out=io.StringIO()).run()
    log = read_log(settings.output / LOG_NAME)
    # The log has other records as well, such as those of validations.
    return [record for record in log if "seconds" in record][WARM_STEPS:]
