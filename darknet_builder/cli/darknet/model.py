"""The device, the data and the network of a command line, and what Darknet prints about them."""

from __future__ import annotations

import warnings
from typing import TextIO

import torch

from darknet_builder.cli.darknet.flags import CLASS_TRAIN, TRAIN
from darknet_builder.cli.darknet.request import Request
from darknet_builder.compat.program.lines import network_lines, seen_line
from darknet_builder.errors import InputError
from darknet_builder.network.network import Network
from darknet_builder.support.devices import find_device


def choose_device(request: Request, out: TextIO) -> str:
    """Return the device of ``-gpus``, ``-i`` or ``-nogpu``.

    Without these flags, it is the first GPU, or the CPU if the machine has none.

    Raises:
        InputError: for a GPU that does not exist, or for several.
    """
    device = _asked_device(request)
    if device == "cpu":
        out.write(" GPU isn't used \n")
    return device


def _asked_device(request: Request) -> str:
    if request.has("-gpus"):
        return _listed_gpu(request)
    index = request.value("-i", 0)
    if request.has("-nogpu") or index < 0:
        return "cpu"
    if request.has("-i"):
        _check_device(f"cuda:{index}", f"-i {index}")
        return f"cuda:{index}"
    return "cuda:0" if torch.cuda.is_available() else "cpu"


def _listed_gpu(request: Request) -> str:
    """Return the first GPU of ``-gpus``."""
    asked = f"-gpus {request.value('-gpus')}"
    devices = [f"cuda:{_gpu(word)}" for word in request.value("-gpus").split(",")]
    for device in devices:
        _check_device(device, asked)
    if len(devices) == 1:
        return devices[0]
    if request.function in (TRAIN, CLASS_TRAIN):
        raise InputError(
            f"{asked}: one process trains on one GPU; start 'torchrun --nproc-per-node"
            f" {len(devices)} --no-python darknet-builder train' with --device cuda"
        )
    warnings.warn(f"{asked}: '{request.function}' runs on the first one", UserWarning, stacklevel=1)
    return devices[0]


def _check_device(device: str, asked: str) -> None:
    try:
        find_device(device)
    except InputError as error:
        raise InputError(
            f"{asked}: {error.message}",
            hint="leave the flag out: the first GPU is used then, or the CPU",
        ) from None


def _gpu(word: str) -> int:
    if not word.strip().isdecimal():
        raise InputError(f"-gpus {word}: expected numbers of GPUs, such as 0,1")
    return int(word)


def announce(network: Network, out: TextIO, *, is_training: bool = False) -> None:
    """Print what Darknet prints while it reads cfg and weights.

    Args:
        network: a network with its weights.
        out: stream for Darknet's lines.
        is_training: True for the cfg's batch size, False for one image at a time.
    """
    out.write(network_lines(network, is_training=is_training))
    if network.header.seen or not is_training:
        out.write(seen_line(network))
