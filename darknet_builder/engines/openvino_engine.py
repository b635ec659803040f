"""OpenVINO on the CPU, in float32 or bfloat16."""

from __future__ import annotations

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
"""The errors of ``openvino.frontend``."""
_PRECISION_HINTS = {"float32": "f32", "bfloat16": "bf16"}
"""OpenVINO's words."""


class OpenVinoEngine:
    """Run the network as OpenVINO converts it, with as many threads as PyTorch has.

    Args:
        network: loaded.
        precision: ``float32`` or ``bfloat16``.

    Raises:
        InputError: for another device, or a network that it cannot run.
        MissingExtraError: where it is not installed.
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
            model.reshape([-1, *network.input_shape.batched(1)[1:]])
            self._compiled: Any = _core().compile_model(
                model,
                "CPU",
                {
                    "INFERENCE_PRECISION_HINT": _PRECISION_HINTS[precision],
                    "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                    "PERFORMANCE_HINT": "LATENCY",
                },
            )

    def __call__(self, x: Tensor) -> list[Tensor]:
        """See ``Engine``."""
        with one_line_errors("openvino", self._errors):
            outputs = self._compiled(x.contiguous().numpy())
        # The memory belongs to the engine's next call.
        return [
            torch.from_numpy(np.array(outputs[index], np.float32)) for index in range(len(outputs))
        ]


@cache
def _core() -> Any:
    """Return the one Core of the process.

    Each Core installs an alternate signal stack and restores the previous one on destruction.
    Destroying two in creation order leaves a dangling stack, and the next signal (a child that
    ends, Ctrl-C) kills the process.
    """
    return load_extra("openvino", "openvino").Core()


def _example(network: Network) -> Tensor:
    return torch.zeros(network.input_shape.batched(1))


def _traced(network: Network) -> nn.Module:
    with torch.no_grad(), quiet_torchscript():
        traced: nn.Module = torch.jit.trace(
            FusedNetwork(network), _example(network), check_trace=False
        )
    return traced
