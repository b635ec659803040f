"""How fast a network learns: whole steps, the making of their images included, at each precision,
interleaved.
"""

from __future__ import annotations

import io
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from darknet_builder.cfg.source import read_cfg
from darknet_builder.network.network import Network
from darknet_builder.prediction.loading import load_network
from darknet_builder.support.devices import computes_bfloat16
from darknet_builder.training.batches import LabelledImages
from darknet_builder.training.log.run_log import LOG_NAME, read_log
from darknet_builder.training.settings import PRECISIONS, TrainSettings
from darknet_builder.training.trainer import Trainer

WARM_STEPS = 5
"""Not counted: the first steps find images that were made while the training began."""


@dataclass(frozen=True)
class TrainingCase:
    """A network to time the training of.

    Attributes:
        cfg: path or name of the cfg.
        size: width and height of the input in pixels; None for the cfg's own.
        dialect: whose Darknet; None for what the cfg notes.
        weights: path of weights to begin from; None for random ones.
    """

    cfg: str
    size: int | None = None
    dialect: str | None = None
    weights: str | None = None

    def network(self, batch: int, steps: int) -> Network:
        """Build the network for a number of steps, with its batch in one part and without
        multi-scale training.
        """
        source = read_cfg(self.cfg)
        blocks = source.blocks
        for index, block in enumerate(blocks):
            if "random" in block:  # multi-scale training would have sizes of its own
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
    """Return those of ``PRECISIONS`` that training on a device is timed at."""
    return [name for name in PRECISIONS if name == "float32" or computes_bfloat16(device)]


@dataclass
class TrainingRate:
    """How one precision did.

    Attributes:
        network: its name.
        size: (width, height).
        batch: images a step.
        precision: ``float32`` or ``bfloat16``.
        seconds: of each step.
        waited: seconds of each step that went by before its images were there.
    """

    network: str
    size: tuple[int, int]
    batch: int
    precision: str
    seconds: list[float] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)

    @property
    def images_per_second(self) -> float:
        """By the median step."""
        return self.batch / statistics.median(self.seconds)

    @property
    def waiting(self) -> float:
        """The share of all time that was spent waiting for images."""
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
    """Train for a while, over and over from the same beginning; nothing is kept.

    Args:
        make_network: builds the network for so many steps, the ones that are not counted included.
        name: for people.
        images: to learn from.
        precisions: of ``training_settings.PRECISIONS``.
        rounds: trainings at each precision.
        steps: counted ones in a training.
        workers: processes that make images, as for ``TrainSettings``.
        device: where.

    Raises:
        DarknetError: what a training raises.
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
                    save_every=WARM_STEPS + steps,
                )
                Trainer(network, images, settings, out=io.StringIO()).run()
                records = [
                    record for record in read_log(settings.output / LOG_NAME) if "seconds" in record
                ]
            rate.seconds += [record["seconds"] for record in records[WARM_STEPS:]]
            rate.waited += [record["waited"] for record in records[WARM_STEPS:]]
    return list(rates.values())
