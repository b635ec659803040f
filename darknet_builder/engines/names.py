"""Names of engines and precisions, and which engines are installed; all without PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from darknet_builder.export.quantized.settings import INT8

AUTO = "auto"
BACKEND_NAMES = ("torch", "compile", "onnxruntime", "openvino")
PRECISION_NAMES = ("float32", "bfloat16", "float16")
"""PyTorch's names; float16 is for GPUs."""
GRAPH_BACKENDS = ("openvino", "onnxruntime")
"""The engines that run quantized ONNX files, in the order in which they are preferred."""
BACKEND_CHOICES = (AUTO, *BACKEND_NAMES)
PRECISION_CHOICES = (AUTO, *PRECISION_NAMES, INT8)
WORTHWHILE = 1.2
"""``auto`` chooses bfloat16, which is less precise, only if it is this many times as fast as
float32."""
_SHORT_PRECISIONS = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
_PACKAGES = {"onnxruntime": ("onnxruntime", "onnx", "onnxscript"), "openvino": ("openvino",)}
"""The packages that a backend needs besides PyTorch."""


def precision_name(word: str) -> str:
    """Return PyTorch's name for a short name of a precision, and any other word as it is.

    Example:
        >>> precision_name("bf16"), precision_name("float32")
        ('bfloat16', 'float32')
    """
    return _SHORT_PRECISIONS.get(word, word)


def short_precision(name: str) -> str:
    """Return the short name of a precision, as stored in checkpoints.

    Example:
        >>> short_precision("bfloat16")
        'bf16'
    """
    return next(short for short, long in _SHORT_PRECISIONS.items() if long == name)


def installed_backends(names: Sequence[str] = BACKEND_NAMES) -> list[str]:
    """Return the backends whose packages are installed.

    Args:
        names: the backends to look for, in the order of the answer.

    Example:
        >>> installed_backends(["torch"])
        ['torch']
    """
    return [name for name in names if _is_installed(name)]


def _is_installed(backend: str) -> bool:
    # find_spec looks for a package without importing it, which would take seconds.
    return all(find_spec(package) is not None for package in _PACKAGES.get(backend, ()))
