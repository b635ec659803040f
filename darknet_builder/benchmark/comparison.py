"""Engines side by side: their calls are interleaved, so that a busy moment of the machine affects
them all.
"""

from __future__ import annotations

import copy
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from darknet_builder.benchmark.memory import peak_bytes_of
from darknet_builder.cfg.parser import format_cfg
from darknet_builder.engines.base import COMPILED_FROM_CALL, PRECISIONS
from darknet_builder.engines.choice import make_engine
from darknet_builder.engines.names import installed_backends, precision_name
from darknet_builder.engines.onnxruntime_engine import onnx_bytes
from darknet_builder.errors import DarknetError, InputError
from darknet_builder.images.files import read_image
from darknet_builder.images.opencv import load_opencv
from darknet_builder.images.resize import to_input
from darknet_builder.network.network import Network
from darknet_builder.network.task import default_resize
from darknet_builder.prediction.postprocessing import find_objects, nms_rule
from darknet_builder.support.devices import computes_bfloat16, synchronize
from darknet_builder.weights.loader import save_weights

PLAIN = "plain"
"""``network(x)`` as it is: what there is without the fast path."""
CHANNELS_LAST = "channels-last"
"""The same with weights and input in the order that convolutions prefer: what a user of PyTorch can
do in one line."""
OPENCV = "opencv"
"""``cv2.dnn`` of this interpreter, which reads the ONNX file."""
_REFERENCE_PROGRAM = Path(__file__).with_name("peer_worker.py")
_MATRIX_SIDE, _MATRIX_ROUNDS = 2048, 7


