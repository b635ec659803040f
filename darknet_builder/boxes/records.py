"""Detections of several files or frames, as JSON, COCO's format and CSV."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from darknet_builder.boxes.conversion import CORNERS
from darknet_builder.boxes.detections import Detections
from darknet_builder.boxes.tracks import LineCounter

_FORMULA = ("=", "+", "-", "@", "\t")
"""First characters of a cell that spreadsheets run as a formula."""
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

COUNT_COLUMNS = ("file", "frame", "class_id", "name", "count")
LINE_COLUMNS = ("file", "line", "class_id", "name", "in", "out")


@dataclass(frozen=True)
class Record:
    """The objects of one image file, or of one frame of a video.

    Attributes:
        file: path of the image or video.
        detections: the objects found in it.
        frame: number of the frame, counted from 0; None for an image file.
        time: seconds since the beginning of the video or the stream; None for an image file.

    Example:
        >>> detections = Detections([[10, 20, 50, 80]], [0.5], [0], ("cat",), (100, 100))
        >>> Record("cat.jpg", detections).to_dict()["file"]
        'cat.jpg'
    """

    file: str
    detections: Detections
    frame: int | None = None
    time: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return values that JSON can hold."""
        place: dict[str, Any] = {}
        if self.frame is not None:
            place["frame"] = self.frame
        if self.time is not None:
            place["time"] = round(self.time, 3)
        return {"file": self.file, **place, **self.detections.to_dict()}


def json_document(records: Iterable[Record], not_readable: int = 0) -> dict[str, Any]:
    """Return the objects of several files or frames as values that JSON can hold.

    Classes named ``dont_show...`` are left out. Boxes may extend beyond the image.

    Args:
        records: the files and frames.
        not_readable: number of files that could not be read.

    Example:
        >>> detections = Detections([[10, 20, 50, 80]], [0.5], [0], ("cat",), (100, 100))
        >>> document = json_document([Record("cat.jpg", detections)])
        >>> document["images"][0]["detections"][0]["box_xyxy"]
        [10.0, 20.0, 50.0, 80.0]
    """
    shown = [replace(record, detections=record.detections.shown()) for record in records]
    return {"not_readable": not_readable, "images": [record.to_dict() for record in shown]}


def coco_document(records: Iterable[Record], names: Sequence[str]) -> dict[str, Any]:
    """Return COCO's annotation format: ``images``, ``annotations`` with ``score``, ``categories``.

    Boxes and categories are as in ``Detections.to_coco``; the ids of images and annotations begin
    at 1. An image that is a frame of a video has its number as ``frame``.

    Args:
        records: the files and frames.
        names: names of all classes.

    Example:
        >>> detections = Detections([[10, 20, 50, 80]], [0.5], [0], ("cat",), (100, 100))
        >>> coco_document([Record("cat.jpg", detections)], ["cat"])["annotations"][0]["bbox"]
        [10.0, 20.0, 40.0, 60.0]
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
    """Return a CSV table with a header and one line per shown object.

    Boxes are in pixels, cut off at the image's edges. If objects are tracked, the last column is
    ``track``, which is empty for an object without an identity. The name of a file or a class gets
    an apostrophe in front if it begins with ``=``, ``+``, ``-`` or ``@``, because spreadsheets
    would run it as a formula.

    Example:
        >>> detections = Detections([[10, 20, 50, 80]], [0.5], [0], ("cat",), (100, 100))
        >>> print(csv_text([Record("cat.jpg", detections)]), end="")
        file,frame,image_width,image_height,class_id,name,score,x1,y1,x2,y2
        cat.jpg,,100,100,0,cat,0.50000,10.00,20.00,50.00,80.00
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    records = list(records)
    is_tracked = any(record.detections.track_ids is not None for record in records)
    writer.writerow([*CSV_COLUMNS, *["track"] * is_tracked])
    for record in records:
        frame = "" if record.frame is None else record.frame
        image = [_cell(record.file), frame, *record.detections.image_size]
        inside = record.detections.shown().clipped()
        for (class_id, name, score, box), track in zip(inside.rows(), inside.tracks(), strict=True):
            corners = [f"{value:.2f}" for value in box]
            tracked = [track or ""] * is_tracked
            writer.writerow([*image, class_id, _cell(name), f"{score:.5f}", *corners, *tracked])
    return text.getvalue()


def counts_csv(records: Iterable[Record]) -> str:
    """Return a CSV table with the number of shown objects of each image or frame and class.

    An image without objects has one line without a class, whose count is 0. Names are written as in
    ``csv_text``.

    Example:
        >>> boxes = [[10, 20, 50, 80], [0, 0, 30, 30]]
        >>> detections = Detections(boxes, [0.5, 0.4], [0, 0], ("cat",), (100, 100))
        >>> print(counts_csv([Record("cat.jpg", detections)]), end="")
        file,frame,class_id,name,count
        cat.jpg,,0,cat,2
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COUNT_COLUMNS)
    for record in records:
        shown = record.detections.shown()
        image = [_cell(record.file), "" if record.frame is None else record.frame]
        counts = sorted(Counter(shown.class_ids.tolist()).items())
        for class_id, count in counts:
            writer.writerow([*image, class_id, _cell(shown.names[class_id]), count])
        if not counts:
            writer.writerow([*image, "", "", 0])
    return text.getvalue()


def lines_csv(lines: Iterable[tuple[str, LineCounter]]) -> str:
    """Return a CSV table with the crossings of each video, line and class.

    A line that nothing has crossed has one row without a class, whose counts are 0. Names are
    written as in ``csv_text``.

    Args:
        lines: the path of the video and the counter of each of its lines.

    Example:
        >>> print(lines_csv([("a.mp4", LineCounter((0, 50, 100, 50)))]), end="")
        file,line,class_id,name,in,out
        a.mp4,"0,50,100,50",,,0,0
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(LINE_COLUMNS)
    for file, line in lines:
        place = [_cell(file), str(line)]
        rows = list(line.rows())
        for class_id, name, entered, left in rows:
            writer.writerow([*place, class_id, _cell(name), entered, left])
        if not rows:
            writer.writerow([*place, "", "", 0, 0])
    return text.getvalue()


def _cell(name: str) -> str:
    name = name.replace("\r", r"\u000d")  # the csv module writes it without quotation marks
    return f"'{name}" if name.startswith(_FORMULA) else name
