"""Output files of ``detect``: choose a name for each source and write the files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TextIO, cast

import numpy as np

from darknet_builder.boxes.detections import Detections
from darknet_builder.boxes.records import Record, coco_document, counts_csv, csv_text, lines_csv
from darknet_builder.boxes.regions import cut_objects
from darknet_builder.boxes.tracks import LineCounter
from darknet_builder.data.labels import label_places
from darknet_builder.errors import InputError
from darknet_builder.images.files import write_image
from darknet_builder.images.sources.finding import Source, is_video
from darknet_builder.images.sources.live import LiveSource
from darknet_builder.support.files import refuse_overwriting, write_text, writing

_JPEG = (".jpg", ".jpeg", ".jpe")


@dataclass(frozen=True)
class Target:
    """A source and the name of its output files.

    Attributes:
        source: the image, video or live source.
        stem: file name without suffix; no two sources have the same.
    """

    source: Source
    stem: str

    @property
    def picture(self) -> str:
        """Return the file name of the annotated picture or video."""
        return self.stem + (".mp4" if is_video(self.source) else self.image_suffix)

    @property
    def image_suffix(self) -> str:
        """Return the suffix of single images: JPEG for JPEG files and for frames, else PNG."""
        if isinstance(self.source, LiveSource) or is_video(self.source):
            return ".jpg"
        suffix = self.source.suffix.lower()
        return suffix if suffix in _JPEG else ".png"


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
        lines: whether to write the objects of each image or frame as a line of JSON at once.
        counts: whether to write the number of objects of each image and class, and the crossings
            of lines, as CSV.
        crops: folder for a picture of each object; None for none.
    """

    folder: Path
    pictures: bool
    labels: bool
    coco: bool
    table: bool
    report: Path | None = None
    json: str | None = None
    lines: bool = False
    counts: bool = False
    crops: Path | None = None

    @property
    def any(self) -> bool:
        """Return whether any file is written to the folder."""
        tables = self.coco or self.table or self.lines or self.counts
        return self.pictures or self.labels or tables

    @property
    def keeps_records(self) -> bool:
        """Return whether all objects must be kept until the end."""
        return self.coco or self.table or self.counts or self.json is not None

    def plan(self, sources: Sequence[Source]) -> list[Target]:
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
        originals = {source.resolve() for source in sources if isinstance(source, Path)}
        for target in targets if self.pictures else ():
            if (self.folder / target.picture).resolve() in originals:
                raise InputError(
                    f"--output {self.folder}: would overwrite the source"
                    f" {self.folder / target.picture}; choose another folder"
                )
        for target in targets if self.labels else ():
            if not isinstance(target.source, Path):
                continue
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
        crops = [f"objects cut out in {self.crops}"] if self.crops and images else []
        return [*saved, *crops, *([f"report: {self.report}"] if self.report else [])]

    def make_folders(self) -> None:
        """Create the folders of all files.

        Raises:
            InputError: if a folder cannot be created.
        """
        folders = [("--output", self.folder)] * self.any + [
            ("--output", self.folder / "labels")
        ] * self.labels
        folders += [("--save-crops", self.crops)] if self.crops else []
        folders += [("--report", self.report.parent)] if self.report else []
        for option, folder in folders:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(
                    f"{option} {folder}: the folder cannot be created: {error.strerror}"
                ) from None

    def save_picture(self, target: Target, picture: np.ndarray) -> None:
        """Write the annotated picture of one image."""
        write_image(self.folder / target.picture, picture)

    def save_objects(
        self, target: Target, stem: str, image: np.ndarray, detections: Detections
    ) -> None:
        """Write the labels and the crops of one image or frame; without objects, empty labels.

        Args:
            target: the image, or the video.
            stem: file name without suffix, with the number of a frame.
            image: the pixels as they were read.
            detections: the objects to write.
        """
        if self.labels:
            self._write(f"labels/{stem}.txt", detections.to_yolo())
        shown = detections.shown()
        for index, crop in cut_objects(image, shown) if self.crops else ():
            # A class name may have any character; a file name may not.
            name = re.sub(r"[^\w.-]+", "_", shown.labels[index])
            file = f"{stem}_{name}_{index}{target.image_suffix}"
            write_image(cast(Path, self.crops) / file, crop)

    def record_writers(
        self,
        records: Sequence[Record],
        names: Sequence[str],
        lines: Sequence[tuple[str, LineCounter]] = (),
    ) -> Iterator[Callable[[], None]]:
        """Yield a function for each file that holds all objects; it writes the file.

        Args:
            records: the objects of each image and frame.
            names: names of all classes.
            lines: the path of the video and the counter of each line.
        """
        if self.coco:
            text = json.dumps(coco_document(records, names), ensure_ascii=False)
            yield partial(self._write, "detections.json", text + "\n")
        if self.table:
            yield partial(self._write, "detections.csv", csv_text(records))
        if self.counts:
            yield partial(self._write, "counts.csv", counts_csv(records))
        if self.counts and lines:
            yield partial(self._write, "lines.csv", lines_csv(lines))

    def _write(self, name: str, text: str) -> None:
        with writing(self.folder / name):
            write_text(self.folder / name, text)


class RecordLines(AbstractContextManager["RecordLines"]):
    """A file with the objects of each image or frame as a line of JSON, complete at any time.

    It replaces an earlier file when the first line is written.

    Args:
        path: the file; None writes nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: TextIO | None = None

    def write(self, record: Record) -> None:
        """Add a line, without ``dont_show`` classes.

        Raises:
            InputError: if it cannot be written.
        """
        if self._path is None:
            return
        shown = replace(record, detections=record.detections.shown())
        line = json.dumps(shown.to_dict(), ensure_ascii=False)
        with writing(self._path):
            if self._file is None:
                self._file = self._path.open("w", encoding="utf-8", errors="backslashreplace")
            self._file.write(line + "\n")
            self._file.flush()

    def __exit__(self, *error: object) -> None:
        if self._file is not None and self._path is not None:
            with writing(self._path):
                self._file.close()
