"""Choose an engine: by name, or the fastest of those that are installed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from darknet_builder.engines.base import COMPILED_FROM_CALL, Engine
from darknet_builder.engines.compile_engine import CompileEngine
from darknet_builder.engines.graph_engine import GraphEngine
from darknet_builder.engines.names import (
    AUTO,
    BACKEND_CHOICES,
    BACKEND_NAMES,
    GRAPH_BACKENDS,
    PRECISION_CHOICES,
    WORTHWHILE,
    installed_backends,
)
from darknet_builder.engines.onnxruntime_engine import OnnxRuntimeEngine
from darknet_builder.engines.openvino_engine import OpenVinoEngine
from darknet_builder.engines.torch_engine import RecurrentEngine, TorchEngine
from darknet_builder.errors import DarknetError, InputError, did_you_mean
from darknet_builder.export.quantized.settings import INT8
from darknet_builder.network.batch_memory import check_batch, explaining_memory
from darknet_builder.network.network import Network
from darknet_builder.support.devices import computes_bfloat16, require_bfloat16, synchronize

_ENGINES: tuple[Callable[[Network, str], Engine], ...] = (
    TorchEngine,
    CompileEngine,
    OnnxRuntimeEngine,
    OpenVinoEngine,
)
BACKENDS = dict(zip(BACKEND_NAMES, _ENGINES, strict=True))
"""The class of each engine by the engine's name."""
_AUTO_BACKENDS = ("torch", "onnxruntime", "openvino")
"""The engines that ``auto`` measures. ``compile`` would take minutes before its first output."""
_TIMED_ROUNDS = 5


class BackendChoice(NamedTuple):
    """An engine and a precision.

    Attributes:
        backend: a key of ``BACKENDS``.
        precision: type of the activations, one of ``PRECISION_NAMES``.
    """

    backend: str
    precision: str


def make_engine(network: Network, backend: str, precision: str) -> Engine:
    r"""Build an engine for a network.

    Args:
        network: a network with its weights, in eval mode.
        backend: a key of ``BACKENDS``.
        precision: type of the activations, one of ``PRECISION_NAMES``.

    Raises:
        InputError: if the backend cannot run the network, at this precision or on its device.
        MissingExtraError: if a package that the backend needs is not installed.

    Example:
        >>> from darknet_builder import build_network
        >>> network = build_network("[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\n")
        >>> engine = make_engine(network.eval(), "torch", "float32")
        >>> [tuple(output.shape) for output in engine(torch.zeros(2, 3, 8, 8))]
        [(2, 1, 8, 8)]
    """
    if network.graph_file is not None:
        return GraphEngine(network, backend)
    if precision == INT8:
        raise InputError(
            f"precision={precision!r} needs photographs to calibrate on, or a file that was"
            " exported in int8",
            argument="calibrate",
        )
    if network.is_recurrent:
        if backend != "torch" or precision != "float32":
            raise InputError(
                f"backend={backend!r}, precision={precision!r}: a network with recurrent layers"
                " needs backend='torch' and precision='float32'"
            )
        return RecurrentEngine(network)
    if precision == "bfloat16":
        require_bfloat16(
            network.device, f"precision={precision!r}", "precision='float32' or 'auto'"
        )
    if precision == "float16" and network.device.type == "cpu":
        raise InputError(
            "precision='float16' is for GPUs; use bfloat16 or float32, which are faster on CPUs"
        )
    return BACKENDS[backend](network, precision)


# ---- the choice ----------------------------------------------------------------------------------


def choose_engine(
    network: Network, backend: str, precision: str, batch: int
) -> tuple[BackendChoice, Engine, dict[BackendChoice, float]]:
    """Make the requested engine; with ``auto``, measure the possible ones and take the fastest.

    Args:
        network: a network with its weights, in eval mode.
        backend: a key of ``BACKENDS``, or ``auto``.
        precision: one of ``PRECISION_CHOICES``.
        batch: the batch size that ``auto`` measures with.

    Returns:
        The choice, its engine, and the seconds for one batch of each measured choice (empty if
        there was only one).

    Raises:
        InputError: for an unknown backend or precision, if no engine can run the network, or if the
            batch cannot fit into memory.
        MissingExtraError: if the engine is not installed.
    """
    _check("precision", precision, PRECISION_CHOICES)
    _check("backend", backend, BACKEND_CHOICES)
    automatic = _AUTO_BACKENDS if network.graph_file is None else GRAPH_BACKENDS
    backends = installed_backends(automatic) if backend == AUTO else [backend]
    precisions = _precisions(network, precision)
    check_batch(network, batch)
    choices = [BackendChoice(name, kind) for kind in precisions for name in backends]
    with explaining_memory(network, batch):
        x = torch.rand(network.input_shape.batched(batch), device=network.device)
        engines = _make_engines(network, choices, x)
        timings = measure_engines(engines, x) if len(engines) > 1 else {}
    best = _fastest(timings) if timings else next(iter(engines))
    return best, engines[best], timings


