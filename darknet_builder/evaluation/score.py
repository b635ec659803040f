"""The result of a validation, and the metrics by which a network can be scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from darknet_builder.network.network import Network

METRICS = {"map": "mAP@0.5", "top1": "top-1"}
"""Titles of the metrics, by their keys in the log: mean average precision of a detector, accuracy
of a classifier."""


@dataclass(frozen=True)
class Score:
    """The score of a network on a validation list.

    Attributes:
        value: the number by which the best weights are chosen; higher is better.
        metric: its key in ``METRICS``.
        numbers: further numbers for the log, by name.

    Example:
        >>> Score(0.71, "top1", {"top5": 0.9}).numbers["top5"]
        0.9
    """

    value: float
    metric: str = "map"
    numbers: Mapping[str, float] = field(default_factory=dict)


Validate = Callable[[Network], Score]
"""Score a network that is in eval mode."""


def short_name(metric: str) -> str:
    """Return the name of a metric without details: ``mAP``, ``top-1``.

    Example:
        >>> short_name("map")
        'mAP'
    """
    return METRICS[metric].partition("@")[0]
