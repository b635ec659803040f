"""Memory of one forward pass: the least that the graph allows, what is alive at once, what the
process grows by.
"""

from __future__ import annotations

import ctypes
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from darknet_builder.engines.torch_engine import TorchEngine
from darknet_builder.inspection.memory import least_values
from darknet_builder.network.network import Network

_MIB = 2**20


_WARM_CALLS = 4


_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


_RESET_PEAK = "5"
"""What proc(5) takes to begin a new peak of the resident size."""


_SILENT = "99"
"""The profiler's library otherwise writes to the screen; it reads its level when it is first
used."""


@dataclass(frozen=True)
class MemoryUse:
    """Memory of one image's forward pass on the torch engine in float32, in bytes.

    Attributes:
        size: (width, height) of the input in pixels.
        least: of the outputs that must be alive at once in any implementation (``least_values``).
        alive: of PyTorch's tensors that are alive at once.
        growth: of the process's resident memory; None if the system does not tell.
    """

    size: tuple[int, int]
    least: int
    alive: int
    growth: int | None

    def line(self, name: str) -> str:
        """Return one line of text; ``name`` is the network's."""
        width, height = self.size
        text = (
            f"{name} at {width} x {height}: {self.least / _MIB:.1f} MiB of outputs are the least"
            f" that the graph allows; {self.alive / _MIB:.1f} MiB are alive at once"
            f" ({self.alive / self.least:.2f} times)"
        )
        if self.growth is None:
            return text + "; this system does not tell by how much the process grows"
        return (
            text
            + f"; the process grows by {self.growth / _MIB:.1f} MiB ({self.growth / self.least:.2f}"
            " times)"
        )


def measure_memory(network: Network) -> MemoryUse:
    """Measure one forward pass of random numbers through a network in eval mode."""
    engine, x = (
        TorchEngine(network, "float32"),
        torch.rand(network.input_shape.batched(1), device=network.device),
    )
    with torch.inference_mode():
        for _ in range(_WARM_CALLS):
            engine(x)
        growth = peak_bytes_of(lambda: engine(x))
        alive = live_bytes_of(lambda: engine(x))
    return MemoryUse(network.input_size, 4 * least_values(network), alive, growth)


def live_bytes_of(work: Callable[[], object]) -> int:
    """How many bytes of PyTorch's tensors are alive at once at most while some work runs, those
    before it not counted.

    Unlike the resident memory it knows neither what the allocator keeps nor what a library takes
    for itself.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", _SILENT)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = [
            event
            for event in json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
            if event.get("name") == "[memory]"
        ]
    alive = accumulate(
        event["args"]["Bytes"] for event in sorted(events, key=lambda event: event["ts"])
    )
    return max(alive, default=0)


def peak_bytes_of(work: Callable[[], object]) -> int | None:
    """By how much the process's resident memory rises at most while some work runs; None where
    Linux does not tell.
    """
    try:
        _give_back()
        _CLEAR.write_text(_RESET_PEAK)
        before = _status("VmRSS")
        work()
        return max(0, _status("VmHWM") - before)
    except OSError:
        return None


def _give_back() -> None:
    """Return what the allocator keeps of freed memory, which would be used again without any growth
    to be seen.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _status(key: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise OSError(key)
