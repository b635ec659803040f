"""Measure the memory of one forward pass.

Three numbers are compared: the minimum that the graph allows, the tensors of PyTorch that are alive
at once, and the growth of the process.
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
"""Written to clear_refs, it resets the peak of the resident size; see proc(5)."""


_SILENT = "99"
"""Log level that keeps the profiler's library from writing to the terminal. The library reads it
once, when it is first used."""


@dataclass(frozen=True)
class MemoryUse:
    """Memory of one image's forward pass on the torch engine in float32, in bytes.

    Attributes:
        size: (width, height) of the input in pixels.
        least: minimum for the outputs that any implementation must hold at once
            (``least_values``).
        alive: largest total of PyTorch's tensors that are alive at once.
        growth: increase of the process's resident memory; None if the system does not tell.

    Example:
        >>> MemoryUse((416, 416), 2**20, 2**21, None).line("net")[:57]
        'net at 416 x 416: the outputs need at least 1.0 MiB; 2.0 '
    """

    size: tuple[int, int]
    least: int
    alive: int
    growth: int | None

    def line(self, name: str) -> str:
        """Return one line of text.

        Args:
            name: name of the network.
        """
        width, height = self.size
        text = (
            f"{name} at {width} x {height}: the outputs need at least {self.least / _MIB:.1f} MiB;"
            f" {self.alive / _MIB:.1f} MiB are alive at once ({self.alive / self.least:.2f} times)"
        )
        if self.growth is None:
            return text + "; the growth of the process cannot be measured on this system"
        growth = f"{self.growth / _MIB:.1f} MiB ({self.growth / self.least:.2f} times)"
        return f"{text}; the process grows by {growth}"


def measure_memory(network: Network) -> MemoryUse:
    """Measure one forward pass of random numbers through a network in eval mode."""
    engine = TorchEngine(network, "float32")
    x = torch.rand(network.input_shape.batched(1), device=network.device)
    with torch.inference_mode():
        for _ in range(_WARM_CALLS):
            engine(x)
        growth = peak_bytes_of(lambda: engine(x))
        alive = live_bytes_of(lambda: engine(x))
    # least_values counts float32 values of 4 bytes.
    return MemoryUse(network.input_size, 4 * least_values(network), alive, growth)


def live_bytes_of(work: Callable[[], object]) -> int:
    """Return the peak of bytes in PyTorch's tensors while ``work`` runs, above those alive before.

    Unlike the resident memory, this excludes what the allocator keeps and what libraries use
    internally.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", _SILENT)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        trace = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    events = [event for event in trace if event.get("name") == "[memory]"]
    events.sort(key=lambda event: event["ts"])
    # An event is an allocation (bytes > 0) or a release (bytes < 0); their running sum is what is
    # alive.
    return max(accumulate(event["args"]["Bytes"] for event in events), default=0)


def peak_bytes_of(work: Callable[[], object]) -> int | None:
    """Return the peak increase of resident memory in bytes while ``work`` runs.

    None if /proc is unavailable.
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
    """Return freed memory to the system.

    The allocator would otherwise reuse it, without any growth to be measured.
    """
    # glibc has malloc_trim; other C libraries may not.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _status(key: str) -> int:
    """Return a size from /proc/self/status in bytes.

    Args:
        key: such as ``VmRSS``.

    Raises:
        OSError: if the file does not have the key.
    """
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024  # "VmRSS:   123456 kB"
    raise OSError(key)
