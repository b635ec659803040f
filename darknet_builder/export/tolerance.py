"""Decide whether the outputs of two programs differ by more than float32 rounding explains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from darknet_builder.errors import ExportError

ABSOLUTE, RELATIVE, OF_NORM = 1e-5, 1e-4, 1e-3
"""A value may differ by ABSOLUTE + RELATIVE * |value| + OF_NORM * the root mean square of its
tensor. In most networks, float32 sums in another order stay within that."""


OF_OWN, OF_VALUES = 3.0, 1e-2
"""Limits for deep networks with random weights, which magnify rounding beyond the bound above. Both
programs are then compared with float64, by root mean square: the file's error may be at most OF_OWN
times the error of PyTorch's own float32, which may be at most OF_VALUES times the values."""


@dataclass(frozen=True)
class Comparison:
    """The difference between two programs on one input.

    Attributes:
        what: the name of the input.
        difference: the largest absolute difference between two values.
        largest: the largest absolute value, to judge the difference by.
        boxes: number of boxes left after suppression; None at other levels.
        own: the largest difference between PyTorch's own float32 and float64, if float64 had to
            decide; None otherwise.
        relative: of a quantized file, the largest root mean square difference of a raw map as part
            of the root mean square of its values; None for other files.
    """

    what: str
    difference: float
    largest: float
    boxes: int | None = None
    own: float | None = None
    relative: float | None = None


@dataclass(frozen=True)
class Precise:
    """Outputs that decide where two programs differ by more than usual.

    Attributes:
        exact: PyTorch's outputs in float64.
        rounded: further outputs of PyTorch in float32, one list for each slightly changed input.
            Their errors vary by chance, and the largest of them counts.
    """

    exact: Sequence[Tensor]
    rounded: Sequence[Sequence[Tensor]] = ()


# ---- values --------------------------------------------------------------------------------------


def compare_values(
    what: str,
    wanted: Sequence[Tensor],
    found: Sequence[np.ndarray | Tensor],
    names: Sequence[str],
    decide: Callable[[], Precise] | None = None,
    of_own: float = OF_OWN,
) -> Comparison:
    """Compare the outputs of two programs.

    Args:
        what: the name of the input, for messages.
        wanted: PyTorch's outputs, of any shapes.
        found: the file's outputs, of the same shapes.
        names: the name of each output, for messages.
        decide: computes PyTorch's float64 outputs. It is called only if two outputs differ by more
            than usual; None makes that an error at once.
        of_own: how many times larger than PyTorch's own float32 error the file's error may be,
            where float64 decides.

    Raises:
        ExportError: naming the output that differs by more than float32 rounding explains.
    """
    difference = largest = 0.0
    own: float | None = None
    precise: Precise | None = None
    for index, (name, expected, actual) in enumerate(zip(names, wanted, found, strict=True)):
        pair = _Pair.of(f"{what}: {name}", expected, actual)
        if not pair.ours.numel():
            continue
        difference, largest = max(difference, pair.difference), max(largest, pair.largest)
        if pair.is_close():
            continue
        if decide is None:
            raise ExportError(pair.text())
        precise = precise or decide()
        own = max(own or 0.0, _judge_by_float64(pair, precise, index, of_own))
    return Comparison(what, difference, largest, own=own)


@dataclass(frozen=True)
class _Pair:
    """One output of both programs, converted to float64.

    Attributes:
        label: the names of the input and the output, for messages.
        ours: PyTorch's output, of any shape.
        theirs: the file's output, of the same shape.
    """

    label: str
    ours: Tensor
    theirs: Tensor

    @classmethod
    def of(cls, label: str, ours: Tensor, theirs: np.ndarray | Tensor) -> _Pair:
        """Convert both to float64.

        Raises:
            ExportError: if their shapes differ.
        """
        pair = cls(label, ours.detach().double(), torch.as_tensor(theirs).detach().double())
        if pair.ours.shape != pair.theirs.shape:
            raise ExportError(
                f"{label} has the shape {tuple(pair.theirs.shape)} in the file and "
                f"{tuple(pair.ours.shape)} in PyTorch"
            )
        return pair

    @cached_property
    def apart(self) -> Tensor:
        """The absolute difference of each value, in the shape of ``ours``."""
        # Equal infinities count as 0; their subtraction would give nan.
        return torch.where(self.ours == self.theirs, 0.0, (self.ours - self.theirs).abs())

    @property
    def difference(self) -> float:
        """The largest absolute difference."""
        return float(self.apart.max())

    @property
    def largest(self) -> float:
        """The largest absolute value of PyTorch's output."""
        return float(self.ours.abs().max())

    def is_close(self) -> bool:
        """Return whether float32 sums in another order explain every difference."""
        ours = self.ours
        # If nothing is finite, the mean of no values is nan, and the bound uses 0.
        size = ours[ours.isfinite()].square().mean().sqrt().nan_to_num()
        bound = ABSOLUTE + RELATIVE * torch.where(ours.isfinite(), ours.abs(), 0.0) + OF_NORM * size
        return bool((self.apart <= bound).all())

    def text(self) -> str:
        """Return the beginning of an error message about the difference."""
        return (
            f"{self.label} differs from PyTorch's by {self.difference:.3g} (values up to"
            f" {self.largest:.3g})"
        )


def _judge_by_float64(pair: _Pair, precise: Precise, index: int, of_own: float) -> float:
    """Return the largest error of PyTorch's float32, if the file's error is not much larger.

    Args:
        pair: PyTorch's and the file's output of one tensor.
        precise: the outputs that decide.
        index: the position of the output in ``precise``.
        of_own: how many times larger than PyTorch's own float32 error the file's error may be.

    Raises:
        ExportError: if the file's error is larger, or if PyTorch's own float32 is too inexact.
    """
    exact = precise.exact[index]
    rounded = [pair.ours, *(outputs[index].double() for outputs in precise.rounded)]
    size, file_error = _root_mean_square(exact), _root_mean_square(pair.theirs - exact)
    float32_error = max(_root_mean_square(ours - exact) for ours in rounded)
    if not file_error <= of_own * float32_error:  # "not <=" is also true if either is nan
        raise ExportError(
            f"{pair.text()}; compared with float64, its root-mean-square error is"
            f" {file_error:.2g}, that of PyTorch's float32 {float32_error:.2g}"
        )
    if not float32_error <= OF_VALUES * size:
        raise ExportError(
            f"{pair.text()}; the network magnifies rounding so much that PyTorch's own float32 has"
            f" a root-mean-square error of {float32_error:.2g} in values of {size:.2g}: float32 is"
            " too inexact for this network"
        )
    return _largest_error(rounded, exact)


def own_rounding(answers: Sequence[Tensor], precise: Precise) -> float:
    """Return the largest difference between PyTorch's float32 and float64, over all outputs.

    Args:
        answers: PyTorch's outputs in float32.
        precise: its outputs in float64, and further ones in float32.
    """
    runs = (answers, *precise.rounded)
    errors = []
    for index, exact in enumerate(precise.exact):
        rounded = [outputs[index].detach().double() for outputs in runs]
        errors.append(_largest_error(rounded, exact))
    return max(errors)


def _largest_error(rounded: Sequence[Tensor], exact: Tensor) -> float:
    return max(float((ours - exact).abs().max()) for ours in rounded)


def _root_mean_square(values: Tensor) -> float:
    return float(values.square().mean().sqrt())
