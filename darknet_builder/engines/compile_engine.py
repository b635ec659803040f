"""``torch.compile``: the best code for a GPU, minutes of compilation; on a CPU it needs a C++
compiler.
"""

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


class CompileEngine:
    """Run the network as ``torch.compile`` translates it, anew for each input shape.

    Args:
        network: loaded.
        precision: one of ``engine_names.PRECISION_NAMES``.

    Raises:
        InputError: on a CPU without a C++ compiler.
    """

    detail = "inductor"
    compiles = True

    def __init__(self, network: Network, precision: str) -> None:
        if network.device.type == "cpu" and not any(
            map(shutil.which, (os.environ.get("CXX", ""), *_COMPILERS))
        ):
            raise InputError(
                "backend='compile' needs a C++ compiler (Debian, Ubuntu: apt-get install g++); "
                "backend='torch' needs none"
            )
        self._dtype = PRECISIONS[precision]
        self._compiled = torch.compile(FusedNetwork(network, self._dtype), dynamic=False)
        self._errors = (import_module("torch._dynamo.exc").TorchDynamoException,)

    def __call__(self, x: Tensor) -> list[Tensor]:
        """See ``Engine``."""
        with torch.inference_mode(False), torch.no_grad(), one_line_errors("compile", self._errors):
            return [output.float() for output in self._compiled(for_convolutions(x, self._dtype))]
