"""Header of a ``.weights`` file, and the type that lists a layer's floats in it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

WeightLayout = list[tuple[str, Tensor]]
"""(name, tensor) of each run of floats, in the file's order. A name ends in the tensor's kind."""
NORM_KINDS = ("scale", "mean", "var")
"""The kinds that belong to a batch norm, apart from its bias."""


def tensor_kind(name: str) -> str:
    """Return the kind of a stored tensor: ``weight``, ``bias`` or one of ``NORM_KINDS``.

    Args:
        name: a name in a ``WeightLayout``; parts of a layer put their own name in front.

    Example:
        >>> tensor_kind("input.mean")
        'mean'
    """
    return name.rpartition(".")[2]


@dataclass(frozen=True)
class WeightsHeader:
    """The first 16 or 20 bytes of a ``.weights`` file (parser.c:2254).

    Attributes:
        major: major version of the format.
        minor: minor version of the format.
        revision: revision of the format.
        seen: number of images that the network was trained with.
    """

    major: int = 0
    minor: int = 2
    revision: int = 5
    seen: int = 0

    @property
    def transposed(self) -> bool:
        """Whether connected weights are stored as inputs x outputs (parser.c:2274)."""
        return self.major > 1000 or self.minor > 1000
