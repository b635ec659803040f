"""Save detections as an HTML gallery with counts for each class and a threshold slider."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from darknet_builder.boxes.drawing import class_color
from darknet_builder.boxes.records import Record
from darknet_builder.images.files import check_image, encode_jpeg
from darknet_builder.images.opencv import load_opencv
from darknet_builder.pages.templates import fill, html_text, read_part, theme_css
from darknet_builder.support.files import write_text, writing

FRAME_STEP = 25
"""A report shows every 25th frame of a video, which is about one frame a second."""
_MAX_SIDE, _QUALITY = 960, 82
"""Maximum length of a picture's longer side in pixels, and JPEG quality from 0 to 100."""


class DetectionReport:
    """Collect pictures with their detections, and save them as one HTML file.

    The file loads nothing else. Pictures are scaled down and embedded as JPEG. Boxes are drawn
    over them as SVG, so that the page can hide them.

    Args:
        title: heading of the page.
        threshold: the detector's minimum confidence, in [0, 1], where the page's slider begins.

    Example:
        >>> import numpy as np
        >>> from darknet_builder import Detections
        >>> report = DetectionReport("Walk", threshold=0.25)
        >>> box, names = np.array([[8.0, 8.0, 40.0, 32.0]]), ("dog",)
        >>> dog = Detections(box, np.array([0.9]), np.array([0]), names, (64, 48))
        >>> report.add(Record("walk.jpg", dog), np.zeros((48, 64, 3), np.uint8))
        >>> len(report), "dog 90%" in report.html()
        (1, True)
    """

    def __init__(self, title: str = "Detections", *, threshold: float = 0.0) -> None:
        self.title = title
        self.threshold = threshold
        self._figures: list[str] = []
        self._classes: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._figures)

    def add(self, record: Record, image: np.ndarray) -> None:
        """Add an image to the page; frames of a video are skipped except every 25th.

        Args:
            record: the file, the frame's number and the detections.
            image: (H, W, 3) uint8 in the order blue, green, red.

        Raises:
            InputError: if ``image`` is not such an array.
        """
        if record.frame is not None and record.frame % FRAME_STEP:
            return
        record = replace(record, detections=record.detections.shown())
        source = picture_uri(image)
        self._classes.update((class_id, name) for class_id, name, _, _ in record.detections.rows())
        self._figures.append(_figure(record, source))

    def extend(self, other: DetectionReport) -> None:
        """Append all pictures of another report."""
        self._figures.extend(other._figures)
        self._classes.update(other._classes)

    def html(self) -> str:
        """Return the page as text."""
        colors = class_css(sorted(self._classes))
        style = "\n".join([theme_css(), read_part("base.css"), read_part("report.css"), colors])
        chips = "".join(
            class_chip(class_id, name) for class_id, name in sorted(self._classes.items())
        )
        return fill(
            "report.html",
            title=html_text(self.title),
            style=style,
            classes=chips,
            threshold=f"{self.threshold:g}",
            figures="\n".join(self._figures),
            script=f"{read_part('labels.js')}\n{read_part('report.js')}",
        )

    def save(self, path: str | Path) -> None:
        """Write the page, completely or not at all.

        Raises:
            InputError: if the file cannot be written.
        """
        with writing(path):
            write_text(path, self.html())


def class_css(class_ids: Iterable[int]) -> str:
    """Return a CSS rule for each class: the colour of its boxes and of text on it.

    Example:
        >>> class_css([0])
        '.class-0{--color:rgb(230 25 75);--on:#fff}'
    """
    rules = []
    for class_id in class_ids:
        blue, green, red = class_color(class_id)
        # Black or white text, by the luma of the colour (ITU-R BT.601).
        ink = "#000" if 0.114 * blue + 0.587 * green + 0.299 * red > 140 else "#fff"
        rules.append(f".class-{class_id}{{--color:rgb({red} {green} {blue});--on:{ink}}}")
    return "\n".join(rules)


def picture_uri(image: np.ndarray, max_side: int = _MAX_SIDE) -> str:
    """Return a picture as a ``data:`` address with a JPEG, scaled down if it is large.

    Args:
        image: (H, W, 3) uint8 in the order blue, green, red.
        max_side: maximum length of the longer side in pixels.

    Raises:
        InputError: if ``image`` is not such an array.

    Example:
        >>> picture_uri(np.zeros((4, 6, 3), np.uint8))[:23]
        'data:image/jpeg;base64,'
    """
    cv2, image = load_opencv(), check_image(image)
    scale = max_side / max(image.shape[:2])
    if scale < 1:
        # OpenCV's size is (width, height), an array's shape (height, width, channels). INTER_AREA
        # averages all pixels, so that thin lines do not vanish.
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    data = encode_jpeg(image, _QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")


def _figure(record: Record, source: str) -> str:
    """Return the HTML of one picture with its boxes."""
    width, height = record.detections.image_size
    name = Path(record.file).name
    if record.frame is not None:
        name += f", frame {record.frame}"
    # SVG draws later elements on top, and detections are sorted by score: reverse them.
    inside = record.detections.clipped()
    rows = list(zip(inside.titles, inside.rows(), strict=True))
    boxes = "".join(_box(id_, title, score, box) for title, (id_, _, score, box) in reversed(rows))
    return (
        f'<figure style="--ratio:{width / height:.4f}"><div class="picture"'
        f' style="aspect-ratio:{width}/{height}"><img src="{source}" alt="{html_text(name)}"'
        f' loading="lazy"><svg viewBox="0 0 {width} {height}">{boxes}</svg></div><figcaption><b'
        f' title="{html_text(record.file)}">{html_text(name)}</b>'
        " <span></span></figcaption></figure>"
    )


def _box(class_id: int, title: str, score: float, box: list[float]) -> str:
    """Return the SVG of one box; ``report.js`` places its label."""
    left, top, right, bottom = box
    label = f"{title} {score:.0%}"
    return (
        f'<g class="box class-{class_id}" data-class="{class_id}"'
        f' data-score="{score:.5f}"><title>{html_text(label)}</title><rect class="edge"'
        f' x="{left:.2f}" y="{top:.2f}" width="{right - left:.2f}"'
        f' height="{bottom - top:.2f}"/><rect class="plate"/><text x="{left:.2f}"'
        f' y="{top:.2f}">{html_text(label)}</text></g>'
    )


def class_chip(class_id: int, name: str) -> str:
    """Return the HTML of the button that shows and hides a class."""
    return (
        f'<button class="chip class-{class_id}" data-class="{class_id}" aria-pressed="true">'
        f"<i></i><span>{html_text(name)}</span><b></b></button>"
    )
