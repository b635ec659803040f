"""Compare engines by interleaved calls, so that other work of the machine affects all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from darknet_builder.benchmark.candidates import computed_precisions, make_runner
from darknet_builder.benchmark.reference_program import opencv_reference
from darknet_builder.engines.base import COMPILED_FROM_CALL, PRECISIONS
from darknet_builder.errors import DarknetError
from darknet_builder.network.network import Network
from darknet_builder.support.devices import synchronize
from darknet_builder.support.resident_memory import peak_bytes_of

_MATRIX_SIDE, _MATRIX_ROUNDS = 2048, 7


@dataclass
class Timing:
    """The times of one candidate.

    Attributes:
        name: the candidate as ``backend:precision``, or the name of a reference program.
        detail: short description of the method.
        seconds: of each round, for a whole batch.
        peak_bytes: growth of the process's memory during one call; None if the system does not
            tell.
        stages: median seconds of each stage; empty unless measured end to end.

    Example:
        >>> timing = Timing("torch:float32", "graph", seconds=[0.2, 0.4, 0.3])
        >>> timing.median, round(timing.spread, 3)
        (0.3, 0.2)
    """

    name: str
    detail: str
    seconds: list[float] = field(default_factory=list)
    peak_bytes: int | None = None
    stages: dict[str, float] = field(default_factory=dict)

    @property
    def median(self) -> float:
        """Return the median seconds of a batch."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Return the interquartile range in seconds; 0 for a single round."""
        if len(self.seconds) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.seconds, n=4)
        return high - low


@dataclass
class _Candidate:
    """A program to be measured.

    Attributes:
        timing: the record to which the seconds of each round are appended.
        call: runs one batch and returns the seconds.
        in_this_process: whether its memory is part of this process, so that it can be measured.
    """

    timing: Timing
    call: Callable[[], float]
    in_this_process: bool = True


