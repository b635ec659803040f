"""Compare the rate of the whole pipeline from file to picture with what the processor allows."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import torch

from darknet_builder.boxes.drawing import draw_detections
from darknet_builder.images.files import read_image, write_image
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
        pipeline_seconds: of each round, from the files to the pictures, or to the boxes.
        processor_seconds: processor time of each stage for all images of a round, summed over the
            threads; the median of the rounds.
        cores: number of processor cores that this process may use.

    Example:
        >>> stages = {"read": 0.2, "network": 1.0, "write": 0.3}
        >>> rate = PipelineRate("net", "torch:float32", 1, 10, [0.5], [1.0], stages, cores=2)
        >>> rate.network_rate, rate.pipeline_rate, round(rate.limit, 1)
        (20.0, 10.0, 13.3)
    """

    network: str
    contender: str
    batch: int
    images: int
    network_seconds: list[float] = field(default_factory=list)
    pipeline_seconds: list[float] = field(default_factory=list)
    processor_seconds: dict[str, float] = field(default_factory=dict)
    cores: int = 1

    @property
    def network_rate(self) -> float:
        """Return the images per second of the network alone in the median round."""
        return self.images / statistics.median(self.network_seconds)

    @property
    def pipeline_rate(self) -> float:
        """Return the images per second from file to picture in the median round."""
        return self.images / statistics.median(self.pipeline_seconds)

    @property
    def limit(self) -> float:
        """Return the images per second if no core ever waited: no pipeline can be faster."""
        return self.cores * self.images / sum(self.processor_seconds.values())

    @property
    def stages_ms(self) -> dict[str, float]:
        """Return the processor time of each stage in milliseconds per image."""
        return {
            stage: 1000 * seconds / self.images for stage, seconds in self.processor_seconds.items()
        }


def measure_pipeline(
    detector: Detector,
    name: str,
    candidate: str,
    paths: Sequence[str | Path],
    *,
    rounds: int = 3,
    pictures: bool = True,
) -> PipelineRate:
    """Time the network alone, the whole pipeline, and each stage by itself, interleaved.

    Args:
        detector: the detector; its ``batch`` is the number of images in a call.
        name: name of the network in reports.
        candidate: the detector's engine in reports, as ``backend:precision``.
        paths: photographs, all of which can be read.
        rounds: number of times that all photographs are processed.
        pictures: whether to draw the objects and write the pictures, to a temporary folder.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    rate = PipelineRate(name, candidate, detector.batch, len(paths), cores=cores or 1)
    stages: list[dict[str, float]] = []
    # (B, C, H, W)
    inputs = torch.stack([detector.prepare(path).x for path in paths[: detector.batch]])
    # Engines that compile do so for each input shape, before the clock runs.
    detector.warm_up(len(inputs))
    for _ in range(rounds):
        rate.network_seconds.append(_network_alone(detector, inputs, len(paths)))
        rate.pipeline_seconds.append(_whole_pipeline(detector, paths, pictures))
        stages.append(_stage_by_stage(detector, paths, pictures))
    for stage in stages[0]:
        rate.processor_seconds[stage] = statistics.median(times[stage] for times in stages)
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


def _whole_pipeline(detector: Detector, paths: Sequence[str | Path], pictures: bool) -> float:
    """Return the seconds from the files to the boxes, or to the pictures, drawn and written."""
    numbers = count()
    with tempfile.TemporaryDirectory() as folder:

        def finish(outcome: Outcome) -> None:
            picture = draw_detections(outcome.image, outcome.detections)
            write_image(Path(folder) / f"{next(numbers)}.jpg", picture)

        start = time.perf_counter()
        for _ in stream(detector, paths, finish if pictures else None):
            pass
        return time.perf_counter() - start


def _stage_by_stage(
    detector: Detector, paths: Sequence[str | Path], pictures: bool
) -> dict[str, float]:
    """Return the seconds of processor time of each stage, which run one after the other."""
    seconds: dict[str, float] = defaultdict(float)
    # One folder for all, as in the pipeline: to make and remove one takes time as well.
    with tempfile.TemporaryDirectory() as folder:
        for first in range(0, len(paths), detector.batch):
            with _counting(seconds, "read"):
                images = [read_image(path) for path in paths[first : first + detector.batch]]
            with _counting(seconds, "resize"):
                prepared = [detector.prepare(image) for image in images]
            with _counting(seconds, "network"):
                raw_maps = detector.raw_maps(torch.stack([item.x for item in prepared]))
                synchronize(detector.device)
            with _counting(seconds, "post-process"):
                found = detector.interpret(raw_maps, [item.placement for item in prepared])
            if pictures:
                with _counting(seconds, "draw"):
                    drawn = [draw_detections(*pair) for pair in zip(images, found, strict=True)]
                with _counting(seconds, "write"):
                    for number, picture in enumerate(drawn, first):
                        write_image(Path(folder) / f"{number}.jpg", picture)
    return seconds


@contextmanager
def _counting(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Add the processor time of the block, in all threads, to a stage."""
    start = time.process_time()
    yield
    seconds[stage] += time.process_time() - start
