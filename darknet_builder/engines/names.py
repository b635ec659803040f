"""The words for engines and precisions, and which engines are installed. Nothing here imports
PyTorch.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

AUTO = "auto"
BACKEND_NAMES = ("torch", "compile", "onnxruntime", "openvino")
PRECISION_NAMES = ("float32", "bfloat16", "float16")
"""Torch's words; float16 is for GPUs."""
BACKEND_CHOICES = (AUTO, *BACKEND_NAMES)
PRECISION_CHOICES = (AUTO, *PRECISION_NAMES)
WORTHWHILE = 1.2
"""How many times faster than float32 ``auto`` must measure bfloat16 to be, before it gives up
digits for it."""
_SHORT_PRECISIONS = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
_PACKAGES = {"onnxruntime": ("onnxruntime", "onnx", "onnxscript"), "openvino": ("openvino",)}
"""The packages that a backend needs beside PyTorch."""


def precision_name(word: str) -> str:
    """Return torch's name of a precision for its short name: ``bf16`` -> ``bfloat16``; any other
    word as it is.
    """
    return _SHORT_PRECISIONS.get(word, word)


def short_precision(name: str) -> str:
    """Return the short name of a precision, which checkpoints hold: ``bfloat16`` -> ``bf16``."""
    return next(short for short, long in _SHORT_PRECISIONS.items() if long == name)


def installed_backends(names: Sequence[str] = BACKEND_NAMES) -> list[str]:
    """Return those of ``names`` whose packages are installed."""
    return [
        name
        for name in names
        if all(find_spec(package) is not None for package in _PACKAGES.get(name, ()))
    ]
