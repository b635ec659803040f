"""The interface of an engine, and helpers that several engines share."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

from darknet_builder.engines.names import PRECISION_NAMES
from darknet_builder.errors import InputError
from darknet_builder.network.network import Network

PRECISIONS: dict[str, torch.dtype] = {name: getattr(torch, name) for name in PRECISION_NAMES}
"""PyTorch's type for each precision."""
COMPILED_FROM_CALL = 3
"""The number of the call, for one input layout, in which code is compiled. Compiling takes about a
second, and a single photograph should not wait for it."""


class Engine(Protocol):
    r"""Run one network at one precision, with a copy of its weights.

    An engine is called with (B, C, H, W) float32 and returns the raw maps as float32. Several
    threads may call it at once.

    Attributes:
        detail: the method or the version, for messages, for example ``openvino 2025.2``.
        compiles: whether the engine compiles for each input layout during the first calls, so
            that a warm-up is worthwhile.

    Example:
        >>> from darknet_builder import build_network
        >>> from darknet_builder.engines import make_engine
        >>> network = build_network("[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\n")
        >>> engine: Engine = make_engine(network.eval(), "torch", "float32")
        >>> [tuple(output.shape) for output in engine(torch.zeros(1, 3, 8, 8))]
        [(1, 1, 8, 8)]
    """

    detail: str
    compiles: bool

    def __call__(self, x: Tensor) -> list[Tensor]:
        """(B, C, H, W) float32 -> the raw map of each head, or the last layer's output; float32."""


@contextmanager
def one_line_errors(backend: str, errors: tuple[type[Exception], ...]) -> Iterator[None]:
    """Turn errors of an engine that cannot run a network into errors of one line.

    Args:
        backend: the engine's name, for the message.
        errors: the exceptions that the engine raises.

    Raises:
        InputError: in place of any of ``errors``.
    """
    try:
        yield
    except errors as error:
        raise InputError(
            f"backend={backend!r} cannot run this network: {cause_in_one_line(error)}"
        ) from None


def cause_in_one_line(error: Exception) -> str:
    """Return the first line of a message that names the unsupported operator, or its first line."""
    # Engines put locations in their own source code first.
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    pattern = re.compile("not support|unsupported|no conversion rule", re.I)
    causes = [line for line in lines if pattern.search(line)]
    return (causes or lines or [type(error).__name__])[0]


def require_cpu(network: Network, backend: str) -> None:
    """Refuse a network that is not on the CPU.

    Args:
        network: the network to run.
        backend: the engine's name, for the message.

    Raises:
        InputError: naming the device and the backends that run there.
    """
    device = network.device
    if device.type != "cpu":
        raise InputError(
            f"backend={backend!r} runs on the CPU only, but the network is on {device}; use"
            " backend='torch' or 'compile'"
        )


def for_convolutions(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert an input to a precision and, if it is (B, C, H, W), to channels-last order."""
    # Convolutions read and write channels-last directly; (B, N) has no such order.
    return x.to(dtype, memory_format=torch.channels_last) if x.dim() == 4 else x.to(dtype)