def _check(argument: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise InputError(
            f"{argument}={value!r} is unknown; expected one of"
            f" {', '.join(known)}{did_you_mean(value, known)}"
        )


def _precisions(network: Network, precision: str) -> Sequence[str]:
    """Return the precisions to measure for a requested one; float32 is always an option.

    Raises:
        InputError: if a quantized file has another precision.
    """
    if network.graph_file is not None:
        # float32 is the default of all callers, so it may not have been asked for.
        if precision not in (AUTO, INT8, "float32"):
            raise InputError(
                f"precision={precision!r}: the file is in int8", path=network.graph_file
            )
        return (INT8,)
    if precision == AUTO:
        lower = computes_bfloat16(network.device) and not is_depthwise(network)
        return ("float32", "bfloat16") if lower else ("float32",)
    # Not an error: users ask for bfloat16 to gain speed, and here it gains nothing.
    return ("float32",) if precision == "bfloat16" and is_depthwise(network) else (precision,)


def default_backend(network: Network) -> str:
    """Return the backend to use if none is requested: ``torch``, except for quantized files."""
    if network.graph_file is None:
        return BACKEND_NAMES[0]
    return (installed_backends(GRAPH_BACKENDS) or GRAPH_BACKENDS)[0]


def is_depthwise(network: Network) -> bool:
    """Return whether a network has depthwise convolutions.

    Such a network runs in float32 even if bfloat16 is requested. In bfloat16, with 8 significant
    bits, its long chains of short sums lose detections. They also gain little speed, because they
    contain no large matrix products. ``docs/performance.md`` has the measurements.
    """
    return any(layer.is_depthwise for layer in network.sequence())


def _fastest(timings: dict[BackendChoice, float]) -> BackendChoice:
    """Return the fastest choice; a lower precision must be ``WORTHWHILE`` times as fast."""

    def cost(choice: BackendChoice) -> float:
        return timings[choice] * (1 if choice.precision == "float32" else WORTHWHILE)

    return min(timings, key=cost)


@torch.no_grad()
def _make_engines(
    network: Network, choices: Sequence[BackendChoice], x: Tensor
) -> dict[BackendChoice, Engine]:
    """Make every engine that is installed and can run the network.

    Args:
        network: a network with its weights, in eval mode.
        choices: the engines to make.
        x: (B, C, H, W) on the network's device, to try the engines on.

    Raises:
        DarknetError: the first engine's error, if none can run the network.
    """
    engines: dict[BackendChoice, Engine] = {}
    errors = []
    for choice in choices:
        try:
            engine = make_engine(network, choice.backend, choice.precision)
            if len(choices) > 1:
                engine(x)  # some engines reject an operator only in the first call
            engines[choice] = engine
        except DarknetError as error:
            # An InputError; or a MissingExtraError, for a package that the engine's own one needs.
            errors.append(error)
    if not engines:
        raise errors[0]
    # The trial call must not count as a frame that a recurrent network has seen.
    network.reset_state()
    return engines


@torch.no_grad()
def measure_engines(engines: dict[BackendChoice, Engine], x: Tensor) -> dict[BackendChoice, float]:
    """Return the median seconds of one call of each engine.

    The calls of the engines are interleaved, so that a busy moment of the machine affects all of
    them alike.

    Args:
        engines: the engines to measure.
        x: (B, C, H, W) on the network's device.
    """
    seconds: dict[BackendChoice, list[float]] = {choice: [] for choice in engines}
    for engine in engines.values():
        for _ in range(COMPILED_FROM_CALL):
            engine(x)
    for _ in range(_TIMED_ROUNDS):
        for choice, engine in engines.items():
            # Not counted: the previous engine's threads may still be spinning, waiting for work.
            engine(x)
            # CUDA calls are asynchronous: wait for them before reading the clock.
            synchronize(x.device)
            start = time.perf_counter()
            engine(x)
            synchronize(x.device)
            seconds[choice].append(time.perf_counter() - start)
    return {choice: statistics.median(values) for choice, values in seconds.items()}
