"""Detections of one file or frame, as JSON, COCO's format and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from darknet_builder.boxes.detections import CORNERS, Detections

CSV_COLUMNS = (
    "file",
    "frame",
    "image_width",
    "image_height",
    "class_id",
    "name",
    "score",
    *CORNERS,
)


# ---- files of results ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Record:
    """The objects of one image file, or of one frame of a video, counted from 0."""

    file: str
    detections: Detections
    frame: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Fit for JSON."""
        frame = {} if self.frame is None else {"frame": self.frame}
        return {"file": self.file, **frame, **self.detections.to_dict()}


def coco_document(records: Iterable[Record], names: Sequence[str]) -> dict[str, Any]:
    """COCO's annotation format: ``images``, ``annotations`` with ``score``, ``categories``.

    Boxes and categories are as in ``Detections.to_coco``; the ids of images and annotations begin
    at 1. The image of a video's frame says which by ``frame``.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, record in enumerate(records, 1):
        width, height = record.detections.image_size
        frame = {} if record.frame is None else {"frame": record.frame}
        images.append(
            {"id": image_id, "file_name": record.file, "width": width, "height": height, **frame}
        )
        annotations += record.detections.to_coco(image_id, first_id=len(annotations) + 1)
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": index, "name": name} for index, name in enumerate(names)],
    }


def csv_text(records: Iterable[Record]) -> str:
    """One line an object that is shown, under a header; boxes in pixels, cut off at the image's
    edges.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for record in records:
        frame = "" if record.frame is None else record.frame
        for class_id, name, score, box in record.detections.shown().clipped().rows():
            writer.writerow(
                [
                    record.file,
                    frame,
                    *record.detections.image_size,
                    class_id,
                    name,
                    f"{score:.5f}",
                    *(f"{value:.2f}" for value in box),
                ]
            )
    return text.getvalue()
