"""Box formats (``cxcywh``, ``xyxy``), and helpers for both tensors and NumPy arrays."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

LABEL_VALUES = 5
"""x, y, w, h, class: the number of values in one row of an image's labels."""

Array = TypeVar("Array", Tensor, np.ndarray)


def on_cpu(values: Tensor) -> np.ndarray:
    """Return a tensor as an array on the CPU; floating-point numbers as float32."""
    return (values.float() if values.is_floating_point() else values).numpy(force=True)


def library_of(values: Tensor | np.ndarray) -> Any:
    """Return ``torch`` or ``numpy``, to call a function that both have under the same name."""
    return torch if isinstance(values, Tensor) else np


def join(parts: tuple[Array, ...]) -> Array:
    """Concatenate along the last axis."""
    return torch.cat(parts, -1) if isinstance(parts[0], Tensor) else np.concatenate(parts, -1)


def cxcywh_to_xyxy(boxes: Array) -> Array:
    """Convert boxes (..., 4) from centre and size to corners.

    Example:
        >>> cxcywh_to_xyxy(np.array([5.0, 5.0, 4.0, 2.0])).tolist()
        [3.0, 4.0, 7.0, 6.0]
    """
    centre, size = boxes[..., :2], boxes[..., 2:]
    return join((centre - size / 2, centre + size / 2))
