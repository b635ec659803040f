"""The published accuracy of official detectors, to compare with what is measured here."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from darknet_builder.evaluation.coco.measure import CocoResult

_TABLE = "published.tsv"


@dataclass(frozen=True)
class PublishedAccuracy:
    """Published numbers of a model at one input size, on COCO.

    Attributes:
        name: name of the official weights.
        size: side of the input in pixels; None if the source does not state it.
        ap50: AP at IoU .5 in percent; None if it is not published.
        ap: mean AP over the IoU thresholds .5 to .95 in percent; None if it is not published.
        images: the images of COCO on which it was measured; empty if the source does not state it.
        trained_on: name of the list of training images if some of them are in val2017, or empty.
        note: what else the source says, or empty.

    Example:
        >>> accuracy = find_published("yolov4", (416, 416))
        >>> accuracy.ap, accuracy.images, accuracy.trained_on
        (41.2, 'test-dev', 'trainvalno5k')
    """

    name: str
    size: int | None
    ap50: float | None
    ap: float | None
    images: str
    trained_on: str
    note: str

    def to_dict(self) -> dict[str, Any]:
        """Return all values for JSON."""
        return dict(vars(self))

    def lines(self, here: CocoResult | None, source: str) -> list[str]:
        """Return a line "published / here", and a line about the training images if needed.

        Args:
            here: the numbers that were measured; None for none.
            source: name of the list or file of the images that were measured.

        Example:
            >>> find_published("yolov2-tiny", (416, 416)).lines(None, "5k")
            ['published: AP50 23.7 % (yolov2-tiny at 416 x 416, COCO test-dev)']
        """
        is_measured = here is not None and here.ap is not None
        parts = []
        for name in ("ap", "ap50"):
            if (value := getattr(self, name)) is not None:
                ours = f" / {100 * getattr(here, name):.1f}" if is_measured else ""
                parts.append(f"{name.upper()} {value:g}{ours} %")
        title = "published / here" if is_measured else "published"
        where = f"COCO {self.images}" if self.images else "COCO, on images that are not stated"
        against = f" / {source}" if is_measured else ""
        size = "" if self.size is None else f" at {self.size} x {self.size}"
        note = f", {self.note}" if self.note else ""
        line = f"{title}: {', '.join(parts)} ({self.name}{size}{note}, {where}{against})"
        return [line, *self._warning()]

    def _warning(self) -> list[str]:
        if not self.trained_on:
            return []
        return [
            f"{self.name} was trained on most images of val2017 ({self.trained_on}), so its AP on"
            " them is too high to compare"
        ]


@cache
def published_accuracies() -> Mapping[str, tuple[PublishedAccuracy, ...]]:
    """Return all published numbers by the name of the official weights.

    Example:
        >>> [accuracy.size for accuracy in published_accuracies()["yolov3"]]
        [320, 416, 608]
    """
    folder = resources.files("darknet_builder.evaluation")
    text = folder.joinpath(_TABLE).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    found: dict[str, tuple[PublishedAccuracy, ...]] = {}
    for row in csv.DictReader(lines, delimiter="\t"):
        accuracy = PublishedAccuracy(
            row["name"],
            int(row["size"]) if row["size"] else None,
            _percent(row["ap50"]),
            _percent(row["ap"]),
            row["images"],
            row["trained_on"],
            row["note"],
        )
        found[accuracy.name] = (*found.get(accuracy.name, ()), accuracy)
    return found


def find_published(name: str, size: tuple[int, int]) -> PublishedAccuracy | None:
    """Return the published numbers of a model at an input size, or None.

    Numbers whose source does not state a size are returned for every size.

    Args:
        name: name of the official weights.
        size: (width, height) of the network's input in pixels.

    Example:
        >>> find_published("yolov4", (320, 320)).ap
        38.0
        >>> find_published("yolov4", (320, 416)) is None
        True
    """
    for accuracy in published_accuracies().get(name, ()):
        if accuracy.size is None or size == (accuracy.size, accuracy.size):
            return accuracy
    return None


def _percent(text: str) -> float | None:
    return float(text) if text else None
