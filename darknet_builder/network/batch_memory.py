"""Refuse batches that do not fit into memory, and say which one would fit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from darknet_builder.errors import CfgError, InputError
from darknet_builder.network.network import Network
from darknet_builder.support.resident_memory import free_memory

_FLOAT_BYTES = 4
_WORDS = (
    "can't allocate memory",  # PyTorch on Linux
    "not enough memory",  # PyTorch on Windows
    "out of memory",  # CUDA
    "overflowed with sizes",  # PyTorch, if the number of bytes is above 2^63
    "bad allocation",  # ONNX Runtime
    "std::bad_alloc",  # OpenVINO
)
"""What engines say when memory is short. Few of them raise a MemoryError."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception of Python, PyTorch or an engine reports a lack of memory.

    Example:
        >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("no such kernel"))
        (True, False)
    """
    text = str(error)
    return isinstance(error, MemoryError) or any(word in text for word in _WORDS)


def check_batch(network: Network, batch: int) -> None:
    """Refuse a batch whose outputs alone need more memory than is free.

    Linux would promise that memory, and kill the process when it is used.

    Args:
        network: the network; nothing is checked on a GPU, which refuses for itself.
        batch: number of images in a call.

    Raises:
        InputError: with the number of images that would fit.
    """
    free = free_memory()
    needed = batch * _image_bytes(network)
    if free is not None and network.device.type == "cpu" and needed > free:
        raise _too_large(network, batch)


@contextmanager
def explaining_memory(network: Network, batch: int) -> Iterator[None]:
    """Turn a lack of memory in the block into an error that says which batch would fit.

    Args:
        network: the network that runs in the block.
        batch: number of images in a call.

    Raises:
        InputError: if memory is short. Other exceptions are passed on.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise _too_large(network, batch) from None


@contextmanager
def explaining_training_memory(network: Network) -> Iterator[None]:
    """Turn a lack of memory in a step of a training into an error that names ``subdivisions=``.

    Raises:
        CfgError: located, if memory is short. Other exceptions are passed on.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise _too_few_subdivisions(network) from None


def _too_large(network: Network, batch: int) -> InputError:
    # A batch that failed does not fit, whatever the estimate says.
    fitting = min(_fitting(network), batch // 2)
    size = f"{batch * _image_bytes(network) / 2**30:,.1f} GiB"
    if fitting < 1:
        return InputError(
            f"not enough memory for one image: the outputs of the network need {size}",
            argument=("width", "height"),
            hint="use a smaller input size",
        )
    return InputError(
        f"not enough memory: the outputs of the network need {size}",
        argument="batch",
        value=batch,
        hint=f"a batch of {fitting} would fit",
    )


def _too_few_subdivisions(network: Network) -> CfgError:
    """Return the error for a training; how much a backward pass needs is not known."""
    block, batch = network.blocks[0], network.options.batch
    parts = network.options.subdivisions
    images = batch // parts
    # The next larger divisor of the batch that at least halves the images of a part.
    larger = next((count for count in range(2 * parts, batch + 1) if batch % count == 0), None)
    if larger is None:
        hint = "use a smaller width= and height="
    else:
        hint = f"halve them with subdivisions={larger}"
    return block.error(f"not enough memory for {images} images at a time", hint=hint)


def _image_bytes(network: Network) -> int:
    return _FLOAT_BYTES * network.peak_values()


def _fitting(network: Network) -> int:
    """Return the number of images whose outputs fit into the free memory; large if unknown."""
    if network.device.type == "cuda":
        free: int | None = torch.cuda.mem_get_info(network.device)[0]
    else:
        free = free_memory()
    return 2**62 if free is None else free // _image_bytes(network)