@dataclass
class Timing:
    """How long one candidate took.

    Attributes:
        name: ``backend:precision``.
        detail: how it does it.
        seconds: of each round, a whole batch.
        peak_bytes: the process's growth during one call, where the system tells; None elsewhere.
        stages: end to end alone: median seconds of each stage.
    """

    name: str
    detail: str
    seconds: list[float] = field(default_factory=list)
    peak_bytes: int | None = None
    stages: dict[str, float] = field(default_factory=dict)

    @property
    def median(self) -> float:
        """Seconds of a batch."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """The distance between the quartiles in seconds."""
        if len(self.seconds) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.seconds, n=4)
        return high - low


@dataclass
class _Candidate:
    """One program to be measured.

    Attributes:
        timing: where its seconds go.
        call: run one batch; returns the seconds.
        in_this_process: whether its memory is that of this process, so that it can be measured.
    """

    timing: Timing
    call: Callable[[], float]
    in_this_process: bool = True


@dataclass
class Comparison:
    """One network at one size and batch.

    Attributes:
        network: its name.
        size: (width, height).
        batch: images a call.
        bflops: billions of operations of one image.
        timings: one for each candidate; the failed ones are in ``failures``.
        failures: name -> why.
    """

    network: str
    size: tuple[int, int]
    batch: int
    bflops: float
    timings: list[Timing] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    def rows(self) -> list[dict[str, Any]]:
        """One for each candidate, the fastest first: names and numbers in milliseconds and
        GFLOP/s.
        """
        best = min((timing.median for timing in self.timings), default=1.0)
        return [
            {
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
                "peak_mib": None if timing.peak_bytes is None else timing.peak_bytes / 2**20,
                "stages_ms": {name: 1e3 * seconds for name, seconds in timing.stages.items()},
                "rounds": len(timing.seconds),
            }
            for timing in sorted(self.timings, key=lambda timing: timing.median)
        ]


def matrix_rates(device: torch.device) -> dict[str, float]:
    """GFLOP/s of a large matrix product at each precision that the device has: what it could do."""
    rates = {}
    for name in computed_precisions(device):
        left = torch.rand(_MATRIX_SIDE, _MATRIX_SIDE).to(device, PRECISIONS[name])
        seconds = []
        for _ in range(_MATRIX_ROUNDS):
            start = time.perf_counter()
            torch.mm(left, left)
            synchronize(device)
            seconds.append(time.perf_counter() - start)
        rates[name] = 2 * _MATRIX_SIDE**3 / min(seconds) / 1e9
    return rates


def computed_precisions(device: torch.device) -> list[str]:
    """Those of ``PRECISIONS`` that the device has arithmetic for."""
    computed = {
        "float32": True,
        "bfloat16": computes_bfloat16(device),
        "float16": device.type != "cpu",
    }
    return [name for name in PRECISIONS if computed[name]]


def default_candidates(network: Network) -> list[str]:
    """Return all candidates that are installed, at the precisions that the network's device
    computes.

    ``compile`` is left out: it takes minutes to start.
    """
    names = [name for name in installed_backends() if name != "compile"]
    if network.device.type != "cpu":
        names = ["torch"]
    precisions = computed_precisions(network.device)
    found = [
        f"{name}:{precision}"
        for name in names
        for precision in precisions
        if precision == "float32" or name != "onnxruntime"
    ]
    others = [f"{PLAIN}:float32", *(f"{CHANNELS_LAST}:{precision}" for precision in precisions)]
    return [*found, *others, *([f"{OPENCV}:float32"] if network.device.type == "cpu" else [])]


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
        network: loaded, in eval mode, at the size to be measured.
        name: for people.
        candidates: ``backend:precision``, or one of ``PLAIN``, ``CHANNELS_LAST`` and ``OPENCV`` as
            the backend.
        batch: images a call.
        rounds: calls of each, interleaved.
        reference_python: an interpreter with OpenCV, whose ``cv2.dnn`` is then measured as well.
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
    """Make those that can run the network; the others go into ``result.failures``."""
    made = []
    for name in dict.fromkeys(names):
        try:
            runner, detail = make_runner(network, name)
            made.append(_Candidate(Timing(name, detail), _timed(runner, x)))
        except DarknetError as error:
            result.failures[name] = str(error)
    return made


def make_runner(network: Network, candidate: str) -> tuple[Callable[[Tensor], Any], str]:
    """Make the function that runs a batch on a candidate, and say how it does it.

    Args:
        network: loaded, in eval mode.
        candidate: see ``compare``.

    Raises:
        DarknetError: where it cannot run this network, or is not installed.
    """
    backend, _, precision = candidate.partition(":")
    precision = precision_name(precision or "float32")
    if backend in (PLAIN, OPENCV) and precision != "float32":
        raise InputError(f"{candidate}: {backend} runs in float32")
    if backend == PLAIN:
        return network.outputs, "network(x)"
    if backend == CHANNELS_LAST:
        return _channels_last(network, precision), "network(x), channels last"
    if backend == OPENCV:
        return _opencv_runner(network)
    engine = make_engine(network, backend, precision)
    return engine, engine.detail


def _channels_last(network: Network, precision: str) -> Callable[[Tensor], Any]:
    """What users of PyTorch write who know where its speed lies.

    Raises:
        InputError: for a precision that is none.
    """
    if precision not in PRECISIONS:
        raise InputError(f"{CHANNELS_LAST}:{precision}: expected one of {', '.join(PRECISIONS)}")
    dtype = PRECISIONS[precision]
    copied = copy.deepcopy(network).to(dtype)
    copied.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return lambda x: copied.outputs(x.to(dtype, memory_format=torch.channels_last))


def _opencv_runner(network: Network) -> tuple[Callable[[Tensor], Any], str]:
    """OpenCV's own engine on the ONNX file.

    Raises:
        InputError: for a network that it cannot read.
    """
    cv2 = load_opencv()
    cv2.setNumThreads(torch.get_num_threads())
    try:
        net = cv2.dnn.readNetFromONNX(np.frombuffer(onnx_bytes(network), np.uint8))
    except cv2.error as error:
        raise InputError(f"{OPENCV}: {error.err}") from None
    names = net.getUnconnectedOutLayersNames()

    def run(x: Tensor) -> Any:
        net.setInput(x.numpy())
        return net.forward(names)

    return run, f"OpenCV {cv2.__version__}, ONNX"


def _timed(runner: Callable[[Tensor], object], x: Tensor) -> Callable[[], float]:
    def call() -> float:
        start = time.perf_counter()
        runner(x)
        synchronize(x.device)
        return time.perf_counter() - start

    return call


def _measure_interleaved(candidates: Sequence[_Candidate], rounds: int) -> None:
    """Warm up, then time one call of each per round in rotating order; measure memory last."""
    for candidate in candidates:
        for _ in range(COMPILED_FROM_CALL + 2):
            candidate.call()
    for number in range(rounds):
        start = number % max(len(candidates), 1)
        for candidate in [*candidates[start:], *candidates[:start]]:
            candidate.call()  # not counted: the threads of the candidate before may still wait actively for more
            candidate.timing.seconds.append(candidate.call())
    for candidate in candidates:
        if candidate.in_this_process:
            candidate.timing.peak_bytes = peak_bytes_of(candidate.call)


@contextmanager
def opencv_reference(
    network: Network, reference_python: str, batch: int
) -> Iterator[tuple[str, Callable[[], float]]]:
    """Run OpenCV's dnn in another interpreter with the network's own cfg and weights -> (its name,
    a timed call).

    Raises:
        InputError: with the last line that it said, where it cannot be started or cannot read the
            network.
    """
    with tempfile.TemporaryDirectory() as folder:
        cfg, weights, complaints = (
            Path(folder) / name for name in ("net.cfg", "net.weights", "stderr.txt")
        )
        cfg.write_text(format_cfg(network.blocks), encoding="utf-8")
        save_weights(network, weights)
        with open(complaints, "w", encoding="utf-8") as stderr:
            try:
                process = subprocess.Popen(
                    [reference_python, str(_REFERENCE_PROGRAM)],
                    stdin=subprocess.PIPE,
                    text=True,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                )
            except OSError as error:
                raise InputError(
                    f"{error.strerror}", argument="reference_python", value=reference_python
                ) from None
        with process:

            def ask(request: dict[str, Any]) -> dict[str, Any]:
                assert process.stdin is not None and process.stdout is not None
                try:
                    process.stdin.write(json.dumps(request) + "\n")
                    process.stdin.flush()
                except BrokenPipeError:
                    pass
                line = process.stdout.readline()
                if not line:
                    said = complaints.read_text(encoding="utf-8").strip().splitlines() or [
                        "nothing"
                    ]
                    raise InputError(
                        f"ended, saying: {said[-1]}",
                        argument="reference_python",
                        value=reference_python,
                    )
                answer: dict[str, Any] = json.loads(line)
                return answer

            try:
                version = ask(
                    {
                        "cfg": str(cfg),
                        "weights": str(weights),
                        "threads": torch.get_num_threads(),
                        "shape": network.input_shape.batched(batch),
                    }
                )["version"]
                yield f"opencv-{version}:float32", lambda: float(ask({})["seconds"])
            finally:
                process.kill()


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
    """From the file to the boxes, one image a call: decoding, resizing, network and post-processing
    apart.

    Args:
        network: a detector, loaded, in eval mode.
        name: for people.
        images: files; each round takes all of them.
        candidates: as for ``compare``.
        rounds: how often.
        threshold: of post-processing.
        nms: likewise.
    """
    result = Comparison(name, network.input_size, 1, network.bflops)
    rule, resize = nms_rule(network), default_resize(network)
    runners = {}
    for candidate in dict.fromkeys(candidates):
        try:
            runners[candidate], detail = make_runner(network, candidate)
            result.timings.append(Timing(candidate, detail))
        except DarknetError as error:
            result.failures[candidate] = str(error)
    stages: dict[str, dict[str, list[float]]] = {timing.name: {} for timing in result.timings}
    with torch.inference_mode():
        for number in range(-COMPILED_FROM_CALL, rounds * len(images)):
            for timing in result.timings:
                clock = _Clock()
                image = clock.lap("decode", lambda: read_image(images[number % len(images)]))
                x, placement = clock.lap(
                    "resize",
                    lambda: to_input(image, network.input_size, resize, network.options.channels),
                )
                raw: Any = clock.lap(
                    "network", lambda: runners[timing.name](x[None].to(network.device))
                )
                clock.lap(
                    "post-process",
                    lambda: find_objects(
                        network, raw, [placement], threshold=threshold, nms=nms, rule=rule
                    ),
                )
                if number >= 0:
                    timing.seconds.append(sum(clock.laps.values()))
                    for stage, seconds in clock.laps.items():
                        stages[timing.name].setdefault(stage, []).append(seconds)
    for timing in result.timings:
        timing.stages = {
            stage: statistics.median(seconds) for stage, seconds in stages[timing.name].items()
        }
    return result


class _Clock:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}

    def lap(self, stage: str, work: Callable[[], Any]) -> Any:
        """Do some work and note how long it took."""
        start = time.perf_counter()
        answer = work()
        self.laps[stage] = time.perf_counter() - start
        return answer


def as_document(
    comparisons: Sequence[Comparison],
    rates: dict[str, float],
    pipelines: Sequence[Any] = (),
    trainings: Sequence[Any] = (),
) -> dict[str, Any]:
    """Everything as JSON knows it, each round's seconds included; the last two are sequences of
    dataclasses.
    """
    return {
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "matrix_gflops": rates,
        "rows": [row for comparison in comparisons for row in comparison.rows()],
        "comparisons": [asdict(comparison) for comparison in comparisons],
        "pipelines": [asdict(pipeline) for pipeline in pipelines],
        "trainings": [asdict(training) for training in trainings],
    }
