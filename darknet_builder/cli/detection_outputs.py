"""The files that a detector's results become: names that no two share, and what is written when."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from darknet_builder.boxes.detections import Detections
from darknet_builder.boxes.drawing import draw_detections
from darknet_builder.boxes.records import Record, coco_document, csv_text
from darknet_builder.data.labels import label_places
from darknet_builder.errors import InputError
from darknet_builder.images.files import write_image
from darknet_builder.images.sources import is_video
from darknet_builder.support.files import refuse_overwriting, write_text, writing

_JPEG = (".jpg", ".jpeg", ".jpe")


@dataclass(frozen=True)
class Target:
    """A source, and the name without suffix that its results get."""

    source: Path
    stem: str

    @property
    def picture(self) -> str:
        """The file name of its annotated picture or video."""
        suffix = self.source.suffix.lower()
        return self.stem + (
            ".mp4" if is_video(self.source) else suffix if suffix in _JPEG else ".png"
        )


@dataclass(frozen=True)
class Outputs:
    """What to write, and where.

    Attributes:
        folder: ``--output``.
        pictures: annotated pictures and videos.
        labels: a Darknet label file for each image.
        coco: all objects in COCO's format.
        table: all objects as CSV.
        report: the page, where there is one.
        json: ``--json``: a file, ``STDOUT`` or None.
    """

    folder: Path
    pictures: bool
    labels: bool
    coco: bool
    table: bool
    report: Path | None = None
    json: str | None = None

    @property
    def any(self) -> bool:
        """Whether something is written into the folder at all."""
        return self.pictures or self.labels or self.coco or self.table

    @property
    def keeps_records(self) -> bool:
        """Whether all objects are needed at the end."""
        return self.coco or self.table or self.json is not None

    def plan(self, sources: Sequence[Path]) -> list[Target]:
        """A name for each source that no other has.

        Raises:
            InputError: where a picture would replace a source, or labels those that its source has
                already.
        """
        taken: set[str] = set()
        targets = []
        for source in sources:
            stem, number = source.stem, 1
            while stem.lower() in taken:  # file systems may not tell A from a
                number += 1
                stem = f"{source.stem}-{number}"
            taken.add(stem.lower())
            targets.append(Target(source, stem))
        originals = {source.resolve() for source in sources}
        for target in targets if self.pictures else ():
            if (self.folder / target.picture).resolve() in originals:
                raise InputError(
                    f"--output {self.folder}: {target.picture} there is a SOURCE and would be "
                    "overwritten; choose another folder"
                )
        for target in targets if self.labels else ():
            refuse_overwriting(
                self.folder / "labels" / f"{target.stem}.txt",
                label_places(target.source.resolve()),
                f"it holds the labels of {target.source}; give another --output",
            )
        return targets

    def places(self, images: int) -> list[str]:
        """Return where the files are, for the summary of a number of images."""
        saved = [f"saved in {self.folder}"] if self.any and images else []
        return [*saved, *([f"report: {self.report}"] if self.report else [])]

    def make_folders(self) -> None:
        """Make them.

        Raises:
            InputError: where that cannot be done.
        """
        folders = [("--output", self.folder)] * self.any + [
            ("--output", self.folder / "labels")
        ] * self.labels
        folders += [("--report", self.report.parent)] if self.report else []
        for option, folder in folders:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(f"{option} {folder}: {error.strerror}") from None

    def save(self, target: Target, image: np.ndarray, detections: Detections) -> None:
        """The picture and the labels of one image."""
        if self.pictures:
            write_image(self.folder / target.picture, draw_detections(image, detections))
        self.save_labels(target.stem, detections)

    def save_labels(self, stem: str, detections: Detections) -> None:
        """The labels of one image or frame; an empty file where there is nothing."""
        if self.labels:
            self._write(f"labels/{stem}.txt", detections.to_yolo())

    def record_writers(
        self, records: Sequence[Record], names: Sequence[str]
    ) -> Iterator[Callable[[], None]]:
        """Yield a function for each file that holds all objects; it writes the file."""
        if self.coco:
            text = json.dumps(coco_document(records, names), ensure_ascii=False)
            yield partial(self._write, "detections.json", text + "\n")
        if self.table:
            yield partial(self._write, "detections.csv", csv_text(records))

    def _write(self, name: str, text: str) -> None:
        with writing(self.folder / name):
            write_text(self.folder / name, text)
