"""A stand-in for the part of ``torch.cuda`` that records graphs, for machines without a GPU.

Operators run on the CPU, in the order of the calls. A recording keeps each operator with the
tensors that it read and wrote; a replay runs the operators again on these tensors, as a GPU reads
and writes the same addresses again. Errors and leftovers are those of PyTorch 2.13.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class FakeGraph:
    """In place of ``torch.cuda.CUDAGraph``."""

    def __init__(self) -> None:
        self.steps: list[Callable[[], None]] = []

    def replay(self) -> None:
        """Run the recorded operators again."""
        with torch.inference_mode(False), torch.no_grad():
            for step in self.steps:
                step()


class FakeStream:
    """In place of ``torch.cuda.Stream``; it notes what it waits for."""

    def __init__(self, name: str = "side") -> None:
        self.name = name
        self.waited_for: list[FakeEvent | FakeStream] = []

    def wait_stream(self, stream: FakeStream) -> None:
        """Note the stream."""
        self.waited_for.append(stream)

    def wait_event(self, event: FakeEvent) -> None:
        """Note the event."""
        self.waited_for.append(event)


class FakeEvent:
    """In place of ``torch.cuda.Event``."""

    def record(self, stream: FakeStream) -> None:
        """Do nothing: operators on the CPU have ended when they return."""


class _Recorder(TorchDispatchMode):
    """Add each operator to the steps of a graph."""

    def __init__(self, cuda: FakeCuda, graph: FakeGraph) -> None:
        super().__init__()
        self._cuda, self._graph = cuda, graph

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False: otherwise PyTorch imports its compiler, which takes seconds."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operator and record it."""
        if func in self._cuda.forbidden:
            self._cuda.is_broken = True
            raise RuntimeError("operation not permitted when stream is capturing\nCompile with ...")
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        written = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]

        def step() -> None:
            again = func(*args, **kwargs)
            for old, new in zip(written, tree_leaves(again), strict=True):
                old.copy_(new)

        self._graph.steps.append(step)
        return result


class FakeCuda:
    """What was recorded and replayed.

    Args:
        patch: replaces the functions of ``torch.cuda`` until the test ends.

    Attributes:
        recorded: the keyword arguments of each recording.
        forbidden: operators that cannot be recorded.
        is_capturing: whether a recording is under way, of the package or of the caller.
        is_broken: whether the recording under way has failed.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.recorded: list[dict[str, Any]] = []
        self.forbidden: set[Any] = set()
        self.is_capturing = False
        self.is_broken = False
        self._current = threading.local()
        for name, value in {
            "CUDAGraph": FakeGraph,
            "Stream": FakeStream,
            "Event": FakeEvent,
            "stream": self._stream,
            "graph": self._graph,
            "device": self._device,
            "current_stream": self.current_stream,
            "graph_pool_handle": object,
            "is_current_stream_capturing": lambda: self.is_capturing,
        }.items():
            patch.setattr(torch.cuda, name, value)
        patch.setattr(Tensor, "record_stream", lambda tensor, stream: None)

    def current_stream(self) -> FakeStream:
        """Return the stream of this thread."""
        if not hasattr(self._current, "stream"):
            self._current.stream = FakeStream(threading.current_thread().name)
        stream = self._current.stream
        assert isinstance(stream, FakeStream)
        return stream

    @contextmanager
    def _device(self, device: torch.device) -> Iterator[None]:
        assert device.index is not None
        yield

    @contextmanager
    def _stream(self, stream: FakeStream) -> Iterator[None]:
        before = self.current_stream()
        self._current.stream = stream
        try:
            yield
        finally:
            self._current.stream = before

    @contextmanager
    def _graph(self, graph: FakeGraph, *, stream: FakeStream, **kwargs: Any) -> Iterator[None]:
        assert not self.is_capturing, "only one recording at a time"
        assert not torch.is_inference_mode_enabled() and not torch.is_grad_enabled()
        self.recorded.append({"stream": stream, **kwargs})
        before, self._current.stream = self.current_stream(), stream
        self.is_capturing, self.is_broken = True, False
        try:
            with _Recorder(self, graph):
                yield
        finally:
            self.is_capturing = False
            if self.is_broken:  # as in torch.cuda.graph, the stream is then not put back
                raise RuntimeError("operation failed due to a previous error during capture")
            self._current.stream = before
