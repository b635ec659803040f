"""Whether an ONNX file is sound, and answers as the network does: ONNX's checker, then onnxruntime
beside PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from darknet_builder.errors import ExportError

ABSOLUTE, RELATIVE, OF_NORM = 1e-5, 1e-4, 1e-3
"""A value may be off by ABSOLUTE + RELATIVE * itself + OF_NORM * the root mean square of its
tensor: what sums of float32 in another order come to in most networks."""


OF_OWN, OF_VALUES = 3.0, 1e-2
"""Deep networks with random weights magnify rounding beyond that. There float64 decides: the root
mean square of what the file is off from it may be OF_OWN times what PyTorch's own float32 is off,
which must be at most OF_VALUES of the values' own."""


@dataclass(frozen=True)
class Comparison:
    """How far two programs are apart on one input.

    Attributes:
        what: the input.
        difference: the largest between two values.
        largest: value, to judge it by.
        boxes: how many are left after suppression; None where there is none.
        own: how far PyTorch's own float32 is from float64, where that had to decide; None
            elsewhere.
    """

    what: str
    difference: float
    largest: float
    boxes: int | None = None
    own: float | None = None


@dataclass(frozen=True)
class Precise:
    """What decides where two programs are further apart than usual.

    Attributes:
        exact: PyTorch's outputs in float64.
        rounded: more of PyTorch's outputs in float32, for inputs that differ by a rounding: how far
            they are off depends on chance, and the furthest counts.
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
    """Hold the outputs of two programs against each other.

    Args:
        what: the input.
        wanted: PyTorch's outputs.
        found: the file's.
        names: of the outputs.
        decide: gives what decides where the two are further apart than usual; it is called only
            then. Without it that is an error.
        of_own: how many times further off than PyTorch's own float32 the file may be there.

    Raises:
        ExportError: naming the output that is further off than float32 explains.
    """
    difference = largest = 0.0
    own: float | None = None
    precise: Precise | None = None
    for place, (name, tensor, other) in enumerate(zip(names, wanted, found, strict=True)):
        pair = _Pair.of(f"{what}: {name}", tensor, other)
        if not pair.ours.numel():
            continue
        difference, largest = max(difference, pair.difference), max(largest, pair.largest)
        if pair.is_close():
            continue
        if decide is None:
            raise ExportError(pair.text())
        precise = precise or decide()
        rounded = [pair.ours, *(answer[place].double() for answer in precise.rounded)]
        own = max(
            own or 0.0,
            _own_rounding(pair.text(), rounded, pair.theirs, precise.exact[place], of_own),
        )
    return Comparison(what, difference, largest, own=own)


@dataclass(frozen=True)
class _Pair:
    """One output of both programs in float64.

    Attributes:
        label: the input and the output, for people.
        ours: PyTorch's, of any shape.
        theirs: the file's, of the same shape.
    """

    label: str
    ours: Tensor
    theirs: Tensor

    @classmethod
    def of(cls, label: str, ours: Tensor, theirs: np.ndarray | Tensor) -> _Pair:
        """Convert both to float64.

        Raises:
            ExportError: when their shapes differ.
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
        """The distance of each value; 0 where both are the same infinity."""
        return torch.where(self.ours == self.theirs, 0.0, (self.ours - self.theirs).abs())

    @property
    def difference(self) -> float:
        """The largest distance."""
        return float(self.apart.max())

    @property
    def largest(self) -> float:
        """The largest absolute value of PyTorch's."""
        return float(self.ours.abs().max())

    def is_close(self) -> bool:
        """Return whether float32 sums in another order explain every distance."""
        ours = self.ours
        size = (
            ours[ours.isfinite()].square().mean().sqrt().nan_to_num()
        )  # 0 where nothing is finite
        bound = ABSOLUTE + RELATIVE * torch.where(ours.isfinite(), ours.abs(), 0.0) + OF_NORM * size
        return bool((self.apart <= bound).all())

    def text(self) -> str:
        """Return the difference as an error says it."""
        return (
            f"{self.label} differs from PyTorch's by {self.difference:.3g} (values up to"
            f" {self.largest:.3g})"
        )


def _own_rounding(
    text: str, rounded: Sequence[Tensor], theirs: Tensor, exact: Tensor, of_own: float
) -> float:
    """How far PyTorch's float32 is from float64, where the file is not much further.

    Raises:
        ExportError: where it is, or where PyTorch's own float32 says little itself.
    """
    size, file_off = _root_mean_square(exact), _root_mean_square(theirs - exact)
    own_off = max(_root_mean_square(ours - exact) for ours in rounded)
    if not file_off <= of_own * own_off:  # nor where one of them is no number
        raise ExportError(
            f"{text}; from float64 it is {file_off:.2g} off in the mean, PyTorch's float32"
            f" {own_off:.2g}"
        )
    if not own_off <= OF_VALUES * size:
        raise ExportError(
            f"{text}; the network magnifies rounding so much that PyTorch's own float32 is"
            f" {own_off:.2g} off in the mean, of values of {size:.2g}: float32 cannot hold it"
        )
    return _furthest(rounded, exact)


def own_rounding(answers: Sequence[Tensor], precise: Precise) -> float:
    """How far PyTorch's float32 is from float64 at most, over all outputs.

    Args:
        answers: in float32.
        precise: see there.
    """
    rounded = [
        [answer.detach().double() for answer in each] for each in (answers, *precise.rounded)
    ]
    return max(
        _furthest([each[place] for each in rounded], exact)
        for place, exact in enumerate(precise.exact)
    )


def _furthest(rounded: Sequence[Tensor], exact: Tensor) -> float:
    return max(float((ours - exact).abs().max()) for ours in rounded)


def _root_mean_square(values: Tensor) -> float:
    return float(values.square().mean().sqrt())
