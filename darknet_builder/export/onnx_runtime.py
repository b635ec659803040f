"""Open ONNX files in ONNX Runtime, and check that a file is valid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from darknet_builder.errors import ExportError
from darknet_builder.support.extras import load_extra

_ERRORS_ONLY = 3


def open_session(graph: str | Path | bytes) -> Any:
    """An ``onnxruntime.InferenceSession`` on the CPU, of a file or of a serialized graph, with
    PyTorch's threads.

    Raises:
        ExportError: when onnxruntime cannot run the file.
        MissingExtraError: where it is not installed.
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
    """Onnxruntime's own errors, which have no base class of theirs."""
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
    """ONNX's own checker, with shapes.

    Raises:
        ExportError: with the first thing that it finds.
    """
    onnx = load_extra("onnx", "export")
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the exported graph is not valid ONNX: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
