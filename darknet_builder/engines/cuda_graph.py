"""Record a network as CUDA graphs, which a GPU replays without a call for each operator."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_WARM_UP = 3
"""Number of calls before a recording. Libraries choose algorithms and load kernels in the first
calls, which is not allowed during a recording."""
_FAILED: list[torch.cuda.CUDAGraph] = []
"""Graphs whose recording failed. The allocator of some versions of PyTorch keeps pointers to them
(``capture_begin`` in CUDAGraph.cpp registers them, ``capture_end`` leaves before it would remove
them; its pull request 180395), so they must not be freed."""
_COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)


class _Recording(NamedTuple):
    """A recorded call. A replay reads ``x`` and writes ``outputs``, always at the same addresses.

    Attributes:
        graph: the recorded operations.
        x: the input; not from the memory pool, so no recording writes to it.
        outputs: from the memory pool. They stay alive, so no later recording gets their memory.
    """

    graph: torch.cuda.CUDAGraph
    x: Tensor
    outputs: Sequence[Tensor]


class CudaGraphs:
    """Record a function for several shapes of its input, and replay the recordings.

    Everything between input and outputs is kept in one memory pool for all recordings. So only one
    of them may run at a time: threads wait for each other, and their streams as well.

    A recording keeps PyTorch's settings, such as TF32, of the time when it was made.

    Args:
        function: computes outputs from one input. The GPU must be able to run it without the CPU:
            it must not read results back. Its weights must keep their addresses.
        device: a CUDA device, with its number.
    """

    def __init__(
        self, function: Callable[[Tensor], Sequence[Tensor]], device: torch.device
    ) -> None:
        self._function = function
        self._device = device
        with torch.cuda.device(device):
            self._pool = torch.cuda.graph_pool_handle()
            self._warm_up_stream = torch.cuda.Stream()
            # The same for all recordings: freed memory of a pool is reused on its stream alone. Not
            # the one for the warm-up, so that cuBLAS takes its workspace for this stream from the
            # pool, where nothing else can get its memory.
            self._stream = torch.cuda.Stream()
            self._finished = torch.cuda.Event()  # the end of the latest replay
        self._one_replay = threading.Lock()

    @staticmethod
    def usable_now() -> bool:
        """Return whether a replay would do the same as a call of the function.

        It would not if the caller records a graph of its own, which can contain no other one, or
        has chosen autocast or deterministic algorithms, which choose kernels during a call.
        """
        return not (
            torch.cuda.is_current_stream_capturing()
            or torch.is_autocast_enabled("cuda")
            or torch.are_deterministic_algorithms_enabled()
        )

    def record(self, example: Tensor) -> Callable[[Tensor], list[Tensor]]:
        """Record a call of the function. Only one thread of the process may do this at a time.

        Args:
            example: an input of the shape, type and memory order to record; its values do not
                count.

        Returns:
            A function of an input of this shape, of any type and memory order. It returns the
            outputs in float32, in memory of their own.

        Raises:
            RuntimeError: if the function cannot be recorded; other errors are the function's own.
        """
        # Not in inference mode: calls outside of it may not write to tensors made in it.
        with torch.inference_mode(False), torch.no_grad(), torch.cuda.device(self._device):
            x = torch.zeros_like(example)
            self._warm_up_stream.wait_stream(torch.cuda.current_stream())
            # Around the recording as well: torch.cuda.graph waits for the warm-up, but if a
            # recording fails, it does not put the caller's stream back. This block does.
            with torch.cuda.stream(self._warm_up_stream):
                with _RefuseWaiting(x.device):
                    self._function(x)
                for _ in range(_WARM_UP - 1):
                    self._function(x)
                graph, outputs = self._capture(x)
        return partial(self._replay, _Recording(graph, x, outputs))

    def _capture(self, x: Tensor) -> tuple[torch.cuda.CUDAGraph, Sequence[Tensor]]:
        graph = torch.cuda.CUDAGraph()
        handled_by_caller = sys.exc_info()[1]
        try:
            # thread_local: other threads may allocate memory and read results meanwhile.
            with torch.cuda.graph(
                graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
            ):
                outputs = self._function(x)
        except BaseException as error:
            _FAILED.append(graph)
            # The function's error is followed by one that says only that the recording failed.
            first = error
            while first.__context__ is not None and first.__context__ is not handled_by_caller:
                first = first.__context__
            raise first from None
        return graph, outputs

    def _replay(self, recording: _Recording, x: Tensor) -> list[Tensor]:
        with self._one_replay, torch.no_grad(), torch.cuda.device(self._device):
            stream = torch.cuda.current_stream()
            # The latest replay may be unfinished, on the stream of another thread.
            stream.wait_event(self._finished)
            recording.x.copy_(x)
            # If the recording is dropped now, its input's memory is not reused before the replay.
            recording.x.record_stream(stream)
            recording.graph.replay()
            # The next replay overwrites the outputs. ``float()`` would not copy float32.
            outputs = [output.to(torch.float32, copy=True) for output in recording.outputs]
            self._finished.record(stream)
        return outputs


class _RefuseWaiting(TorchDispatchMode):
    """Raise an error at an operator that waits for the GPU, because no recording can contain it.

    The recording would fail as well, but PyTorch does not recover from that in all its versions:
    afterwards, the whole process could neither record nor empty the cache of the allocator.

    Args:
        device: the device of the input.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._kind = device.type

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False, to PyTorch; otherwise it imports its compiler, which takes seconds."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operator of this thread.

        Raises:
            RuntimeError: if it waits.
        """
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        result = func(*args, **(kwargs or {}))
        returned = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        if _needs_values(func, given) or self._is_copied(func, [*given, *returned]):
            raise RuntimeError(f"{func} waits for the GPU")
        return result

    def _is_copied(self, func: Any, tensors: Sequence[Tensor]) -> bool:
        # A number on the CPU, (), is an argument of a kernel and needs no copy of its own.
        others = [x for x in tensors if x.device.type != self._kind]
        return (func in _COPIES and bool(others)) or any(x.dim() > 0 for x in others)


def _needs_values(func: Any, given: Sequence[Tensor]) -> bool:
    """Return whether the CPU needs values to know an operator's result or the size of it."""
    if torch.Tag.data_dependent_output in func.tags:
        return True
    # Indices have a known number of results, a mask has not.
    is_index = func is torch.ops.aten.index.Tensor
    has_mask = any(x.dtype in (torch.bool, torch.uint8) for x in given[1:])
    return torch.Tag.dynamic_output_shape in func.tags and (has_mask or not is_index)
