"""Results of a detector on many images and videos: totals, JSON document and summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from darknet_builder.boxes.records import Record, json_document
from darknet_builder.boxes.tracks import DIRECTIONS, LineCounter
from darknet_builder.images.truncated import describe_truncated
from darknet_builder.pages.detections_page import DetectionReport
from darknet_builder.support.text import plural

NOTHING_FOUND = "no objects"
"""Shown instead of the counts of an image or video without detections."""


@dataclass
class SourceResult:
    """The result on one image or video.

    Attributes:
        line: line of text that describes it; empty if it could not be read.
        images: number of images or frames.
        failures: 1 if it could not be read, else 0.
        counts: number of objects by class name, without ``dont_show`` classes.
        records: the objects of each image or frame; empty if no output needs them.
        report: pictures for the HTML page; empty if none is written.
        num_tracks: number of identities; None if nobody tracks.
        lines: the path of the video and the counter of each line.
    """

    line: str = ""
    images: int = 0
    failures: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    records: list[Record] = field(default_factory=list)
    report: DetectionReport = field(default_factory=DetectionReport)
    num_tracks: int | None = None
    lines: list[tuple[str, LineCounter]] = field(default_factory=list)

    def describe_tracks(self) -> list[str]:
        """Return the number of identities and the crossings of each line as texts."""
        if self.num_tracks is None:
            return []
        identities = "1 identity" if self.num_tracks == 1 else f"{self.num_tracks} identities"
        return [identities, *list_crossings([line for _, line in self.lines])]


@dataclass(frozen=True)
class DetectionResult:
    """The result on all sources.

    Attributes:
        sources: one result for each source, in the order of the sources.
        seconds: elapsed time for all of them.
        truncated: number of images whose file ends too early.
    """

    sources: Sequence[SourceResult]
    seconds: float
    truncated: int = 0

    @property
    def images(self) -> int:
        """Number of images and frames."""
        return sum(source.images for source in self.sources)

    @property
    def failures(self) -> int:
        """Number of sources that could not be read."""
        return sum(source.failures for source in self.sources)

    @property
    def records(self) -> list[Record]:
        """The objects of every image and frame."""
        return [record for source in self.sources for record in source.records]

    @property
    def lines(self) -> list[tuple[str, LineCounter]]:
        """The path of the video and the counter of each line."""
        return [line for source in self.sources for line in source.lines]

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary that ``json.dumps`` accepts; see ``json_document``.

        With lines, it has the key ``lines``.
        """
        document = json_document(self.records, self.failures)
        if self.lines:
            document["lines"] = [
                {"file": file, "line": list(line.line), **_crossings(line)}
                for file, line in self.lines
            ]
        return document

    def report(self, threshold: float) -> DetectionReport:
        """Return the HTML page of all sources; its slider starts at ``threshold``."""
        report = DetectionReport(threshold=threshold)
        for source in self.sources:
            report.extend(source.report)
        return report

    def summary(self) -> str:
        """Return one line, such as ``2 images, 3 objects: 2 horse, 1 dog; 12.3 images/s``."""
        images, failures = self.images, self.failures
        counts = sum((source.counts for source in self.sources), Counter[str]())
        objects = counts.total()
        names = f": {list_counts(dict(counts.most_common()))}" if objects else ""
        parts = [
            f"{images} {plural(images, 'image')}, {objects} {plural(objects, 'object')}{names}",
            f"{images / max(self.seconds, 1e-9):.1f} images/s",
        ]
        parts += list_crossings([line for _, line in self.lines])
        if self.truncated:
            parts.append(describe_truncated(self.truncated))
        if failures:
            parts.append(f"{failures} {plural(failures, 'source')} could not be read")
        return "; ".join(parts)


def list_crossings(lines: Sequence[LineCounter]) -> list[str]:
    """Return a text for each line, such as ``line 0,240,640,240: in 2 dog, out nothing``.

    Counters of equal lines, in several videos, are added.
    """
    totals: dict[str, dict[str, Counter[str]]] = {}
    for line in lines:
        total = totals.setdefault(str(line), {direction: Counter() for direction in DIRECTIONS})
        for direction in DIRECTIONS:
            total[direction].update(line.counts(direction))
    return [
        f"line {line}: "
        + ", ".join(
            f"{direction} {list_counts(dict(counts.most_common())) or 'nothing'}"
            for direction, counts in total.items()
        )
        for line, total in totals.items()
    ]


def _crossings(line: LineCounter) -> dict[str, Any]:
    return {direction: line.counts(direction) for direction in DIRECTIONS}


def list_counts(counts: Mapping[str, int]) -> str:
    """Return counts by name as text, such as ``9 horse, 5 dog``."""
    return ", ".join(f"{count} {name}" for name, count in counts.items())
