"""Run networks in OpenVINO on the CPU, in float32 or bfloat16."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from darknet_builder.engines.base import one_line_errors, require_cpu
from darknet_builder.engines.fused import FusedNetwork, quiet_torchscript
from darknet_builder.network.network import Network
from darknet_builder.support.extras import load_extra

_FAILURES = (
    "GeneralFailure",
    "InitializationFailure",
    "NotImplementedFailure",
    "OpConversionFailure",
    "OpValidationFailure",
)
"""Names of the exceptions of ``openvino.frontend``, which share no base class but Exception."""
_PRECISION_HINTS = {"float32": "f32", "bfloat16": "bf16"}
"""OpenVINO's name for each precision."""


class OpenVinoModel:
    """A model that is compiled for the CPU, with as many threads as PyTorch has.

    Args:
        precision: type of the activations, ``float32`` or ``bfloat16``.
        make: returns the ``openvino.Model`` to compile, given the ``openvino.Core``.

    Attributes:
        detail: the version, for messages.

    Raises:
        InputError: if OpenVINO cannot run the model.
        MissingExtraError: if openvino is not installed.
    """

    def __init__(self, precision: str, make: Callable[[Any], Any]) -> None:
        openvino = load_extra("openvino", "openvino")
        self.detail = f"openvino {openvino.__version__.split('-')[0]}"
        failures = load_extra("openvino.frontend", "openvino")
        self._errors = (RuntimeError, *(getattr(failures, name) for name in _FAILURES))
        options = {
            "INFERENCE_PRECISION_HINT": _PRECISION_HINTS[precision],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",  # one request at a time, on all threads
        }
        with one_line_errors("openvino", self._errors):
            self._compiled: Any = _core().compile_model(make(_core()), "CPU", options)
        self._calling = threading.Lock()

    def __call__(self, x: Tensor) -> list[Tensor]:
        """(B, C, H, W) float32 -> the outputs, as float32."""
        array = x.contiguous().numpy()
        # All calls share one infer request and its memory: copy before another thread's call
        # writes into it. One request runs on all threads, so waiting costs no time.
        with self._calling, one_line_errors("openvino", self._errors):
            outputs = self._compiled(array)
            return [
                torch.from_numpy(np.array(outputs[index], np.float32))
                for index in range(len(outputs))
            ]


class OpenVinoEngine:
    """Run the network in OpenVINO.

    Args:
        network: a network with its weights, in eval mode on the CPU.
        precision: type of the activations, ``float32`` or ``bfloat16``.

    Raises:
        InputError: for another device, or if OpenVINO cannot run the network.
        MissingExtraError: if openvino is not installed.
    """

    compiles = False

    def __init__(self, network: Network, precision: str) -> None:
        openvino = load_extra("openvino", "openvino")
        require_cpu(network, "openvino")

        def convert(core: Any) -> Any:
            model = openvino.convert_model(_traced(network), example_input=_example(network))
            # The conversion took the batch size of the example; -1 makes it free again.
            model.reshape([-1, *network.input_shape.batched(1)[1:]])
            return model

        self._model = OpenVinoModel(precision, convert)
        self.detail = self._model.detail

    def __call__(self, x: Tensor) -> list[Tensor]:
        """See ``Engine``."""
        return self._model(x)


@cache
def _core() -> Any:
    """Return the process's only Core.

    Each Core installs an alternate signal stack and restores the previous one on destruction.
    Destroying two in creation order leaves a dangling stack, and the next signal (a child that
    ends, Ctrl-C) kills the process.
    """
    return load_extra("openvino", "openvino").Core()


def _example(network: Network) -> Tensor:
    return torch.zeros(network.input_shape.batched(1))


def _traced(network: Network) -> nn.Module:
    """Return the network as TorchScript, the form that OpenVINO converts."""
    with torch.no_grad(), quiet_torchscript():
        traced: nn.Module = torch.jit.trace(
            FusedNetwork(network), _example(network), check_trace=False
        )
    return traced
