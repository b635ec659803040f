"""The fast path: ``network.optimized()`` gives something that is called like the network and answers sooner."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from darknet_builder.arguments import add_precision
from darknet_builder.devices import multiplies_bfloat16
from darknet_builder.engines import BACKENDS, COMPILED_FROM_CALL, PRECISIONS, Engine, installed_backends, make_engine
from darknet_builder.errors import DarknetError, InputError, did_you_mean
from darknet_builder.layers.base import Head
from darknet_builder.layers.convolutional import Convolutional
from darknet_builder.network import Network
from darknet_builder.shapes import Shape

AUTO = "auto"
BACKEND_CHOICES = (AUTO, *BACKENDS)
PRECISION_CHOICES = (AUTO, *PRECISIONS)
_AUTO_BACKENDS = ("torch", "onnxruntime", "openvino")
"""``compile`` is not among them: it takes minutes before its first answer."""
_WARM_ROUNDS, _TIMED_ROUNDS = COMPILED_FROM_CALL, 5


class OptimizedNetwork:
    """A network as it was when this was made, for inference alone.

    Attributes:
        backend: which one it runs on: what ``auto`` has chosen.
        precision: ``float32`` or ``bfloat16``: what it runs at (see ``is_depthwise``). Raw maps are float32 always.
        detail: how the backend does it.
        timings: seconds of one image on each backend that ``auto`` has tried; empty where nothing was to be chosen.
        decided: whether backend or precision were left open, or are not what was asked for: worth saying.
        network: what it was made of; its heads decode the answers.
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
    def answers(self, x: Tensor) -> list[Tensor]:
        """What a call returns, always as a list.

        Args:
            x: (B, C, H, W) in [0, 1], or (B, N), as ``input_shape`` says.

        Raises:
            InputError: for a tensor of another shape.
        """
        self.network.check_input(x)
        return self._engine(x.to(self.device))

    def __call__(self, x: Tensor) -> list[Tensor] | Tensor:
        """As ``Network.forward``: the raw map of every head as float32; without a head, the last layer's output."""
        answers = self.answers(x)
        return answers if self.heads else answers[0]

    def warm_up(self, batch: int = 1) -> OptimizedNetwork:
        """Compile for a batch now, instead of at the first calls; returns itself."""
        self.reset_state()
        for _ in range(COMPILED_FROM_CALL):
            self.answers(torch.zeros(self.input_shape.batched(batch)))
        self.reset_state()
        return self

    def describe(self) -> str:
        """``openvino (openvino 2026.1) in bfloat16; auto measured torch 4.1 ms, openvino 2.6 ms``."""
        text = f"{self.backend} ({self.detail}) in {self.precision}"
        if self.precision == "float32" and is_depthwise(self.network):
            text += ", as all networks with depthwise convolutions"
        if self.timings:
            text += "; auto measured " + ", ".join(f"{name} {1e3 * seconds:.3g} ms"
                                                   for name, seconds in self.timings.items())
        return text


def optimize(network: Network, precision: str = "float32", backend: str = "torch") -> OptimizedNetwork:
    """See ``Network.optimized``."""
    _check("precision", precision, PRECISION_CHOICES)
    _check("backend", backend, BACKEND_CHOICES)
    network.eval()
    optimized = _choose(network, _precision_for(network, precision), backend)
    optimized.decided = (precision, backend) != (optimized.precision, optimized.backend)
    return optimized


def _precision_for(network: Network, precision: str) -> str:
    if precision == AUTO:
        precision = "bfloat16" if multiplies_bfloat16(network.device) else "float32"
    return "float32" if precision == "bfloat16" and is_depthwise(network) else precision


def _choose(network: Network, precision: str, backend: str) -> OptimizedNetwork:
    if backend != AUTO:
        return OptimizedNetwork(network, make_engine(network, backend, precision), backend, precision)
    engines = _make_engines(network, precision)
    if len(engines) == 1:
        return OptimizedNetwork(network, engines["torch"], "torch", precision)
    timings = measure_engines(engines, torch.rand(network.input_shape.batched(1)))
    best = min(timings, key=lambda name: timings[name])
    return OptimizedNetwork(network, engines[best], best, precision, timings)


def is_depthwise(network: Network) -> bool:
    """Whether it has depthwise convolutions: such a network runs in float32 even where bfloat16 was asked for.

    Its long chains of short sums lose detections to eight binary digits, and gain little speed for it: there are no
    large matrix products in them. ``docs/performance.md`` has the numbers.
    """
    return any(isinstance(layer, Convolutional) and layer.groups == layer.in_shape.channels > 1
               for layer in network.layers)


def add_speed_options(parser: argparse._ActionsContainer) -> None:
    """``--precision`` and ``--backend``, which mean the same in every command."""
    add_precision(parser, PRECISION_CHOICES, "float32",
                  "auto: bfloat16 where the processor multiplies it in hardware ")
    parser.add_argument("--backend", choices=BACKEND_CHOICES, default="torch",
                        help="auto: what is measured to be fastest of what is installed (default: %(default)s)")


def _check(name: str, word: str, known: Sequence[str]) -> None:
    if word not in known:
        raise InputError(f"{name}={word!r} is unknown; expected one of {', '.join(known)}{did_you_mean(word, known)}")


def _make_engines(network: Network, precision: str) -> dict[str, Engine]:
    """Every engine that is installed and can run this; PyTorch's own always can."""
    engines = {}
    for name in installed_backends(_AUTO_BACKENDS):
        try:
            engines[name] = make_engine(network, name, precision)
        except DarknetError:  # InputError, or MissingExtraError for a package that the engine's package needs
            if name == "torch":
                raise
    return engines


def measure_engines(engines: dict[str, Engine], x: Tensor) -> dict[str, float]:
    """Median seconds of one call of each, by turns, so that a busy moment of the machine strikes all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    with torch.no_grad():
        for _ in range(_WARM_ROUNDS + _TIMED_ROUNDS):
            for name, engine in engines.items():
                start = time.perf_counter()
                engine(x)
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[_WARM_ROUNDS:]) for name, values in seconds.items()}
