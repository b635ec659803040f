"""Candidates of a benchmark: the engines, and the usual ways to run a network without them.

A candidate is written ``backend:precision``, such as ``torch:float32``.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from darknet_builder.data.scenes import write_scenes
from darknet_builder.engines.base import PRECISIONS, Engine
from darknet_builder.engines.choice import make_engine
from darknet_builder.engines.names import installed_backends, precision_name
from darknet_builder.engines.onnxruntime_engine import onnx_bytes
from darknet_builder.errors import InputError
from darknet_builder.export.export import export_network
from darknet_builder.export.quantized.calibration import find_photographs
from darknet_builder.export.quantized.settings import INT8, Int8Settings
from darknet_builder.export.settings import ExportSettings
from darknet_builder.images.opencv import load_opencv
from darknet_builder.network.build import build_graph_network
from darknet_builder.network.network import Network
from darknet_builder.support.devices import computes_bfloat16

PLAIN = "plain"
"""``network(x)`` as it is, without the fast path."""
CHANNELS_LAST = "channels-last"
"""``network(x)`` with weights and input in channels_last, which convolutions prefer. A user of
PyTorch can do this in one line."""
OPENCV = "opencv"
"""``cv2.dnn`` in this interpreter, which reads the exported ONNX file."""


_CALIBRATION_SCENES = 4
"""Drawn scenes that a candidate in int8 is calibrated on; its accuracy is not measured."""


def computed_precisions(device: torch.device) -> list[str]:
    """Return those of ``PRECISIONS`` that the device computes in hardware.

    Example:
        >>> computed_precisions(torch.device("cpu"))[0]
        'float32'
    """
    computed = {
        "float32": True,
        "bfloat16": computes_bfloat16(device),
        "float16": device.type != "cpu",
    }
    return [name for name in PRECISIONS if computed[name]]


def default_candidates(network: Network) -> list[str]:
    """Return all installed candidates, at the precisions that the network's device computes.

    ``compile`` is left out, because it takes minutes to start.
    """
    on_cpu = network.device.type == "cpu"
    backends = [name for name in installed_backends() if name != "compile"]
    precisions = computed_precisions(network.device)
    candidates = []
    for backend in backends if on_cpu else ["torch"]:
        # The engine for ONNX Runtime has float32 alone.
        usable = ["float32"] if backend == "onnxruntime" else precisions
        candidates += [f"{backend}:{precision}" for precision in usable]
    candidates.append(f"{PLAIN}:float32")
    candidates += [f"{CHANNELS_LAST}:{precision}" for precision in precisions]
    if on_cpu:
        candidates.append(f"{OPENCV}:float32")
    return candidates


def make_runner(network: Network, candidate: str) -> tuple[Callable[[Tensor], Any], str]:
    """Make the function that runs a batch on a candidate.

    Args:
        network: a loaded network in eval mode.
        candidate: ``backend:precision``, or one of ``PLAIN``, ``CHANNELS_LAST`` and ``OPENCV`` as
            the backend. The precision may be left out; it is then float32. ``int8`` is calibrated
            on a few drawn scenes.

    Returns:
        The function and a short description of the method.

    Raises:
        DarknetError: if the candidate cannot run this network or is not installed.
    """
    backend, _, precision = candidate.partition(":")
    precision = precision_name(precision or "float32")
    if backend in (PLAIN, OPENCV) and precision != "float32":
        raise InputError(f"{candidate}: {backend} runs only in float32")
    if backend == PLAIN:
        return network.outputs, "network(x)"
    if backend == CHANNELS_LAST:
        return _channels_last(network, precision), "network(x), channels last"
    if backend == OPENCV:
        return _opencv_runner(network)
    engine = (
        _quantized_engine(network, backend)
        if precision == INT8
        else make_engine(network, backend, precision)
    )
    return engine, engine.detail


def _quantized_engine(network: Network, backend: str) -> Engine:
    """Return an engine that runs the network in int8, calibrated on drawn scenes."""
    with tempfile.TemporaryDirectory(prefix="darknet-builder-") as folder:
        data = write_scenes(folder, {"train": _CALIBRATION_SCENES, "valid": 1})
        settings = ExportSettings(any_batch=True, int8=Int8Settings(find_photographs(data)))
        path = Path(folder, f"network.{INT8}.onnx")
        export_network(network, path, settings=settings)
        # The engine reads the file once, so that it may be deleted afterwards.
        return make_engine(build_graph_network(path), backend, INT8)


def _channels_last(network: Network, precision: str) -> Callable[[Tensor], Any]:
    """Return a copy of the network in channels_last, without any other optimisation.

    Raises:
        InputError: if the precision is unknown.
    """
    if precision not in PRECISIONS:
        raise InputError(f"{CHANNELS_LAST}:{precision}: expected one of {', '.join(PRECISIONS)}")
    dtype = PRECISIONS[precision]
    copied = copy.deepcopy(network).to(dtype)
    copied.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return lambda x: copied.outputs(x.to(dtype, memory_format=torch.channels_last))


def _opencv_runner(network: Network) -> tuple[Callable[[Tensor], Any], str]:
    """Return OpenCV's own engine on the exported ONNX file, and its description.

    Raises:
        InputError: if OpenCV cannot read the file.
    """
    cv2 = load_opencv()
    cv2.setNumThreads(torch.get_num_threads())  # as many as the other candidates have
    try:
        net = cv2.dnn.readNetFromONNX(np.frombuffer(onnx_bytes(network), np.uint8))
    except cv2.error as error:
        raise InputError(f"{OPENCV}: {error.err}") from None
    names = net.getUnconnectedOutLayersNames()

    def run(x: Tensor) -> Any:
        net.setInput(x.numpy())
        return net.forward(names)

    return run, f"OpenCV {cv2.__version__}, ONNX"
