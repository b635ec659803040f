"""Describe how one tensor differs from another, where no known mistake explains it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_CLOSE = 1e-4


def describe_pattern(
    mine: Tensor, theirs: Tensor, is_wrong: Tensor, axes: Sequence[str]
) -> str | None:
    """Return one line on the difference of two tensors; None if there is nothing to say.

    Args:
        mine: the reader's float64 tensor.
        theirs: the right one, of the same shape.
        is_wrong: bool tensor of this shape: where they differ.
        axes: the names of the dimensions.

    Example:
        >>> right = torch.tensor([1.0, 2.0, 4.0])
        >>> describe_pattern(2 * right, right, torch.ones(3, dtype=torch.bool), ["value"])
        'every value of yours is 2 times the right one'
    """
    if not bool(torch.isfinite(mine).all()):
        return "yours has values that are infinite or not a number"
    if not bool(mine.any()):
        return "all of yours are 0"
    if mine.numel() > 1 and bool((mine == mine.flatten()[0]).all()):
        return "all of yours are equal"
    return (
        _proportional(mine, theirs)
        or _shifted(mine, theirs)
        or _reordered(mine, theirs)
        or _region(is_wrong, axes)
    )


def _proportional(mine: Tensor, theirs: Tensor) -> str | None:
    factor = float((mine * theirs).sum() / theirs.square().sum().clamp(min=1e-30))
    if _is_close(mine, factor * theirs) and mine.numel() > 1:
        return f"every value of yours is {factor:.4g} times the right one"
    return None


def _shifted(mine: Tensor, theirs: Tensor) -> str | None:
    shift = float((mine - theirs).mean())
    if _is_close(mine, theirs + shift) and mine.numel() > 1:
        return f"every value of yours is the right one plus {shift:.4g}"
    return None


def _reordered(mine: Tensor, theirs: Tensor) -> str | None:
    if mine.numel() > 1 and _is_close(mine.flatten().sort().values, theirs.flatten().sort().values):
        return "your values are the right ones in another order"
    return None


def _is_close(one: Tensor, other: Tensor) -> bool:
    scale = float(other.abs().max()) + 1e-12
    return float((one - other).abs().max()) <= _CLOSE * scale


def _region(is_wrong: Tensor, axes: Sequence[str]) -> str | None:
    """Return where all differences are, if they are at one position of a dimension."""
    places = is_wrong.nonzero()
    for axis, positions, size in zip(axes, places.T, is_wrong.shape, strict=False):
        found = positions.unique()
        if size > 1 and axis and len(found) == 1:
            last = ", the last one" if int(found) == size - 1 else ""
            return f"all differences are in {axis} {int(found)}{last}"
    return None
