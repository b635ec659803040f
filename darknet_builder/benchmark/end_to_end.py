"""Measure a detector from the image file to the boxes, with the time of each stage."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from darknet_builder.benchmark.candidates import make_runner
from darknet_builder.benchmark.comparison import Comparison, Timing
from darknet_builder.engines.base import COMPILED_FROM_CALL
from darknet_builder.errors import DarknetError
from darknet_builder.images.files import read_image
from darknet_builder.images.resize import to_input
from darknet_builder.network.network import Network
from darknet_builder.network.task import default_resize
from darknet_builder.prediction.postprocessing import NmsRule, find_objects, nms_rule

_Runner = Callable[[Tensor], Any]


def compare_end_to_end(
    network: Network,
    name: str,
    images: Sequence[str | Path],
    *,
    candidates: Sequence[str],
    rounds: int = 5,
    threshold: float = 0.25,
    nms: float = 0.45,
) -> Comparison:
    """Measure decoding, resizing, network and post-processing, one image in a call.

    Args:
        network: a loaded detector in eval mode.
        name: name of the network in reports.
        images: image files; each round reads all of them.
        candidates: what to measure, each as ``backend:precision``.
        rounds: number of passes over all images.
        threshold: minimum confidence, 0 to 1.
        nms: NMS IoU threshold, 0 to 1; 1 disables suppression.

    Returns:
        The timings, with ``stages`` filled in.
    """
    # Batch 1: the stages of one image are timed one after the other.
    result = Comparison(name, network.input_size, 1, network.bflops)
    stages = _Stages(network, default_resize(network), threshold, nms, nms_rule(network))
    runners: dict[str, _Runner] = {}
    for candidate in dict.fromkeys(candidates):
        try:
            runners[candidate], detail = make_runner(network, candidate)
            result.timings.append(Timing(candidate, detail))
        except DarknetError as error:
            result.failures[candidate] = str(error)
    laps: dict[str, list[dict[str, float]]] = {timing.name: [] for timing in result.timings}
    with torch.inference_mode():
        # Numbers below 0 warm up and are not counted. The candidates are interleaved.
        for number in range(-COMPILED_FROM_CALL, rounds * len(images)):
            for timing in result.timings:
                seconds = stages.measure(runners[timing.name], images[number % len(images)])
                if number >= 0:
                    timing.seconds.append(sum(seconds.values()))
                    laps[timing.name].append(seconds)
    for timing in result.timings:
        timing.stages = _medians(laps[timing.name])
    return result


def _medians(laps: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the median of each stage, in the order of the stages."""
    stages: dict[str, list[float]] = {}
    for seconds in laps:
        for stage, value in seconds.items():
            stages.setdefault(stage, []).append(value)
    return {stage: statistics.median(values) for stage, values in stages.items()}


@dataclass(frozen=True)
class _Stages:
    """The stages from the file to the boxes, except for the network itself.

    Attributes:
        network: the detector whose heads decode the raw maps.
        resize: how an image is fitted: ``stretch`` or ``letterbox``.
        threshold: minimum confidence, 0 to 1.
        nms: NMS IoU threshold, 0 to 1.
        rule: how boxes suppress each other.
    """

    network: Network
    resize: str
    threshold: float
    nms: float
    rule: NmsRule

    def measure(self, runner: _Runner, path: str | Path) -> dict[str, float]:
        """Process one image, and return the seconds of each stage.

        Args:
            runner: computes the raw maps.
            path: path of the image file.
        """
        network, clock = self.network, _Clock()
        image = clock.lap("decode", partial(read_image, path))
        resize = partial(to_input, channels=network.options.channels)
        x, placement = clock.lap("resize", partial(resize, image, network.input_size, self.resize))
        # The copy to the device belongs to the network's time.
        raw_maps = clock.lap("network", partial(_run_one, runner, x, network.device))
        find = partial(find_objects, threshold=self.threshold, nms=self.nms, rule=self.rule)
        clock.lap("post-process", partial(find, network, raw_maps, [placement]))
        return clock.laps


def _run_one(runner: _Runner, x: Tensor, device: torch.device) -> Any:
    return runner(x[None].to(device))  # (C, H, W) -> (1, C, H, W)


class _Clock:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}

    def lap(self, stage: str, work: Callable[[], Any]) -> Any:
        """Do some work, record its duration and return its result."""
        start = time.perf_counter()
        result = work()
        self.laps[stage] = time.perf_counter() - start
        return result
