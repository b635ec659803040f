"""The engines by name, and the choice between them: by name, or by measuring those that are
installed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from darknet_builder.engines.base import COMPILED_FROM_CALL, Engine
from darknet_builder.engines.compile_engine import CompileEngine
from darknet_builder.engines.names import (
    AUTO,
    BACKEND_CHOICES,
    BACKEND_NAMES,
    PRECISION_CHOICES,
    WORTHWHILE,
    installed_backends,
)
from darknet_builder.engines.onnxruntime_engine import OnnxRuntimeEngine
from darknet_builder.engines.openvino_engine import OpenVinoEngine
from darknet_builder.engines.torch_engine import RecurrentEngine, TorchEngine
from darknet_builder.errors import DarknetError, InputError, did_you_mean
from darknet_builder.network.network import Network
from darknet_builder.support.devices import computes_bfloat16, require_bfloat16, synchronize

_ENGINES: tuple[Callable[[Network, str], Engine], ...] = (
    TorchEngine,
    CompileEngine,
    OnnxRuntimeEngine,
    OpenVinoEngine,
)
BACKENDS = dict(zip(BACKEND_NAMES, _ENGINES, strict=True))
_AUTO_BACKENDS = ("torch", "onnxruntime", "openvino")
"""``compile`` is not among them: it takes minutes before its first answer."""
_TIMED_ROUNDS = 5


class BackendChoice(NamedTuple):
    """An engine's name and a precision."""

    backend: str
    precision: str


def make_engine(network: Network, backend: str, precision: str) -> Engine:
    """Build an engine.

    Args:
        network: loaded, in eval mode.
        backend: a key of ``BACKENDS``.
        precision: one of ``PRECISION_NAMES``.

    Raises:
        InputError: where the backend cannot run the network, or not at this precision or on its
            device.
        MissingExtraError: where it is not installed.
    """
    if network.is_recurrent:
        if backend != "torch" or precision != "float32":
            raise InputError(
                f"backend={backend!r}, precision={precision!r}: a network with recurrent layers"
                " runs with backend='torch' and precision='float32' alone"
            )
        return RecurrentEngine(network)
    if precision == "bfloat16":
        require_bfloat16(
            network.device, f"precision={precision!r}", "precision='float32' or 'auto'"
        )
    if precision == "float16" and network.device.type == "cpu":
        raise InputError(
            "precision='float16' is for GPUs: processors compute faster in bfloat16 or float32"
        )
    return BACKENDS[backend](network, precision)


# ---- the choice ----------------------------------------------------------------------------------


def choose_engine(
    network: Network, backend: str, precision: str, batch: int
) -> tuple[BackendChoice, Engine, dict[BackendChoice, float]]:
    """Make the engine that is asked for; where ``auto`` leaves several, the one that is measured to
    be fastest.

    Args:
        network: loaded, in eval mode.
        backend: a key of ``BACKENDS``, or ``auto``.
        precision: one of ``PRECISION_NAMES``, or ``auto``.
        batch: images of a call, with which ``auto`` measures.

    Returns:
        The choice, its engine, and the seconds of a batch for each choice that was measured (empty
        without ``auto``).

    Raises:
        InputError: for an unknown word, or where no engine can run the network.
        MissingExtraError: where the engine is not installed.
    """
    _check("precision", precision, PRECISION_CHOICES)
    _check("backend", backend, BACKEND_CHOICES)
    backends = installed_backends(_AUTO_BACKENDS) if backend == AUTO else [backend]
    precisions = _precisions(network, precision)
    x = torch.rand(network.input_shape.batched(batch), device=network.device)
    engines = _make_engines(
        network, [BackendChoice(name, kind) for kind in precisions for name in backends], x
    )
    timings = measure_engines(engines, x) if len(engines) > 1 else {}
    best = _fastest(timings) if timings else next(iter(engines))
    return best, engines[best], timings


def _check(name: str, word: str, known: Sequence[str]) -> None:
    if word not in known:
        raise InputError(
            f"{name}={word!r} is unknown; expected one of"
            f" {', '.join(known)}{did_you_mean(word, known)}"
        )


def _precisions(network: Network, precision: str) -> Sequence[str]:
    """Return the precisions to try for a requested one."""
    if precision == AUTO:
        lower = computes_bfloat16(network.device) and not is_depthwise(network)
        return ("float32", "bfloat16") if lower else ("float32",)
    return ("float32",) if precision == "bfloat16" and is_depthwise(network) else (precision,)


def is_depthwise(network: Network) -> bool:
    """Whether it has depthwise convolutions: such a network runs in float32 even where bfloat16 is
    asked for.

    Its long chains of short sums lose detections to eight binary digits, and gain little speed for
    it: there are no large matrix products in them. ``docs/performance.md`` has the numbers.
    """
    return any(layer.is_depthwise for layer in network.sequence())


def _fastest(timings: dict[BackendChoice, float]) -> BackendChoice:
    return min(
        timings,
        key=lambda choice: timings[choice] * (1 if choice.precision == "float32" else WORTHWHILE),
    )


@torch.no_grad()
def _make_engines(
    network: Network, choices: Sequence[BackendChoice], x: Tensor
) -> dict[BackendChoice, Engine]:
    """Make every engine that is installed and can run the network; where none can, raise the first
    one's error.
    """
    engines: dict[BackendChoice, Engine] = {}
    errors = []
    for choice in choices:
        try:
            engine = make_engine(network, choice.backend, choice.precision)
            if len(choices) > 1:
                engine(x)  # an operator that it cannot run may show only now
            engines[choice] = engine
        except DarknetError as error:  # InputError, or MissingExtraError for a package that the engine's package needs
            errors.append(error)
    if not engines:
        raise errors[0]
    network.reset_state()
    return engines


@torch.no_grad()
def measure_engines(engines: dict[BackendChoice, Engine], x: Tensor) -> dict[BackendChoice, float]:
    """Return the median seconds of one call of each, interleaved, so that a busy moment affects all
    alike.
    """
    seconds: dict[BackendChoice, list[float]] = {choice: [] for choice in engines}
    for engine in engines.values():
        for _ in range(COMPILED_FROM_CALL):
            engine(x)
    for _ in range(_TIMED_ROUNDS):
        for choice, engine in engines.items():
            engine(
                x
            )  # not counted: the threads of the engine before may still wait actively for more
            synchronize(x.device)
            start = time.perf_counter()
            engine(x)
            synchronize(x.device)
            seconds[choice].append(time.perf_counter() - start)
    return {choice: statistics.median(values) for choice, values in seconds.items()}
