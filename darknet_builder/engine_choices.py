"""The names of engines and precisions, for whoever offers the choice without loading PyTorch."""

from __future__ import annotations

AUTO = "auto"
BACKEND_NAMES = ("torch", "compile", "onnxruntime", "openvino")
PRECISION_NAMES = ("float32", "bfloat16", "float16")
BACKEND_CHOICES = (AUTO, *BACKEND_NAMES)
PRECISION_CHOICES = (AUTO, *PRECISION_NAMES)
WORTHWHILE = 1.2
"""How many times faster than float32 ``auto`` must measure bfloat16 to be, before it gives up digits for it."""
