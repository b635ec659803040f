"""Run networks in OpenVINO on the CPU, in float32 or bfloat16."""

from __future__ import annotations

import threading
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


class OpenVinoEngine:
    """Run the network in OpenVINO, with as many threads as PyTorch has.

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
        self.detail = f"openvino {openvino.__version__.split('-')[0]}"
        failures = load_extra("openvino.frontend", "openvino")
        self._errors = (RuntimeError, *(getattr(failures, name) for name in _FAILURES))
        with one_line_errors("openvino", self._errors):
            model = openvino.convert_model(_traced(network), example_input=_example(network))
            # The conversion took the batch size of the example; -1 makes it free again.
            model.reshape([-1, *network.input_shape.batched(1)[1:]])
            options = {
                "INFERENCE_PRECISION_HINT": _PRECISION_HINTS[precision],
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                "PERFORMANCE_HINT": "LATENCY",  # one request at a time, on all threads
            }
            self._compiled: Any = _core().compile_model(model, "CPU", options)
        self._calling = threading.Lock()

    def __call__(self, x: Tensor) -> list[Tensor]:
        """See ``Engine``."""
        array = x.contiguous().numpy()
        # All calls share one infer request and its memory: copy before another thread's call
        # writes into it. One request runs on all threads, so waiting costs no time.
        with self._calling, one_line_errors("openvino", self._errors):
            outputs = self._compiled(array)
            return [
                torch.from_numpy(np.array(outputs[index], np.float32))
                for index in range(len(outputs))
            ]


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
