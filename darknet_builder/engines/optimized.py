"""Run a network fast: ``network.optimized()`` returns a copy that is called like the network."""

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
    r"""A fast copy of a network, for inference only.

    It has the weights that the network had when the copy was made; later changes of the network do
    not reach it. Several threads may call one object, unless the network is recurrent: then the
    state of one thread's frames would reach the others.

    Attributes:
        backend: the engine's name; with ``auto``, the one that was chosen.
        precision: ``float32``, ``bfloat16``, ``float16`` or ``int8``: the one in use, which may
            differ from the requested one (see ``is_depthwise``). Raw maps are always float32.
        detail: the engine's method or version, for messages.
        compiles: whether the engine compiles for each input shape during the first calls; see
            ``warm_up``.
        timings: seconds for one batch of each ``backend:precision`` that ``auto`` measured; empty
            if nothing was measured.
        network: the network that was copied; its heads decode the outputs.

    Example:
        >>> from darknet_builder import build_network
        >>> network = build_network("[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\n")
        >>> fast = network.optimized()
        >>> fast.backend, fast.precision, tuple(fast(torch.zeros(1, 3, 8, 8)).shape)
        ('torch', 'float32', (1, 1, 8, 8))
    """

    def __init__(
        self,
        network: Network,
        engine: Engine,
        backend: str,
        precision: str,
        timings: dict[str, float] | None = None,
        remark: str = "",
    ) -> None:
        self.network = network
        self.backend = backend
        self.precision = precision
        self.timings = timings or {}
        self._engine = engine
        self._remark = remark

    @property
    def detail(self) -> str:
        """The engine's method or version."""
        return self._engine.detail  # not stored: it changes if a GPU cannot record the network

    @property
    def compiles(self) -> bool:
        """Whether the engine compiles for each input shape."""
        return self._engine.compiles

    @property
    def heads(self) -> list[Head]:
        """The detection heads, in order."""
        return self.network.heads

    @property
    def input_shape(self) -> Shape:
        """The shape of one input: (C, H, W), or (N,) for vectors."""
        return self.network.input_shape

    @property
    def input_size(self) -> tuple[int, int]:
        """(width, height) of the input in pixels."""
        return self.network.input_size

    @property
    def device(self) -> torch.device:
        """The device that inputs are moved to."""
        return self.network.device

    def reset_state(self) -> None:
        """Clear the state of recurrent layers, before the first frame of another video."""
        self.network.reset_state()

    @torch.no_grad()
    def outputs(self, x: Tensor) -> list[Tensor]:
        """Return the outputs of a call, always as a list.

        Args:
            x: (B, C, H, W) in [0, 1], or (B, N), to fit ``input_shape``.

        Raises:
            InputError: if ``x`` has another shape.
        """
        self.network.check_input(x)
        return self._engine(x.to(self.device))

    def answers(self, x: Tensor) -> list[Tensor]:
        """Return ``outputs(x)``; this is its old name."""
        warnings.warn(
            "OptimizedNetwork.answers is now OptimizedNetwork.outputs",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.outputs(x)

    def __call__(self, x: Tensor) -> list[Tensor] | Tensor:
        """Return the same as ``Network.forward``, in float32.

        Args:
            x: (B, C, H, W) in [0, 1], or (B, N), to fit ``input_shape``.

        Returns:
            The raw map of every head; for a network without heads, the last layer's output.
        """
        outputs = self.outputs(x)
        return outputs if self.heads else outputs[0]

    def warm_up(self, batch: int = 1) -> OptimizedNetwork:
        """Compile for a batch size now, instead of during the first calls.

        Args:
            batch: number of images in a call.

        Returns:
            The object itself, so that ``network.optimized().warm_up()`` can be written.
        """
        # Reset before and after, so that recurrent layers keep no state of this call.
        self.reset_state()
        for _ in range(COMPILED_FROM_CALL):
            self.outputs(torch.zeros(self.input_shape.batched(batch)))
        self.reset_state()
        return self

    def describe(self) -> str:
        """Return one line about the engine in use.

        For example ``openvino (openvino 2026.1) in bfloat16; auto measured torch:bfloat16 4.1 ms,
        openvino:bfloat16 2.6 ms``.
        """
        text = f"{self.backend} ({self.detail}) in {self.precision}"
        if self.precision == "float32" and is_depthwise(self.network) and not self._remark:
            text += "; networks with depthwise convolutions do not run in bfloat16"
        if self._remark:
            text += f"; {self._remark}"
        if self.timings:
            text += "; auto measured " + ", ".join(
                f"{name} {1e3 * seconds:.3g} ms" for name, seconds in self.timings.items()
            )
        return text


def optimize(
    network: Network, precision: str = "float32", backend: str = "torch", batch: int = 1
) -> OptimizedNetwork:
    r"""Return a fast copy of a network; ``Network.optimized`` is the same as a method.

    Args:
        network: a network with its weights; it is set to eval mode.
        precision: ``float32``, ``bfloat16``, ``float16`` (GPUs only), or ``auto``: bfloat16 if
            that is measured to be at least 1.2 times as fast.
        backend: ``torch``, ``compile``, ``onnxruntime``, ``openvino``, or ``auto`` for the
            fastest one.
        batch: the batch size that ``auto`` measures with.

    Raises:
        InputError: for an unknown backend or precision, or if the backend cannot run the network.
        MissingExtraError: if the backend is not installed.

    Example:
        >>> from darknet_builder import build_network
        >>> network = build_network("[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\n")
        >>> optimize(network).describe().endswith("in float32")
        True
    """
    network.eval()
    choice, engine, timings = choose_engine(network, backend, precision, batch)
    return OptimizedNetwork(
        network,
        engine,
        choice.backend,
        choice.precision,
        {":".join(measured): seconds for measured, seconds in timings.items()},
    )
