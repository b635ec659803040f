"""Check and measure networks on a GPU: one command, at most eight minutes, no network access.

It needs PyTorch, NumPy and a checkout of the project; OpenCV is not used. ``--device cpu --quick``
tries every part on any machine.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "golden")]

from darknet_builder import build_network, load_weights  # noqa: E402
from darknet_builder.benchmark.candidates import CHANNELS_LAST, make_runner  # noqa: E402
from darknet_builder.engines.base import COMPILED_FROM_CALL  # noqa: E402
from darknet_builder.engines.torch_engine import TorchEngine  # noqa: E402
from darknet_builder.errors import CfgWarning, DarknetError  # noqa: E402
from darknet_builder.images.resize import Placement  # noqa: E402
from darknet_builder.losses.whole_network import Targets, loss_inputs, network_loss  # noqa: E402
from darknet_builder.network.network import Network  # noqa: E402
from darknet_builder.prediction.postprocessing import find_objects, nms_rule  # noqa: E402
from darknet_builder.training.optimizer import make_optimizer  # noqa: E402
from tests.helpers.parity import Fixture  # noqa: E402

GOLDEN = ROOT / "tests" / "golden" / "networks"
PRECISIONS = {"float32": None, "TF32": None, "float16": torch.float16, "bfloat16": torch.bfloat16}
BOUNDS = {"float32": 1e-3, "TF32": 2e-2, "float16": 2e-2, "bfloat16": 1e-1}
"""Largest root-mean-square error of a head's raw map, divided by the map's root mean square."""
NETWORKS = {
    "yolov3-tiny": (416,),
    "yolov4-tiny": (416,),
    "yolov3": (416, 608),
    "yolov4": (416, 608),
    "yolov7": (416, 640),
}
CAST_WAYS = ("plain", "compile max-autotune")
"""Ways that run the float32 network, which computes in a lower precision by autocast."""
CURVE_BOUND = 0.05
"""Largest relative difference of two mean losses over ten steps."""


@dataclass
class Report:
    """What was measured.

    Attributes:
        machine: device and versions.
        checks: name, value, bound and verdict of each correctness check.
        speeds: one row for each network, size, batch, precision and way to run it.
        other: further measurements by name.
        skipped: what the time limit left out.
    """

    machine: dict[str, Any]
    checks: list[dict[str, Any]] = field(default_factory=list)
    speeds: list[dict[str, Any]] = field(default_factory=list)
    other: dict[str, Any] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    def check(self, name: str, value: float, bound: float) -> None:
        """Record a value that must not exceed a bound; NaN exceeds every bound."""
        good = value <= bound
        self.checks.append({"check": name, "value": value, "bound": bound, "good": good})
        print(f"{'good' if good else 'BAD '}  {name}: {value:.3g} (bound {bound:g})", flush=True)


@dataclass(frozen=True)
class Run:
    """The settings of this run.

    Attributes:
        device: the device to measure.
        quick: whether to try only the smallest case of each part.
        deadline: ``time.monotonic()`` after which nothing more is begun.
        report: where results go.
    """

    device: torch.device
    quick: bool
    deadline: float
    report: Report

    def in_time(self, what: str) -> bool:
        """Whether there is time for one more part; otherwise it is listed as skipped."""
        if time.monotonic() < self.deadline:
            return True
        self.report.skipped.append(what)
        return False

    def synchronize(self) -> None:
        """Wait for the device. CUDA calls are asynchronous."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def milliseconds(self, call: Callable[[], object], seconds: float = 0.5) -> float:
        """Return the median duration of a call, after those in which engines compile."""
        for _ in range(COMPILED_FROM_CALL):
            call()
        times: list[float] = []
        end = time.monotonic() + (0.05 if self.quick else seconds)
        while len(times) < 5 or (time.monotonic() < end and len(times) < 200):
            self.synchronize()
            begin = time.perf_counter()
            call()
            self.synchronize()
            times.append(time.perf_counter() - begin)
        return float(np.median(times)) * 1000