@dataclass
class Comparison:
    """The timings of one network at one size and batch.

    Attributes:
        network: name of the network.
        size: (width, height) of the input in pixels.
        batch: number of images in a call.
        bflops: billions of operations for one image.
        timings: one for each candidate that ran.
        failures: why each of the other candidates could not run.

    Example:
        >>> timings = [Timing("a:float32", "", [0.4]), Timing("b:float32", "", [0.2])]
        >>> comparison = Comparison("net", (416, 416), 1, 5.0, timings)
        >>> [(row["contender"], row["ratio"], row["gflops"]) for row in comparison.rows()]
        [('b:float32', 1.0, 25.0), ('a:float32', 2.0, 12.5)]
    """

    network: str
    size: tuple[int, int]
    batch: int
    bflops: float
    timings: list[Timing] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each candidate, the fastest first; times in ms, rates in GFLOP/s."""
        timings = sorted(self.timings, key=lambda timing: timing.median)
        return [self._row(timing, timings[0].median) for timing in timings]

    def _row(self, timing: Timing, best: float) -> dict[str, Any]:
        """Return the row of one candidate.

        Args:
            timing: the seconds of this candidate's rounds.
            best: the smallest median of all candidates, in seconds.
        """
        peak_mib = None if timing.peak_bytes is None else timing.peak_bytes / 2**20
        stages_ms = {name: 1e3 * seconds for name, seconds in timing.stages.items()}
        return {
            "network": self.network,
            "width": self.size[0],
            "height": self.size[1],
            "batch": self.batch,
            "contender": timing.name,
            "detail": timing.detail,
            "median_ms": 1e3 * timing.median,
            "min_ms": 1e3 * min(timing.seconds),
            "iqr_ms": 1e3 * timing.spread,
            "ratio": timing.median / best,
            "gflops": self.bflops * self.batch / timing.median,
            "peak_mib": peak_mib,
            "stages_ms": stages_ms,
            "rounds": len(timing.seconds),
        }


def matrix_rates(device: torch.device) -> dict[str, float]:
    """Return the GFLOP/s of a large matrix product at each precision that the device computes.

    This is about the highest rate that a network could reach.
    """
    rates = {}
    for name in computed_precisions(device):
        left = torch.rand(_MATRIX_SIDE, _MATRIX_SIDE).to(device, PRECISIONS[name])
        seconds = []
        for _ in range(_MATRIX_ROUNDS):
            start = time.perf_counter()
            torch.mm(left, left)
            synchronize(device)
            seconds.append(time.perf_counter() - start)
        # n x n cells, each the sum of n products: 2 * n^3 operations.
        # The fastest round, as this is the bound that other rates are compared with.
        rates[name] = 2 * _MATRIX_SIDE**3 / min(seconds) / 1e9
    return rates


def compare(
    network: Network,
    name: str,
    *,
    candidates: Sequence[str],
    batch: int = 1,
    rounds: int = 20,
    reference_python: str | None = None,
) -> Comparison:
    """Measure the network alone on every candidate.

    Args:
        network: a loaded network in eval mode, at the size to be measured.
        name: name of the network in reports.
        candidates: what to measure, each as ``backend:precision``; see ``make_runner``.
        batch: number of images in a call.
        rounds: number of measured calls of each candidate.
        reference_python: path of an interpreter whose ``cv2.dnn`` is measured as well; None for
            none.

    Example:
        >>> from darknet_builder import build_network
        >>> from darknet_builder.support.bundled import default_model
        >>> network = build_network(default_model()[0], width=32, height=32).eval()
        >>> result = compare(network, "shapes", candidates=["plain:float32"], rounds=2)
        >>> [(timing.name, len(timing.seconds)) for timing in result.timings]
        [('plain:float32', 2)]
    """
    result = Comparison(name, network.input_size, batch, network.bflops)
    x = torch.rand(network.input_shape.batched(batch), device=network.device)
    with ExitStack() as stack, torch.inference_mode():
        measured = _make_candidates(network, candidates, x, result)
        if reference_python:
            try:
                label, call = stack.enter_context(
                    opencv_reference(network, reference_python, batch)
                )
                timing = Timing(label, "Darknet importer, other interpreter")
                measured.append(_Candidate(timing, call, in_this_process=False))
            except DarknetError as error:
                result.failures["opencv"] = str(error)
        result.timings = [candidate.timing for candidate in measured]
        _measure_interleaved(measured, rounds)
    return result


def _make_candidates(
    network: Network, names: Sequence[str], x: Tensor, result: Comparison
) -> list[_Candidate]:
    """Make the candidates that can run the network; record the others in ``result.failures``."""
    made = []
    for name in dict.fromkeys(names):
        try:
            runner, detail = make_runner(network, name)
            made.append(_Candidate(Timing(name, detail), _timed(runner, x)))
        except DarknetError as error:
            result.failures[name] = str(error)
    return made


def _timed(runner: Callable[[Tensor], object], x: Tensor) -> Callable[[], float]:
    """Return a function that runs a batch and returns the seconds until its result is complete."""

    def call() -> float:
        start = time.perf_counter()
        runner(x)
        synchronize(x.device)
        return time.perf_counter() - start

    return call


def _measure_interleaved(candidates: Sequence[_Candidate], rounds: int) -> None:
    """Warm up, then time one call of each per round in rotating order; measure memory last."""
    for candidate in candidates:
        # The first calls compile; two more run the compiled code, to fill the caches.
        for _ in range(COMPILED_FROM_CALL + 2):
            candidate.call()
    for number in range(rounds):
        # Rotate the order, so that no candidate is always the first: 0 1 2, 1 2 0, 2 0 1, ...
        start = number % max(len(candidates), 1)
        for candidate in [*candidates[start:], *candidates[:start]]:
            # Not counted: threads of the previous candidate may still spin, waiting for more work.
            candidate.call()
            candidate.timing.seconds.append(candidate.call())
    for candidate in candidates:
        if candidate.in_this_process:
            candidate.timing.peak_bytes = peak_bytes_of(candidate.call)


def as_document(
    comparisons: Sequence[Comparison],
    rates: dict[str, float],
    pipelines: Sequence[Any] = (),
    trainings: Sequence[Any] = (),
) -> dict[str, Any]:
    """Return all results as plain data for JSON, including the seconds of each round.

    Args:
        comparisons: one for each measured network.
        rates: GFLOP/s of the device at each precision, from ``matrix_rates``.
        pipelines: dataclasses, such as ``PipelineRate``.
        trainings: dataclasses, such as ``TrainingRate``.
    """
    rows = [row for comparison in comparisons for row in comparison.rows()]
    return {
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "matrix_gflops": rates,
        "rows": rows,
        "comparisons": list(map(asdict, comparisons)),
        "pipelines": list(map(asdict, pipelines)),
        "trainings": list(map(asdict, trainings)),
    }
