"""The fast path: ``network.optimized()`` gives something that is called like the network and answers sooner."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from darknet_builder.devices import computes_bfloat16, synchronize
from darknet_builder.engine_choices import AUTO, BACKEND_CHOICES, PRECISION_CHOICES, WORTHWHILE
from darknet_builder.engines import COMPILED_FROM_CALL, Engine, installed_backends, make_engine
from darknet_builder.errors import DarknetError, InputError, did_you_mean
from darknet_builder.layers.base import Head
from darknet_builder.network import Network
from darknet_builder.shapes import Shape

_Way = tuple[str, str]
"""Backend and precision."""
_AUTO_BACKENDS = ("torch", "onnxruntime", "openvino")
"""``compile`` is not among them: it takes minutes before its first answer."""
_TIMED_ROUNDS = 5


class OptimizedNetwork:
    """A network as it was when this was made, for inference alone.

    Attributes:
        backend: which one it runs on: what ``auto`` has chosen.
        precision: ``float32``, ``bfloat16`` or ``float16``: what it runs at (see ``is_depthwise``). Raw maps are
            float32 always.
        detail: how the backend does it.
        timings: seconds of one batch for each ``backend:precision`` that ``auto`` has tried; empty where nothing was
            to be chosen.
        decided: whether backend or precision were left open, or are not what was asked for: worth saying.
        network: what it was made of; its heads decode the outputs.
    """

    def __init__(self, network: Network, engine: Engine, backend: str, precision: str,
                 timings: dict[str, float] | None = None) -> None:
        self.network = network
        self.decided = False
        self.backend = backend
        self.precision = precision
        self.detail = engine.detail
        self.timings = timings or {}
        self._engine = engine

    @property
    def heads(self) -> list[Head]:
        """The layers at which detections are read, in order."""
        return self.network.heads

    @property
    def input_shape(self) -> Shape:
        """What each image must be."""
        return self.network.input_shape

    @property
    def input_size(self) -> tuple[int, int]:
        """(width, height) of the input in pixels."""
        return self.network.input_size

    @property
    def device(self) -> torch.device:
        """Where the input is moved to."""
        return self.network.device

    def reset_state(self) -> None:
        """Let recurrent layers forget what they have seen."""
        self.network.reset_state()

    @torch.no_grad()
    def outputs(self, x: Tensor) -> list[Tensor]:
        """What a call returns, always as a list.

        Args:
            x: (B, C, H, W) in [0, 1], or (B, N), as ``input_shape`` says.

        Raises:
            InputError: for a tensor of another shape.
        """
        self.network.check_input(x)
        return self._engine(x.to(self.device))

    def answers(self, x: Tensor) -> list[Tensor]:
        """Return ``outputs(x)``; the old name."""
        warnings.warn("OptimizedNetwork.answers is now OptimizedNetwork.outputs", DeprecationWarning, stacklevel=2)
        return self.outputs(x)

    def __call__(self, x: Tensor) -> list[Tensor] | Tensor:
        """As ``Network.forward``: the raw map of every head as float32; without a head, the last layer's output."""
        outputs = self.outputs(x)
        return outputs if self.heads else outputs[0]

    def warm_up(self, batch: int = 1) -> OptimizedNetwork:
        """Compile for a batch now, instead of at the first calls; returns itself."""
        self.reset_state()
        for _ in range(COMPILED_FROM_CALL):
            self.outputs(torch.zeros(self.input_shape.batched(batch)))
        self.reset_state()
        return self

    def describe(self) -> str:
        """``openvino (openvino 2026.1) in bfloat16; auto measured torch:bfloat16 4.1 ms, openvino:bfloat16 2.6 ms``."""
        text = f"{self.backend} ({self.detail}) in {self.precision}"
        if self.precision == "float32" and is_depthwise(self.network):
            text += ", as all networks with depthwise convolutions"
        if self.timings:
            text += "; auto measured " + ", ".join(f"{name} {1e3 * seconds:.3g} ms"
                                                   for name, seconds in self.timings.items())
        return text


def optimize(network: Network, precision: str = "float32", backend: str = "torch", batch: int = 1) -> OptimizedNetwork:
    """See ``Network.optimized``."""
    _check("precision", precision, PRECISION_CHOICES)
    _check("backend", backend, BACKEND_CHOICES)
    network.eval()
    backends = installed_backends(_AUTO_BACKENDS) if backend == AUTO else [backend]
    x = torch.rand(network.input_shape.batched(batch), device=network.device)
    engines = _make_engines(network, [(name, kind) for kind in _precisions(network, precision) for name in backends], x)
    timings = measure_engines(engines, x) if len(engines) > 1 else {}
    best = _fastest(timings) if timings else next(iter(engines))
    optimized = OptimizedNetwork(network, engines[best], *best,
                                 {":".join(name): seconds for name, seconds in timings.items()})
    optimized.decided = best != (backend, precision)
    return optimized


def _precisions(network: Network, precision: str) -> Sequence[str]:
    """What is to be tried for a wish."""
    if precision == AUTO:
        lower = computes_bfloat16(network.device) and not is_depthwise(network)
        return ("float32", "bfloat16") if lower else ("float32",)
    return ("float32",) if precision == "bfloat16" and is_depthwise(network) else (precision,)


def _fastest(timings: dict[_Way, float]) -> _Way:
    return min(timings, key=lambda way: timings[way] * (1 if way[1] == "float32" else WORTHWHILE))


def is_depthwise(network: Network) -> bool:
    """Whether it has depthwise convolutions: such a network runs in float32 even where bfloat16 was asked for.

    Its long chains of short sums lose detections to eight binary digits, and gain little speed for it: there are no
    large matrix products in them. ``docs/performance.md`` has the numbers.
    """
    return any(layer.is_depthwise for layer in network.sequence())


def _check(name: str, word: str, known: Sequence[str]) -> None:
    if word not in known:
        raise InputError(f"{name}={word!r} is unknown; expected one of {', '.join(known)}", argument=name,
                         hint=did_you_mean(word, known))


@torch.no_grad()
def _make_engines(network: Network, ways: Sequence[_Way], x: Tensor) -> dict[_Way, Engine]:
    """Every engine that is installed and can run this; where none can, the first one's mistake is told."""
    engines: dict[_Way, Engine] = {}
    mistakes = []
    for way in ways:
        try:
            engine = make_engine(network, *way)
            if len(ways) > 1:
                engine(x)  # what it cannot run may show only now
            engines[way] = engine
        except DarknetError as error:  # InputError, or MissingExtraError for a package that the engine's package needs
            mistakes.append(error)
    if not engines:
        raise mistakes[0]
    network.reset_state()
    return engines


@torch.no_grad()
def measure_engines(engines: dict[_Way, Engine], x: Tensor) -> dict[_Way, float]:
    """Median seconds of one call of each, by turns, so that a busy moment of the machine strikes all alike."""
    seconds: dict[_Way, list[float]] = {way: [] for way in engines}
    for engine in engines.values():
        for _ in range(COMPILED_FROM_CALL):
            engine(x)
    for _ in range(_TIMED_ROUNDS):
        for way, engine in engines.items():
            engine(x)  # not counted: the threads of the engine before may still wait actively for more
            synchronize(x.device)
            start = time.perf_counter()
            engine(x)
            synchronize(x.device)
            seconds[way].append(time.perf_counter() - start)
    return {way: statistics.median(values) for way, values in seconds.items()}
