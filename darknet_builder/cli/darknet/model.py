"""The device, the data and the network of a command line, and what Darknet prints about them."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

import torch

from darknet_builder.cli.darknet.flags import CLASS_TRAIN, TRAIN
from darknet_builder.cli.darknet.request import Request
from darknet_builder.cli.model import check_weights
from darknet_builder.compat.program.lines import network_lines, seen_line
from darknet_builder.errors import InputError
from darknet_builder.network.network import Network
from darknet_builder.support.devices import find_device


def choose_device(request: Request, out: TextIO) -> str:
    """Return the device of ``-gpus``, ``-i`` or ``-nogpu``; without them the first GPU, or the CPU.

    Raises:
        InputError: for a GPU that does not exist, or for several.
    """
    device = _asked_device(request)
    find_device(device)
    if device == "cpu":
        out.write(" GPU isn't used \n")
    return device


def _asked_device(request: Request) -> str:
    if request.has("-gpus"):
        devices = [f"cuda:{_gpu(word)}" for word in request.value("-gpus").split(",")]
        for device in devices:
            find_device(device)
        if len(devices) > 1 and request.function in (TRAIN, CLASS_TRAIN):
            raise InputError(
                f"-gpus {request.value('-gpus')}: one process trains on one GPU; start"
                f" 'torchrun --nproc-per-node {len(devices)} --no-python darknet-builder train'"
                " with --device cuda"
            )
        if request.function in (TRAIN, CLASS_TRAIN):
            return devices[0]
    if request.has("-nogpu") or request.value("-i", 0) < 0:
        return "cpu"
    if request.has("-i"):
        return f"cuda:{request.value('-i')}"
    return "cuda:0" if torch.cuda.is_available() else "cpu"


def _gpu(word: str) -> int:
    if not word.strip().isdecimal():
        raise InputError(f"-gpus {word}: expected numbers of GPUs, such as 0,1")
    return int(word)


def check_model(cfg: str, weights: str | None) -> None:
    """Check that the network has weights.

    Raises:
        InputError: if they are missing.
    """
    if weights is None:
        check_weights(cfg, None)
    elif not Path(weights).is_file():
        raise InputError("no such weights file", path=weights)


def announce(network: Network, out: TextIO, *, is_training: bool = False) -> None:
    """Print what Darknet prints while it reads cfg and weights.

    Args:
        network: with its weights.
        out: where to.
        is_training: whether the batch is the cfg's.
    """
    out.write(network_lines(network, is_training=is_training))
    if network.header.seen or not is_training:
        out.write(seen_line(network))