def set_tf32(allowed: bool) -> None:
    """Allow or forbid TF32 in convolutions and matrix products."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def casting(run: Run, precision: str) -> AbstractContextManager[Any]:
    """Return the context in which a network computes in a precision."""
    set_tf32(precision == "TF32")
    dtype = PRECISIONS[precision]
    return nullcontext() if dtype is None else torch.autocast(run.device.type, dtype)


# ---- (a) recorded networks -----------------------------------------------------------------------


def read_fixture(path: Path) -> Fixture:
    """Return a recorded network."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    meta = json.loads(bytes(arrays.pop("meta")))
    return Fixture(meta, arrays, ROOT / "cfg" / f"{path.stem}.cfg", "alexeyab")


def check_recorded(run: Run) -> None:
    """Compare every layer with Darknet's numbers in float32, and the heads in lower precisions."""
    paths = sorted(GOLDEN.glob("*.npz"))
    for path in paths[:1] if run.quick else paths:
        fixture = read_fixture(path)
        network = fixture.build()
        with tempfile.TemporaryDirectory() as folder:
            fixture.write_weights(Path(folder) / "recorded.weights")
            load_weights(network, Path(folder) / "recorded.weights")
        network.to(run.device)
        frame = fixture.frames()[:1].to(run.device)
        with torch.inference_mode():
            set_tf32(False)
            outputs = [output.cpu() for output in network.layer_outputs(frame)]
            run.report.check(f"{path.stem}: layers, float32", worst_layer(fixture, outputs), 1.0)
            expected = network.outputs(frame)
            largest = max(float(output.abs().max()) for output in outputs)
            for precision in ("TF32", "float16", "bfloat16"):
                if precision == "float16" and largest > torch.finfo(torch.float16).max:
                    text = f"{path.stem}: heads, float16: its maps reach {largest:.2g}"
                    run.report.skipped.append(text)
                    continue
                with casting(run, precision):
                    found = network.outputs(frame)
                error = max(map(relative_error, found, expected))
                run.report.check(f"{path.stem}: heads, {precision}", error, BOUNDS[precision])


def worst_layer(fixture: Fixture, outputs: list[Tensor]) -> float:
    """Return the largest difference from Darknet's norms, in units of the recorded bound."""
    worst = 0.0
    for index, output in enumerate(outputs):
        norm = float(fixture.arrays[f"0/{index}/norm"])
        ours = float(output.double().norm())
        worst = max(worst, abs(ours - norm) / (1e-4 * norm + 1e-5))
    return worst


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Return the root-mean-square error divided by the root mean square."""
    found, expected = found.double(), expected.double()
    return float((found - expected).norm() / expected.norm())


# ---- (b) detections and (c) training -------------------------------------------------------------


def draw_squares(count: int, size: int, seed: int) -> tuple[Tensor, list[Tensor]]:
    """Return images of two bright squares each, and their boxes.

    Returns:
        Images (count, 3, size, size) in [0, 1], and (2, 5) boxes for each: centre x, centre y,
        width, height relative to the image, and the class, 1 for a square.
    """
    generator = np.random.default_rng(seed)
    images = np.full((count, 3, size, size), 0.3, np.float32)
    boxes = []
    for image in images:
        rows = []
        for half in (0, 1):  # one square in the left half and one in the right half
            side = int(generator.integers(size // 6, size // 3))
            left = half * size // 2 + int(generator.integers(0, size // 2 - side))
            top = int(generator.integers(0, size - side))
            colour = generator.random(3).astype(np.float32) * 0.5 + 0.5
            image[:, top : top + side, left : left + side] = colour[:, None, None]
            centre = ((left + side / 2) / size, (top + side / 2) / size)
            rows.append([*centre, side / size, side / size, 1])
        boxes.append(torch.tensor(rows, dtype=torch.float32))
    return torch.from_numpy(images), boxes


def bundled_detector() -> Network:
    """Return the bundled detector of eight shapes, on the CPU."""
    network = build_network(ROOT / "cfg" / "shapes.cfg")
    load_weights(network, ROOT / "weights" / "shapes.weights")
    return network


def check_detections(run: Run) -> None:
    """Compare the objects that the bundled detector finds on the device with the CPU's."""
    set_tf32(False)
    network = bundled_detector().eval()
    width, height = network.input_size
    images, _ = draw_squares(2 if run.quick else 16, width, seed=1)
    placement = Placement.plan((width, height), (width, height), "stretch")
    found = []
    for device in (torch.device("cpu"), run.device):
        network.to(device)
        with torch.inference_mode():
            raw_maps = network.outputs(images.to(device))
        rule = nms_rule(network)
        placements = [placement] * len(images)
        found.append(
            find_objects(network, raw_maps, placements, threshold=0.25, nms=0.45, rule=rule)
        )
    expected, ours = found
    count = sum(len(objects) for objects in expected)
    if not count:
        raise SystemExit("the bundled detector finds nothing in the drawn images")
    differences = [
        math.inf
        if not np.array_equal(first.class_ids, second.class_ids)
        else float(np.abs(first.boxes_cxcywh - second.boxes_cxcywh).max(initial=0))
        for first, second in zip(expected, ours, strict=True)
    ]
    run.report.check(f"boxes of {count} detections against the CPU", max(differences), 1e-3)


