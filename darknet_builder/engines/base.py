"""The contract of an engine, and what several of them need."""

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
COMPILED_FROM_CALL = 3
"""The call of an input layout that compiles. Compiling takes about a second: a single photograph
should not wait."""


class Engine(Protocol):
    """Run one network at one precision, with a copy of its weights.

    An engine is called with (B, C, H, W) float32 and returns the raw maps as float32.

    Attributes:
        detail: how, for people: the engine's own name or version.
        compiles: whether it compiles for each input layout during the first calls, so that warming
            up is worthwhile.
    """

    detail: str
    compiles: bool

    def __call__(self, x: Tensor) -> list[Tensor]:
        """(B, C, H, W) float32 -> the raw maps, float32."""


@contextmanager
def one_line_errors(backend: str, errors: tuple[type[Exception], ...]) -> Iterator[None]:
    """Turn the errors of an engine that cannot run a network into one line.

    Raises:
        InputError: in place of any of ``errors``.
    """
    try:
        yield
    except errors as error:
        raise InputError(f"backend={backend!r} cannot run this network: {_cause(error)}") from None


def _cause(error: Exception) -> str:
    """Return the first line that names the unsupported operator; engines put their own source
    locations before it.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [
        line
        for line in lines
        if re.search("not support|unsupported|no conversion rule", line, re.I)
    ]
    return (telling or lines or [type(error).__name__])[0]


def require_cpu(network: Network, backend: str) -> None:
    """Refuse a network on another device.

    Raises:
        InputError: naming the device and the backends that run there.
    """
    device = network.device
    if device.type != "cpu":
        raise InputError(
            f"backend={backend!r} runs on the CPU here, the network is on {device}; use"
            " backend='torch' or 'compile'"
        )


def for_convolutions(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert an input to a precision and, if it is (B, C, H, W), to the channels-last order."""
    return x.to(dtype, memory_format=torch.channels_last) if x.dim() == 4 else x.to(dtype)
