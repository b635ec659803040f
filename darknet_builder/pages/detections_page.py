"""What a detector found, as one page for a browser: a gallery, counts of each class, a threshold to
play with.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np

from darknet_builder.boxes.drawing import class_color
from darknet_builder.boxes.records import Record
from darknet_builder.images.files import check_image
from darknet_builder.images.opencv import load_opencv
from darknet_builder.pages.templates import fill, html_text, read_part, theme_css
from darknet_builder.support.files import write_text, writing

FRAME_STEP = 25
"""Of a video, every how manyth frame is shown: about one a second."""
_LARGEST, _QUALITY = 960, 82
"""Pixels of the longer side of a picture in the page, and of JPEG's 100."""


class DetectionReport:
    """Collects pictures and their objects, and becomes one HTML file that loads nothing.

    The pictures are scaled down and kept as JPEG; the boxes lie over them as SVG, so that they can
    be hidden.

    Args:
        title: of the page.
        threshold: what the objects are likelier than: where the page's slider begins.
    """

    def __init__(self, title: str = "Detections", *, threshold: float = 0.0) -> None:
        self.title = title
        self.threshold = threshold
        self._figures: list[str] = []
        self._classes: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._figures)

    def add(self, record: Record, image: np.ndarray) -> None:
        """Show one more image; of a video only the frames whose number ``FRAME_STEP`` divides.

        Args:
            record: its file and its objects.
            image: (H, W, 3) uint8, blue, green, red.

        Raises:
            InputError: for what is no image.
        """
        if record.frame is not None and record.frame % FRAME_STEP:
            return
        record = replace(record, detections=record.detections.shown())
        source = _data_uri(load_opencv(), check_image(image))
        self._classes.update((class_id, name) for class_id, name, _, _ in record.detections.rows())
        self._figures.append(_figure(record, source))

    def extend(self, other: DetectionReport) -> None:
        """Show what another report shows, after what is here already."""
        self._figures.extend(other._figures)
        self._classes.update(other._classes)

    def html(self) -> str:
        """The page."""
        style = "\n".join(
            [theme_css(), read_part("base.css"), read_part("report.css"), self._colors()]
        )
        chips = "".join(_chip(class_id, name) for class_id, name in sorted(self._classes.items()))
        return fill(
            "report.html",
            title=html_text(self.title),
            style=style,
            classes=chips,
            threshold=f"{self.threshold:g}",
            figures="\n".join(self._figures),
            script=read_part("report.js"),
        )

    def save(self, path: str | Path) -> None:
        """Write the page: the whole file, or nothing.

        Raises:
            InputError: when it cannot be written.
        """
        with writing(path):
            write_text(path, self.html())

    def _colors(self) -> str:
        rules = []
        for class_id in sorted(self._classes):
            blue, green, red = class_color(class_id)
            ink = "#000" if 0.114 * blue + 0.587 * green + 0.299 * red > 140 else "#fff"
            rules.append(f".class-{class_id}{{--color:rgb({red} {green} {blue});--on:{ink}}}")
        return "\n".join(rules)


def _data_uri(cv2: ModuleType, image: np.ndarray) -> str:
    """The picture as JPEG within an address, scaled down where it is large."""
    scale = _LARGEST / max(image.shape[:2])
    if scale < 1:
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")


def _figure(record: Record, source: str) -> str:
    """One picture; the best objects come last, on top."""
    width, height = record.detections.image_size
    name = Path(record.file).name + ("" if record.frame is None else f", frame {record.frame}")
    boxes = "".join(_box(*row) for row in reversed(list(record.detections.clipped().rows())))
    return (
        f'<figure style="--ratio:{width / height:.4f}"><div class="picture"'
        f' style="aspect-ratio:{width}/{height}"><img src="{source}" alt="{html_text(name)}"'
        f' loading="lazy"><svg viewBox="0 0 {width} {height}">{boxes}</svg></div><figcaption><b'
        f' title="{html_text(record.file)}">{html_text(name)}</b>'
        " <span></span></figcaption></figure>"
    )


def _box(class_id: int, name: str, score: float, box: list[float]) -> str:
    left, top, right, bottom = box
    label = f"{name} {score:.0%}"
    return (
        f'<g class="box class-{class_id}" data-class="{class_id}"'
        f' data-score="{score:.5f}"><title>{html_text(label)}</title><rect class="edge"'
        f' x="{left:.2f}" y="{top:.2f}" width="{right - left:.2f}"'
        f' height="{bottom - top:.2f}"/><rect class="plate"/><text x="{left:.2f}"'
        f' y="{top:.2f}">{html_text(label)}</text></g>'
    )


def _chip(class_id: int, name: str) -> str:
    return (
        f'<button class="chip class-{class_id}" data-class="{class_id}" aria-pressed="true">'
        f"<i></i><span>{html_text(name)}</span><b></b></button>"
    )
