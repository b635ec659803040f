"""The totals of a detection run, without a command."""

from __future__ import annotations

from collections import Counter

from darknet_builder.cli.detection.result import DetectionResult, SourceResult


def test_summary() -> None:
    """Classes by number; sources that cannot be read do not count as images."""
    sources = [
        SourceResult(images=1, counts=Counter(dog=1)),
        SourceResult(failures=1),
        SourceResult(images=3, counts=Counter(horse=4, dog=1)),
    ]
    whole = DetectionResult(sources, 2.0)
    assert (
        whole.summary()
        == "4 images, 6 objects: 4 horse, 2 dog; 2.0 images/s; 1 source could not be read"
    )
    assert whole.to_dict() == {"not_readable": 1, "images": []}


def test_nothing_was_found() -> None:
    """One image is singular."""
    assert (
        DetectionResult([SourceResult(images=1)], 4.0).summary()
        == "1 image, 0 objects; 0.2 images/s"
    )