def check_engine(run: Run) -> None:
    """Compare the engine with the network: two batch sizes, alternately and in two threads.

    On CUDA these are replays of two graphs, which share memory. Outputs are compared only at the
    end, so that a later replay that changed them would be noticed.
    """
    set_tf32(False)
    network = bundled_detector().eval().to(run.device)
    engine = network.optimized()
    width = network.input_size[0]
    images = draw_squares(12, width, seed=4)[0].to(run.device)
    batches = [*images[:4].split(1), *images[4:].split(2)]
    found: dict[int, list[Tensor]] = {}

    def work(thread: int) -> None:
        stream = torch.cuda.Stream(run.device) if run.device.type == "cuda" else None
        with torch.cuda.stream(stream):  # nothing is changed if it is None
            for index in range(thread, len(batches), 2):
                found[index] = engine.outputs(batches[index])

    for size in (1, 2):
        engine.warm_up(size)
    if run.device.type == "cuda":
        run.report.check("CUDA graphs that failed", float(not engine.compiles), 0)
    run.synchronize()  # the threads' streams do not wait for the images
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(work, (0, 1)))
    run.synchronize()
    with torch.inference_mode():
        errors = [
            max(map(relative_error, found[index], network.outputs(x)))
            for index, x in enumerate(batches)
        ]
    run.report.check(f"engine ({engine.detail}) in two threads", max(errors), BOUNDS["float32"])


class Training:
    """A training of a copy of a network on drawn squares.

    Args:
        network: the network to start from.
        device: where to train.
        precision: a key of ``PRECISIONS``; float16 uses a gradient scaler.
        count: number of images, which are one batch.
    """

    def __init__(
        self, network: Network, device: torch.device, precision: str = "float32", count: int = 8
    ) -> None:
        self.network = copy.deepcopy(network).to(device).train()
        self.optimizer = make_optimizer(self.network)
        for group in self.optimizer.param_groups:
            group["lr"] = 1e-4
        images, boxes = draw_squares(count, network.input_size[0], seed=2)
        self.images = images.to(device)
        self.targets = Targets.of_boxes([box.to(device) for box in boxes])
        self.dtype = PRECISIONS[precision]
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype is torch.float16)

    def run(self, steps: int) -> list[float]:
        """Train and return the loss of each step."""
        return [self._step() for _ in range(steps)]

    def resume(self, other: Training) -> None:
        """Continue from the state of another training."""
        self.network.load_state_dict(other.network.state_dict())
        # load_state_dict does not copy the momentum.
        self.optimizer.load_state_dict(copy.deepcopy(other.optimizer.state_dict()))
        self.scaler.load_state_dict(other.scaler.state_dict())

    def _step(self) -> float:
        with torch.autocast(self.images.device.type, self.dtype) if self.dtype else nullcontext():
            maps = loss_inputs(self.network, self.images)
        raw_maps = [raw.float() for raw in maps]
        report = network_loss(self.network, raw_maps, self.targets, seen=len(self.images))
        self.optimizer.zero_grad()
        self.scaler.scale(report.total / len(self.images)).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return float(report.total.detach())


