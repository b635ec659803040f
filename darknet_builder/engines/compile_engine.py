"""Run networks by ``torch.compile``: the fastest on GPUs, after minutes of compilation."""

from __future__ import annotations

import os
import shutil
from importlib import import_module

import torch
from torch import Tensor

from darknet_builder.engines.base import PRECISIONS, for_convolutions, one_line_errors
from darknet_builder.engines.fused import FusedNetwork
from darknet_builder.errors import InputError
from darknet_builder.network.network import Network

_COMPILERS = ("g++", "clang++", "c++", "icpx", "cl")
"""C++ compilers that ``torch.compile`` may call for code on the CPU."""


class CompileEngine:
    """Run the network compiled by ``torch.compile``, once for each input shape.

    Args:
        network: a network with its weights, in eval mode.
        precision: type of the activations, one of ``PRECISION_NAMES``.

    Raises:
        InputError: if the network is on the CPU and no C++ compiler is installed.
    """

    detail = "inductor"
    compiles = True

    def __init__(self, network: Network, precision: str) -> None:
        # Look now: PyTorch would fail only in the first call, with a page of text.
        compilers = (os.environ.get("CXX", ""), *_COMPILERS)
        if network.device.type == "cpu" and not any(map(shutil.which, compilers)):
            raise InputError(
                "backend='compile' needs a C++ compiler (Debian, Ubuntu: apt-get install g++); "
                "backend='torch' needs none"
            )
        self._dtype = PRECISIONS[precision]
        # Fixed shapes give faster code than symbolic ones.
        self._compiled = torch.compile(FusedNetwork(network, self._dtype), dynamic=False)
        # Imported by name, because the module is private and untyped.
        self._errors = (import_module("torch._dynamo.exc").TorchDynamoException,)

    def __call__(self, x: Tensor) -> list[Tensor]:
        """See ``Engine``."""
        # Code that is compiled in inference mode cannot be used outside of it.
        with torch.inference_mode(False), torch.no_grad(), one_line_errors("compile", self._errors):
            return [output.float() for output in self._compiled(for_convolutions(x, self._dtype))]
