"""Open ONNX files in ONNX Runtime, and check that they are valid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from darknet_builder.errors import ExportError
from darknet_builder.support.extras import load_extra

_ERRORS_ONLY = 3
"""ONNX Runtime's log severity for errors; warnings, for example of unused weights, are below."""


def open_session(graph: str | Path | bytes) -> Any:
    """Return an ``onnxruntime.InferenceSession`` on the CPU, with as many threads as PyTorch has.

    Args:
        graph: the path of a file, or a serialized ``onnx.ModelProto``.

    Raises:
        ExportError: if onnxruntime cannot run the graph.
        MissingExtraError: if onnxruntime is not installed.
    """
    runtime = load_extra("onnxruntime", "export")
    options = runtime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return runtime.InferenceSession(
            graph if isinstance(graph, bytes) else str(graph),
            options,
            providers=["CPUExecutionProvider"],
        )
    except runtime_errors() as error:
        raise ExportError(
            f"onnxruntime cannot run the exported graph: {_first_line(error)}"
        ) from None


def runtime_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions of onnxruntime, which share no base class but Exception."""
    states = load_extra("onnxruntime.capi.onnxruntime_pybind11_state", "export")
    names = (
        "EPFail",
        "Fail",
        "InvalidArgument",
        "InvalidGraph",
        "InvalidProtobuf",
        "NotImplemented",
        "RuntimeException",
    )
    return tuple(getattr(states, name) for name in names)


def check_file(path: str | Path) -> None:
    """Run ONNX's own checker on a file, with shape inference.

    Raises:
        ExportError: with the first problem that the checker finds.
        MissingExtraError: if onnx is not installed.
    """
    onnx = load_extra("onnx", "export")
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the exported graph is not valid ONNX: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    # Both packages append C++ source positions and the whole node on further lines.
    return str(error).strip().split("\n")[0]
