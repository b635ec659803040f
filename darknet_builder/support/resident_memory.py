"""Measure the free memory and the growth of the process; both are known on Linux only."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
"""Written to clear_refs, it resets the peak of the resident size; see proc(5)."""
_MACHINE, _GROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")
_GROUP_FILES = ("memory.max", "memory.current")
"""Files with the memory limit of a container in bytes, or ``max`` without one, and its use."""


def free_memory() -> int | None:
    """Return the memory in bytes that the process can take without swapping; None if unknown.

    The limit of a container (its cgroup, version 2) counts if it is lower than the machine's.
    """
    try:
        free = _field(_MACHINE, "MemAvailable")
    except OSError:
        return None
    try:
        limit, used = (int((_GROUP / name).read_text()) for name in _GROUP_FILES)
    except (OSError, ValueError):  # no such group, or "max": no limit
        return free
    return min(free, max(0, limit - used))


def peak_bytes_of(work: Callable[[], object]) -> int | None:
    """Return the peak increase of resident memory in bytes while ``work`` runs.

    None if the system is not Linux, or /proc is unavailable.
    """
    if sys.platform != "linux":
        return None
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
    """Return a size from /proc/self/status in bytes, such as ``VmRSS``."""
    return _field(_STATUS, key)


def _field(path: Path, key: str) -> int:
    """Return a size in bytes from a file of lines such as ``VmRSS:   123456 kB``.

    Args:
        path: a file in ``/proc``.
        key: the name before the colon.

    Raises:
        OSError: if the file does not have the key.
    """
    for line in path.read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024  # "VmRSS:   123456 kB"
    raise OSError(key)
