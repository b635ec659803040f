"""The fast path: ``network.optimized()`` returns an object that is called like the network and
answers sooner.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from darknet_builder.engines.base import COMPILED_FROM_CALL, Engine
from darknet_builder.engines.choice import choose_engine, is_depthwise
from darknet_builder.layers.base import Head
from darknet_builder.network.network import Network
from darknet_builder.shapes import Shape


class OptimizedNetwork:
    """A network as it was when this was made, for inference alone.

    Attributes:
        backend: the engine's name; with ``auto``, the one that was chosen.
        precision: ``float32``, ``bfloat16`` or ``float16``: the one in use (see ``is_depthwise``).
            Raw maps are float32 always.
        detail: how the backend does it.
        compiles: whether it compiles for each input shape during the first calls; see ``warm_up``.
        timings: seconds of one batch for each ``backend:precision`` that ``auto`` has measured;
            empty where there was nothing to choose.
        network: the one it was made of; its heads decode the outputs.
    """

    def __init__(
        self,
        network: Network,
        engine: Engine,
        backend: str,
        precision: str,
        timings: dict[str, float] | None = None,
    ) -> None:
        self.network = network
        self.backend = backend
        self.precision = precision
        self.detail = engine.detail
        self.compiles = engine.compiles
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
        warnings.warn(
            "OptimizedNetwork.answers is now OptimizedNetwork.outputs",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.outputs(x)

    def __call__(self, x: Tensor) -> list[Tensor] | Tensor:
        """As ``Network.forward``: the raw map of every head as float32; without a head, the last
        layer's output.
        """
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
        """``openvino (openvino 2026.1) in bfloat16; auto measured torch:bfloat16 4.1 ms,
        openvino:bfloat16 2.6 ms``.
        """
        text = f"{self.backend} ({self.detail}) in {self.precision}"
        if self.precision == "float32" and is_depthwise(self.network):
            text += ", as all networks with depthwise convolutions"
        if self.timings:
            text += "; auto measured " + ", ".join(
                f"{name} {1e3 * seconds:.3g} ms" for name, seconds in self.timings.items()
            )
        return text


def optimize(
    network: Network, precision: str = "float32", backend: str = "torch", batch: int = 1
) -> OptimizedNetwork:
    """See ``Network.optimized``."""
    network.eval()
    choice, engine, timings = choose_engine(network, backend, precision, batch)
    return OptimizedNetwork(
        network,
        engine,
        choice.backend,
        choice.precision,
        {":".join(measured): seconds for measured, seconds in timings.items()},
    )