def curve_difference(first: list[float], second: list[float]) -> float:
    """Return the largest relative difference of two loss curves, averaged over ten steps."""
    ten = np.ones(min(10, len(first))) / min(10, len(first))
    one, other = (np.convolve(losses, ten, "valid") for losses in (first, second))
    return float(np.abs(other / one - 1).max())


def check_training(run: Run) -> None:
    """Compare loss curves on the device with the CPU's, in three precisions, and resume one."""
    set_tf32(False)
    steps, count = (2, 2) if run.quick else (60, 8)
    torch.manual_seed(0)
    start = build_network(ROOT / "cfg" / "shapes.cfg")
    expected = Training(start, torch.device("cpu"), count=count).run(steps)
    training = Training(start, run.device, count=count)
    ours = training.run(steps)
    run.report.check("loss curve, float32", curve_difference(expected, ours), CURVE_BOUND)
    resumed = Training(start, run.device, count=count)
    resumed.resume(training)
    difference = curve_difference(training.run(2), resumed.run(2))
    run.report.check("losses after resuming", difference, 1e-4)
    for precision in ("float16", "bfloat16"):
        if run.device.type == "cpu" and precision == "float16":
            continue
        mixed = Training(start, run.device, precision, count).run(steps)
        difference = curve_difference(expected, mixed)
        run.report.check(f"loss curve, {precision} autocast", difference, 2 * CURVE_BOUND)
    run.report.other["loss curve"] = {"cpu": expected, run.device.type: ours}


# ---- (d) speed -----------------------------------------------------------------------------------


def ways(run: Run, network: Network, precision: str, x: Tensor) -> Iterator[tuple[str, Any]]:
    """Yield (name, call) for each way to run a network."""
    name = "float32" if precision == "TF32" else precision
    yield "plain", network.outputs
    yield "channels last", make_runner(network, f"{CHANNELS_LAST}:{name}")[0]
    try:
        engine = network.optimized(name, "torch")
    except DarknetError as error:
        run.report.skipped.append(f"torch engine in {precision}: {error}")
    else:
        yield "torch engine", engine.outputs
        if run.device.type == "cuda":
            if not engine.compiles:
                run.report.skipped.append(f"CUDA graph in {precision}: {engine.detail}")
            yield "torch engine, no graph", TorchEngine(network, name, "plain")
    if run.device.type == "cuda" and len(x) == 1:
        yield "compile max-autotune", torch.compile(network.outputs, mode="max-autotune")


def measure_limits(run: Run) -> None:
    """Measure a matrix product for each precision, and copies to and from the device."""
    size = 512 if run.quick else 8192
    for precision, dtype in PRECISIONS.items():
        if run.device.type == "cpu" and precision in ("TF32", "float16"):
            continue
        set_tf32(precision == "TF32")
        a = torch.rand(size, size, device=run.device, dtype=dtype or torch.float32)
        duration = run.milliseconds(partial(torch.matmul, a, a))
        run.report.other[f"matrix product, {precision}, TFLOP/s"] = 2 * size**3 / duration / 1e9
    host = torch.empty(2**20 if run.quick else 2**28, dtype=torch.uint8)
    if run.device.type == "cuda":
        host = host.pin_memory()
    duration = run.milliseconds(lambda: host.to(run.device, non_blocking=True))
    run.report.other["upload from pinned memory, GB/s"] = len(host) / duration / 1e6


def measure_networks(run: Run) -> None:
    """Measure every network, size, batch size, precision and way to run it, until time is up."""
    networks = {"yolov3-tiny": (96,)} if run.quick else NETWORKS
    batches = (1,) if run.quick else (1, 8, 32)
    precisions = ("float32",) if run.quick else tuple(PRECISIONS)
    for batch in batches:
        for name, sizes in networks.items():
            for size in sizes:
                network = build_network(name, width=size, height=size).eval().to(run.device)
                for precision in precisions:
                    measure_network(run, network, f"{name} {size}", batch, precision)


