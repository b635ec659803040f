"""Compare what a reader's code returns with what it should return."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

_RELATIVE, _ABSOLUTE = 1e-3, 1e-5
"""The bound for float32 sums in another order: 1e-3 of the root mean square, plus 1e-5."""


@dataclass(frozen=True)
class Raised:
    """An exception, as the result of a call.

    Attributes:
        kind: name of its class.
        message: its text; not compared if it is None.
        place: where in the reader's file it was raised: line, function and code, as text.
        function: name of the function that raised it.

    Example:
        >>> mismatch(Raised("IndexError", "a"), Raised("IndexError"))
        0.0
    """

    kind: str
    message: str | None = None
    place: str = ""
    function: str = ""


def is_not_written(value: object) -> bool:
    """Return whether a result is the error of a stub: NotImplementedError without a text.

    Example:
        >>> is_not_written(Raised("NotImplementedError", ""))
        True
    """
    return isinstance(value, Raised) and value.kind == "NotImplementedError" and not value.message


def mismatch(value: object, expected: object) -> float:
    """Return how much a value differs, in units of what rounding allows.

    Args:
        value: what the code returned.
        expected: tensors, numbers, texts, ``Raised``; or dicts, lists and tuples of them.

    Returns:
        0 for equal values, up to 1 if the difference is rounding, infinity for another structure,
        shape, type or text.

    Example:
        >>> mismatch([1.0, "a"], (1.0, "a"))
        0.0
        >>> mismatch(torch.ones(2), torch.zeros(2)) > 1
        True
    """
    if isinstance(value, Raised) or isinstance(expected, Raised):
        return 0.0 if _is_same_error(value, expected) else math.inf
    if isinstance(expected, Tensor):
        return _tensor_mismatch(value, expected)
    if isinstance(expected, dict):
        if not isinstance(value, dict) or list(map(str, value)) != list(map(str, expected)):
            return math.inf
        return max((mismatch(value[key], expected[key]) for key in expected), default=0.0)
    if isinstance(expected, (list, tuple)):
        if not isinstance(value, (list, tuple)) or len(value) != len(expected):
            return math.inf
        pairs = zip(value, expected, strict=True)
        return max((mismatch(mine, theirs) for mine, theirs in pairs), default=0.0)
    return _plain_mismatch(value, expected)


def is_right(value: object, expected: object) -> bool:
    """Return whether a value is right, but for rounding.

    Example:
        >>> is_right(0.1 + 0.2, 0.3)
        True
    """
    return mismatch(value, expected) <= 1


def as_tensor(value: object) -> Tensor | None:
    """Return a tensor or an array as a tensor of float64; None for anything else."""
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value.copy())
    return value.detach().double() if isinstance(value, Tensor) else None


def parts(value: Any, expected: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, Any, Any]]:
    """Yield (path, value, expected) of every part of two structures that is itself no structure.

    A part whose structure differs is yielded whole.

    Example:
        >>> list(parts({"a": [1, 2]}, {"a": [1, 3]}))
        [(('a', 0), 1, 1), (('a', 1), 2, 3)]
    """
    if isinstance(expected, dict) and isinstance(value, dict) and list(value) == list(expected):
        for key in expected:
            yield from parts(value[key], expected[key], (*path, key))
    elif _is_row(expected) and _is_row(value) and len(value) == len(expected):
        for index, (mine, theirs) in enumerate(zip(value, expected, strict=True)):
            yield from parts(mine, theirs, (*path, index))
    else:
        yield path, value, expected


def bound_of(expected: Tensor) -> float:
    """Return the largest difference that rounding explains."""
    if not expected.numel():
        return _ABSOLUTE
    return _RELATIVE * float(expected.double().square().mean().sqrt()) + _ABSOLUTE


def _is_row(value: object) -> bool:
    return isinstance(value, (list, tuple))


def _is_same_error(value: object, expected: object) -> bool:
    if not (isinstance(value, Raised) and isinstance(expected, Raised)):
        return False
    return value.kind == expected.kind and expected.message in (None, value.message)


def _tensor_mismatch(value: object, expected: Tensor) -> float:
    mine = as_tensor(value)
    if mine is None or mine.shape != expected.shape:
        return math.inf
    if not mine.numel():
        return 0.0
    expected = expected.detach()
    distance = float((mine - expected.double()).abs().max()) / bound_of(expected)
    return math.inf if math.isnan(distance) else distance


def _plain_mismatch(value: Any, expected: object) -> float:
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    is_number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if is_number and isinstance(expected, (int, float)) and not isinstance(expected, bool):
        distance = abs(float(value) - expected) / (_RELATIVE * abs(expected) + _ABSOLUTE)
        return distance if isinstance(expected, float) or distance == 0 else math.inf
    return 0.0 if type(value) is type(expected) and value == expected else math.inf
