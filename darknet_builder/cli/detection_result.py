"""The result of a detector on many images and videos: its totals, its document and its summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from darknet_builder.boxes.records import Record
from darknet_builder.images.truncated import describe_truncated
from darknet_builder.pages.detections_page import DetectionReport
from darknet_builder.support.text import plural


@dataclass
class SourceResult:
    """The result on one image or video.

    Attributes:
        line: of text about it; empty if it could not be read.
        images: number of images or frames.
        failures: 1 if it could not be read, else 0.
        counts: number of objects by class name, without those that are not shown.
        records: the objects of each image or frame, if they are kept.
        report: the pictures for the page, if there is one.
    """

    line: str = ""
    images: int = 0
    failures: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    records: list[Record] = field(default_factory=list)
    report: DetectionReport = field(default_factory=DetectionReport)


@dataclass(frozen=True)
class DetectionResult:
    """The result on all sources.

    Attributes:
        sources: in their order.
        seconds: that all of them took together.
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

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, for JSON; the boxes are not cut off at the image's edges.

        ``dont_show`` classes are left out.
        """
        shown = [replace(record, detections=record.detections.shown()) for record in self.records]
        return {"not_readable": self.failures, "images": [record.to_dict() for record in shown]}

    def report(self, threshold: float) -> DetectionReport:
        """Return the page of all sources; its slider begins at ``threshold``."""
        report = DetectionReport(threshold=threshold)
        for source in self.sources:
            report.extend(source.report)
        return report

    def summary(self) -> str:
        """Return ``6 images, 14 objects: 9 horse, 5 dog; 12.3 images/s; 1 not readable``."""
        images, failures = self.images, self.failures
        counts = sum((source.counts for source in self.sources), Counter[str]())
        objects = counts.total()
        names = f": {list_counts(dict(counts.most_common()))}" if objects else ""
        parts = [
            f"{images} {plural(images, 'image')}, {objects} {plural(objects, 'object')}{names}",
            f"{images / max(self.seconds, 1e-9):.1f} images/s",
        ]
        if self.truncated:
            parts.append(describe_truncated(self.truncated))
        if failures:
            parts.append(f"{failures} not readable")
        return "; ".join(parts)


def list_counts(counts: Mapping[str, int]) -> str:
    """Return ``9 horse, 5 dog``."""
    return ", ".join(f"{count} {name}" for name, count in counts.items())