def measure_network(run: Run, network: Network, name: str, batch: int, precision: str) -> None:
    """Measure the ways to run one network."""
    what = f"{name}, batch {batch}, {precision}"
    if not run.in_time(what):
        return
    x = torch.rand(network.input_shape.batched(batch), device=run.device)
    with torch.inference_mode():
        for way, call in ways(run, network, precision, x):
            if not run.in_time(f"{what}, {way}"):
                return
            # The other ways have the precision in their weights.
            cast = casting(run, precision) if way in CAST_WAYS else nullcontext()
            set_tf32(precision == "TF32")
            if run.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            try:
                with cast:
                    duration = run.milliseconds(partial(call, x))
            except RuntimeError as error:  # an unsupported way must not end the measurement
                run.report.skipped.append(f"{what}, {way}: {str(error).splitlines()[0]}")
                continue
            peak = torch.cuda.max_memory_allocated() if run.device.type == "cuda" else 0
            row = {
                "network": name,
                "batch": batch,
                "precision": precision,
                "way": way,
                "ms": duration,
                "images/s": batch * 1000 / duration,
                "TFLOP/s": network.bflops * batch / duration,
                "peak MiB": peak / 2**20,
            }
            run.report.speeds.append(row)
            print(
                f"{what:<36} {way:<26} {duration:9.2f} ms {row['images/s']:9.1f} images/s"
                f" {row['TFLOP/s']:7.2f} TFLOP/s",
                flush=True,
            )


def measure_postprocessing(run: Run) -> None:
    """Measure decoding and suppression of the bundled detector, and a pipeline with uploads."""
    set_tf32(False)
    network = bundled_detector().eval().to(run.device)
    width, height = network.input_size
    images, _ = draw_squares(4 if run.quick else 32, width, seed=3)
    placements = [Placement.plan((width, height), (width, height), "stretch")] * len(images)
    rule = nms_rule(network)
    if run.device.type == "cuda":
        images = images.pin_memory()
    with torch.inference_mode():
        raw_maps = network.outputs(images.to(run.device))

        def postprocess(maps: list[Tensor]) -> object:
            return find_objects(network, maps, placements, threshold=0.25, nms=0.45, rule=rule)

        duration = run.milliseconds(lambda: postprocess(raw_maps))
        run.report.other["post-processing, ms an image"] = duration / len(images)
        whole = run.milliseconds(
            lambda: postprocess(network.outputs(images.to(run.device, non_blocking=True)))
        )
        run.report.other["upload, network and post-processing, images/s"] = (
            len(images) * 1000 / whole
        )


# ---- the command ---------------------------------------------------------------------------------


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Return the device and the versions."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    return {
        "device": str(device),
        "name": name,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
    }


def main() -> int:
    """Run all parts; returns 0, or 1 if a check failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", default="cuda", help="device to measure (default: cuda)")
    parser.add_argument("--quick", action="store_true", help="only the smallest case of each part")
    parser.add_argument(
        "--minutes", type=float, default=7.5, help="time limit (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, help="JSON file to write")
    args = parser.parse_args()
    device = torch.device(args.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("no CUDA device is available; try --device cpu --quick", file=sys.stderr)
        return 2
    warnings.simplefilter("ignore", CfgWarning)
    report = Report(describe_machine(device))
    run = Run(device, args.quick, time.monotonic() + args.minutes * 60, report)
    parts = (
        check_recorded,
        check_detections,
        check_engine,
        check_training,
        measure_limits,
        measure_postprocessing,
        measure_networks,
    )
    for part in parts:
        if run.in_time(part.__name__):
            part(run)
    for name, value in report.other.items():
        if isinstance(value, float):
            print(f"{name}: {value:.3g}")
    for what in report.skipped:
        print(f"skipped: {what}")
    if args.output:
        args.output.write_text(json.dumps(asdict(report), indent=1) + "\n", encoding="utf-8")
    return 0 if all(check["good"] for check in report.checks) else 1


if __name__ == "__main__":
    sys.exit(main())
