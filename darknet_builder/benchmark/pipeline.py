"""Compare the rate of the whole pipeline from file to picture with that of the network alone."""

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
    """The times of one engine.

    Attributes:
        network: name of the network.
        contender: the engine as ``backend:precision``.
        batch: number of images in a call.
        images: number of photographs in a round.
        network_seconds: of each round, for all images through the network alone.
        pipeline_seconds: of each round, from the files to the pictures.

    Example:
        >>> rate = PipelineRate("net", "torch:float32", 1, 10, [0.5], [1.0])
        >>> rate.network_rate, rate.pipeline_rate
        (20.0, 10.0)
    """

    network: str
    contender: str
    batch: int
    images: int
    network_seconds: list[float] = field(default_factory=list)
    pipeline_seconds: list[float] = field(default_factory=list)

    @property
    def network_rate(self) -> float:
        """Return the images per second of the network alone in the median round."""
        return self.images / statistics.median(self.network_seconds)

    @property
    def pipeline_rate(self) -> float:
        """Return the images per second from file to picture in the median round."""
        return self.images / statistics.median(self.pipeline_seconds)


def measure_pipeline(
    detector: Detector, name: str, candidate: str, paths: Sequence[str | Path], *, rounds: int = 3
) -> PipelineRate:
    """Time the network alone and the whole pipeline, interleaved.

    The pictures are written to a temporary folder.

    Args:
        detector: the detector; its ``batch`` is the number of images in a call.
        name: name of the network in reports.
        candidate: the detector's engine in reports, as ``backend:precision``.
        paths: photographs, all of which can be read.
        rounds: number of times that all photographs are processed.
    """
    rate = PipelineRate(name, candidate, detector.batch, len(paths))
    # (B, C, H, W)
    inputs = torch.stack([detector.prepare(path).x for path in paths[: detector.batch]])
    # Engines that compile do so for each input shape, before the clock runs.
    detector.warm_up(len(inputs))
    for _ in range(rounds):
        rate.network_seconds.append(_network_alone(detector, inputs, len(paths)))
        rate.pipeline_seconds.append(_whole_pipeline(detector, paths))
    return rate


def _network_alone(detector: Detector, inputs: torch.Tensor, images: int) -> float:
    """Return the seconds that the network takes for ``images`` images.

    Args:
        detector: supplies the engine and its device.
        inputs: (B, C, H, W), one batch, which is used again and again.
        images: number of images in all; the last call computes the rest.
    """
    start = time.perf_counter()
    for first in range(0, images, len(inputs)):
        detector.raw_maps(inputs[: images - first])
    synchronize(detector.device)  # a GPU is still computing when the last call returns
    return time.perf_counter() - start


def _whole_pipeline(detector: Detector, paths: Sequence[str | Path]) -> float:
    """Return the seconds from the files to the pictures, drawn and written."""
    numbers = count()
    with tempfile.TemporaryDirectory() as folder:

        def finish(outcome: Outcome) -> None:
            picture = draw_detections(outcome.image, outcome.detections)
            write_image(Path(folder) / f"{next(numbers)}.jpg", picture)

        start = time.perf_counter()
        for _ in stream(detector, paths, finish):
            pass
        return time.perf_counter() - start
