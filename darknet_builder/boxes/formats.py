"""Box formats (``cxcywh``, ``xyxy``), and helpers that work on tensors and NumPy arrays alike."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

LABEL_VALUES = 5
"""x, y, w, h, class: one row of what an image's labels say."""


Array = TypeVar("Array", Tensor, np.ndarray)


def on_cpu(values: Tensor) -> np.ndarray:
    """A tensor of any device -> an array; floating-point numbers as float32."""
    values = values.detach().cpu()
    return (values.float() if values.is_floating_point() else values).numpy()


def library_of(values: Tensor | np.ndarray) -> Any:
    """``torch`` or ``numpy``, for functions that both have under one name."""
    return torch if isinstance(values, Tensor) else np


def join(parts: tuple[Array, ...]) -> Array:
    """Side by side along the last axis."""
    return torch.cat(parts, -1) if isinstance(parts[0], Tensor) else np.concatenate(parts, -1)


def cxcywh_to_xyxy(boxes: Array) -> Array:
    """An array (..., 4) of centre and size -> (..., 4) of corners."""
    centre, size = boxes[..., :2], boxes[..., 2:]
    return join((centre - size / 2, centre + size / 2))
