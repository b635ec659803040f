"""How much of the network's own rate is left when photographs are read, interpreted, drawn and
written as well.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import torch

from darknet_builder.boxes.drawing import draw_detections
from darknet_builder.images.files import write_image
from darknet_builder.prediction.detector import Detector
from darknet_builder.prediction.pipeline import Outcome, stream
from darknet_builder.support.devices import synchronize


@dataclass
class PipelineRate:
    """What came of one engine.

    Attributes:
        network: its name.
        contender: ``backend:precision``.
        batch: images a call.
        images: how many photographs.
        network_seconds: of each round: all images through the network alone.
        pipeline_seconds: of each round: from the files to the pictures.
    """

    network: str
    contender: str
    batch: int
    images: int
    network_seconds: list[float] = field(default_factory=list)
    pipeline_seconds: list[float] = field(default_factory=list)

    @property
    def network_rate(self) -> float:
        """Images a second of the network alone, by the median round."""
        return self.images / statistics.median(self.network_seconds)

    @property
    def pipeline_rate(self) -> float:
        """Images a second from the file to the picture, likewise."""
        return self.images / statistics.median(self.pipeline_seconds)


def measure_pipeline(
    detector: Detector, name: str, candidate: str, paths: Sequence[str | Path], *, rounds: int = 3
) -> PipelineRate:
    """Time the folder and the network alone, interleaved, the pictures in a folder that is then
    removed.

    Args:
        detector: its batch counts.
        name: of the network, for people.
        candidate: ``backend:precision``, for people.
        paths: photographs that can be read.
        rounds: how often.
    """
    rate = PipelineRate(name, candidate, detector.batch, len(paths))
    inputs = torch.stack([detector.prepare(path).x for path in paths[: detector.batch]])
    detector.warm_up(len(inputs))
    for _ in range(rounds):
        rate.network_seconds.append(_network_alone(detector, inputs, len(paths)))
        rate.pipeline_seconds.append(_whole(detector, paths))
    return rate


def _network_alone(detector: Detector, inputs: torch.Tensor, images: int) -> float:
    """Seconds for so many images, in batches of the same ones."""
    start = time.perf_counter()
    for first in range(0, images, len(inputs)):
        detector.raw_maps(inputs[: images - first])
    synchronize(detector.device)
    return time.perf_counter() - start


def _whole(detector: Detector, paths: Sequence[str | Path]) -> float:
    numbers = count()
    with tempfile.TemporaryDirectory() as folder:

        def finish(outcome: Outcome) -> None:
            picture = draw_detections(outcome.image, outcome.detections)
            write_image(Path(folder) / f"{next(numbers)}.jpg", picture)

        start = time.perf_counter()
        for _ in stream(detector, paths, finish):
            pass
        return time.perf_counter() - start
