"""Output files of ``detect``: choose a name for each source and write the files."""

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
    """A source and the name of its output files.

    Attributes:
        source: the image or video.
        stem: file name without suffix; no two sources have the same.
    """

    source: Path
    stem: str

    @property
    def picture(self) -> str:
        """Return the file name of the annotated picture or video."""
        suffix = self.source.suffix.lower()
        return self.stem + (
            ".mp4" if is_video(self.source) else suffix if suffix in _JPEG else ".png"
        )


@dataclass(frozen=True)
class Outputs:
    """The files to write, and their folder.

    Attributes:
        folder: the folder of ``--output``.
        pictures: whether to write annotated pictures and videos.
        labels: whether to write a Darknet label file for each image.
        coco: whether to write all objects in COCO's format.
        table: whether to write all objects as CSV.
        report: path of the HTML page; None for no page.
        json: path of the JSON document, ``STDOUT``, or None for no document.
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
        """Return whether any file is written to the folder."""
        return self.pictures or self.labels or self.coco or self.table

    @property
    def keeps_records(self) -> bool:
        """Return whether all objects must be kept until the end."""
        return self.coco or self.table or self.json is not None

    def plan(self, sources: Sequence[Path]) -> list[Target]:
        """Choose a name for each source that no other source has.

        Raises:
            InputError: if a picture would replace a source, or a label file the one that its source
                already has.
        """
        used: set[str] = set()
        targets = []
        for source in sources:
            stem, number = source.stem, 1
            while stem.lower() in used:  # some file systems ignore case
                number += 1
                stem = f"{source.stem}-{number}"
            used.add(stem.lower())
            targets.append(Target(source, stem))
        originals = {source.resolve() for source in sources}
        for target in targets if self.pictures else ():
            if (self.folder / target.picture).resolve() in originals:
                raise InputError(
                    f"--output {self.folder}: would overwrite the source"
                    f" {self.folder / target.picture}; choose another folder"
                )
        for target in targets if self.labels else ():
            refuse_overwriting(
                self.folder / "labels" / f"{target.stem}.txt",
                label_places(target.source.resolve()),
                f"it contains the labels of {target.source}; choose another --output folder",
            )
        return targets

    def locations(self, images: int) -> list[str]:
        """Return parts of the summary that tell where the files are.

        Args:
            images: number of images and frames that could be read.
        """
        saved = [f"saved in {self.folder}"] if self.any and images else []
        return [*saved, *([f"report: {self.report}"] if self.report else [])]

    def make_folders(self) -> None:
        """Create the folders of all files.

        Raises:
            InputError: if a folder cannot be created.
        """
        folders = [("--output", self.folder)] * self.any + [
            ("--output", self.folder / "labels")
        ] * self.labels
        folders += [("--report", self.report.parent)] if self.report else []
        for option, folder in folders:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(
                    f"{option} {folder}: the folder cannot be created: {error.strerror}"
                ) from None

    def save(self, target: Target, image: np.ndarray, detections: Detections) -> None:
        """Write the picture and the labels of one image."""
        if self.pictures:
            write_image(self.folder / target.picture, draw_detections(image, detections))
        self.save_labels(target.stem, detections)

    def save_labels(self, stem: str, detections: Detections) -> None:
        """Write the labels of one image or frame; without objects, an empty file."""
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
