"""``darknet-builder detect``: photographs and videos in; pictures with boxes, COCO JSON, label files and CSV out."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import groupby, islice
from pathlib import Path
from typing import TextIO, cast

import numpy as np

from darknet_builder.arguments import add_batch, add_device, add_dialect, add_input_size
from darknet_builder.datasets import label_places
from darknet_builder.detection_report import DetectionReport
from darknet_builder.detections import Detections, Record, coco_document, csv_text
from darknet_builder.detector import Detector
from darknet_builder.drawing import draw_detections
from darknet_builder.errors import ImageError, InputError
from darknet_builder.files import write_text
from darknet_builder.images import RESIZE_MODES, load_opencv, open_video, write_image, write_video
from darknet_builder.inference import OptimizedNetwork, add_speed_options
from darknet_builder.model_files import is_model_file
from darknet_builder.output import check_page, refuse_overwriting
from darknet_builder.pipeline import Outcome, Unreadable, stream
from darknet_builder.processes import Crew, crew_of
from darknet_builder.progress import Progress
from darknet_builder.resources import default_model
from darknet_builder.sources import find_sources, is_video

HELP = "find objects in images, folders, globs and videos; draw them, save them as JSON, labels or CSV"
EXAMPLES = """\
SOURCE is an image, a video, a folder (its images and videos, without subfolders) or a quoted glob ('shots/**/*.jpg').

What is written into --output: the pictures under their own names (JPEG stays JPEG, all else becomes PNG, videos MP4
without sound); --save-json: detections.json; --save-csv: detections.csv; --save-txt: labels/NAME.txt, or
labels/NAME_FRAME.txt for each frame of a video. Two sources of one name become NAME and NAME-2. --report is a page for
a browser, with the pictures in it (of a video every 25th frame) and a slider for the threshold.

The exit status is 0, or 1 where a SOURCE could not be read (the others are done), or 2 for a mistake in the command.

examples:
  darknet-builder detect photo.jpg --cfg yolov4.cfg --weights yolov4.weights --names coco.names
  darknet-builder detect holiday/ --cfg my.cfg --weights my.weights --names my.names --save-json --save-csv
  darknet-builder detect holiday/ --threshold 0.1 --report holiday.html --no-images
  darknet-builder detect clip.mp4 --cfg my.cfg --weights my.weights --names my.names --device cuda --batch 8
"""
DEFAULT_CFG, DEFAULT_WEIGHTS, DEFAULT_NAMES = default_model()
_JPEG = (".jpg", ".jpeg", ".jpe")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("source", nargs="+", metavar="SOURCE", help="image, video, folder or quoted glob")
    model = parser.add_argument_group("model")
    model.add_argument("--cfg", metavar="FILE", help="the network (default: the bundled one); a .safetensors or .pt "
                       "file of 'export' brings its weights and names")
    model.add_argument("--weights", metavar="FILE", help="its weights (default: the bundled ones)")
    model.add_argument("--names", metavar="FILE", help="class names, one a line (default: class 0, class 1, ...)")
    add_input_size(model)
    add_dialect(model)
    add_device(model)
    add_batch(model)
    add_speed_options(model)
    rules = parser.add_argument_group("rules")
    rules.add_argument("--threshold", type=float, default=.25, metavar="P",
                       help="least probability of an object (default: %(default)s)")
    rules.add_argument("--nms", type=float, default=.45, metavar="P",
                       help="most overlap of two objects of a class; 1: any (default: %(default)s)")
    rules.add_argument("--resize", choices=RESIZE_MODES, help="how images are fitted (default: the cfg's way)")
    results = parser.add_argument_group("results")
    results.add_argument("--output", default="output", metavar="DIR", help="where to (default: %(default)s)")
    results.add_argument("--save-json", action="store_true", help="all objects in COCO's format")
    results.add_argument("--save-txt", action="store_true", help="a Darknet label file for each image")
    results.add_argument("--save-csv", action="store_true", help="all objects as a table")
    results.add_argument("--report", metavar="FILE", help="a page (.html): gallery, counts, threshold slider")
    results.add_argument("--no-images", action="store_true", help="draw no pictures and videos")
    results.add_argument("--quiet", action="store_true", help="no progress, no list and no summary: only mistakes")


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Detect in every source; returns 0, or 1 where some could not be read."""
    # Before OpenCV is loaded: what it would tell of a broken file is said here, in one line.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    load_opencv()
    outputs = _Outputs(Path(args.output), not args.no_images, args.save_txt, args.save_json, args.save_csv,
                       Path(args.report) if args.report else None)
    sources = find_sources(args.source)
    check_page(args.report, [*sources, args.cfg, args.weights, args.names])
    targets = outputs.plan(sources)
    with crew_of(args.device) as crew:
        detector = make_detector(args, crew.device)
        outputs.make_folders()
        share = crew.share(targets)
        with Progress(len(share), "image", quiet=args.quiet or not crew.leads, out=out) as progress:
            if isinstance(detector.runner, OptimizedNetwork) and detector.runner.decided:
                progress.say(f"the network runs on {detector.runner.describe()}")
            return _Job(detector, outputs, progress, args.threshold, crew).run(share)


def make_detector(args: argparse.Namespace, device: str) -> Detector:
    """The network that the options name, or the bundled one where they name none.

    Raises:
        InputError: saying which option to give.
    """
    cfg, weights, names = args.cfg, args.weights, args.names
    if cfg is None and weights is None and DEFAULT_CFG.exists() and DEFAULT_WEIGHTS.exists():
        cfg, weights, names = DEFAULT_CFG, DEFAULT_WEIGHTS, names or DEFAULT_NAMES
    if cfg is None:
        raise InputError("which network? give --cfg FILE, --weights FILE and, for the classes' names, --names FILE")
    if weights is None and not is_model_file(cfg):
        raise InputError(f"which weights? give --weights FILE that belongs to --cfg {cfg}")
    return Detector(cfg, weights, names, threshold=args.threshold, nms=args.nms, resize=args.resize, width=args.width,
                    height=args.height, dialect=args.dialect, device=device, batch=args.batch,
                    precision=args.precision, backend=args.backend)


# ---- what comes out -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Target:
    """A source, and the name without suffix that its results get."""

    source: Path
    stem: str

    @property
    def picture(self) -> str:
        """The file name of its annotated picture or video."""
        suffix = self.source.suffix.lower()
        return self.stem + (".mp4" if is_video(self.source) else suffix if suffix in _JPEG else ".png")


@dataclass(frozen=True)
class _Outputs:
    """What to write, and where."""

    folder: Path
    pictures: bool
    labels: bool
    coco: bool
    table: bool
    report: Path | None

    @property
    def any(self) -> bool:
        """Whether something is written at all."""
        return self.pictures or self.labels or self.coco or self.table

    @property
    def keeps_records(self) -> bool:
        """Whether all objects are needed at the end."""
        return self.coco or self.table

    def plan(self, sources: Sequence[Path]) -> list[_Target]:
        """A name for each source that no other has.

        Raises:
            InputError: where a picture would replace a source, or labels those that its source has already.
        """
        taken: set[str] = set()
        targets = []
        for source in sources:
            stem, number = source.stem, 1
            while stem.lower() in taken:  # file systems may not tell A from a
                number += 1
                stem = f"{source.stem}-{number}"
            taken.add(stem.lower())
            targets.append(_Target(source, stem))
        originals = {source.resolve() for source in sources}
        for target in targets if self.pictures else ():
            if (self.folder / target.picture).resolve() in originals:
                raise InputError(f"--output {self.folder}: {target.picture} there is a SOURCE and would be "
                                 "overwritten; choose another folder")
        for target in targets if self.labels else ():
            refuse_overwriting(self.folder / "labels" / f"{target.stem}.txt", label_places(target.source.resolve()),
                               f"it holds the labels of {target.source}; give another --output")
        return targets

    def make_folders(self) -> None:
        """Make them.

        Raises:
            InputError: where that cannot be done.
        """
        folders = [("--output", self.folder)] * self.any + [("--output", self.folder / "labels")] * self.labels
        folders += [("--report", self.report.parent)] if self.report else []
        for option, folder in folders:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(f"{option} {folder}: {error.strerror}") from None

    def save(self, target: _Target, image: np.ndarray, detections: Detections) -> None:
        """The picture and the labels of one image."""
        if self.pictures:
            write_image(self.folder / target.picture, draw_detections(image, detections))
        self.save_labels(target.stem, detections)

    def save_labels(self, stem: str, detections: Detections) -> None:
        """The labels of one image or frame; an empty file where there is nothing."""
        if self.labels:
            self._write(f"labels/{stem}.txt", detections.to_yolo())

    def save_records(self, records: Sequence[Record], names: Sequence[str]) -> None:
        """The files that hold all objects."""
        if self.coco:
            self._write("detections.json", json.dumps(coco_document(records, names), ensure_ascii=False) + "\n")
        if self.table:
            self._write("detections.csv", csv_text(records))

    def _write(self, name: str, text: str) -> None:
        try:
            write_text(self.folder / name, text)
        except OSError as error:
            raise InputError(f"{self.folder / name}: cannot be written: {error.strerror}") from None


# ---- the work -----------------------------------------------------------------------------------------


@dataclass
class _Tally:
    """What one source came to."""

    line: str = ""
    images: int = 0
    failures: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    records: list[Record] = field(default_factory=list)
    report: DetectionReport = field(default_factory=DetectionReport)


@dataclass
class _Job:
    """One run of the command, or one process's share of it."""

    detector: Detector
    outputs: _Outputs
    progress: Progress
    threshold: float
    crew: Crew
    tallies: list[_Tally] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)

    def run(self, targets: Sequence[_Target]) -> int:
        """Do all of it; one process alone also writes down what is done when Ctrl-C or an error ends it."""
        try:
            for videos, group in groupby(targets, lambda target: is_video(target.source)):
                if videos:
                    for target in group:
                        self._detect_video(target)
                else:
                    self._detect_images({target.source: target for target in group})
        except BaseException:
            if self.crew.world == 1:  # several would wait for each other
                self._finish()
            raise
        return self._finish()

    def _finish(self) -> int:
        """Bring all shares together, write what belongs to all, and say the summary."""
        tallies = self.crew.gather(self.tallies)
        if self.crew.leads:
            self.outputs.save_records([record for tally in tallies for record in tally.records], self.detector.names)
            if self.outputs.report:
                report = DetectionReport(threshold=self.threshold)
                for tally in tallies:
                    report.extend(tally.report)
                report.save(self.outputs.report)
            for tally in tallies if self.crew.world > 1 else ():
                if tally.line:
                    self.progress.say(tally.line)
            self.progress.say(self.summary(tallies))
        return 1 if any(tally.failures for tally in tallies) else 0

    def _tell(self, line: str) -> None:
        """What is in a source: at once, or in the right order when several processes are done."""
        self.tallies[-1].line = line
        if self.crew.world == 1:
            self.progress.say(line)

    def _skip(self, error: ImageError) -> None:
        """A file that cannot be read is told, counted and passed by."""
        self.tallies[-1].failures = 1
        self.progress.complain(f"skipped: {error}")
        self.progress.advance()

    def _detect_images(self, targets: Mapping[Path, _Target]) -> None:
        def save(outcome: Outcome) -> None:
            self.outputs.save(targets[cast(Path, outcome.source)], outcome.image, outcome.detections)

        for outcome in stream(self.detector, targets, save):
            self.tallies.append(_Tally())
            if isinstance(outcome, Unreadable):
                self._skip(outcome.error)
                continue
            self._record(Record(str(outcome.source), outcome.detections), outcome.image)
            self._tell(f"{outcome.source}: {_list(outcome.detections.counts()) or 'nothing'}")

    def _record(self, record: Record, image: np.ndarray) -> None:
        tally = self.tallies[-1]
        tally.images += 1
        tally.counts.update(record.detections.labels)
        if self.outputs.keeps_records:
            tally.records.append(record)
        if self.outputs.report:
            tally.report.add(record, image)
        self.progress.advance()

    def _detect_video(self, target: _Target) -> None:
        tally = _Tally()
        self.tallies.append(tally)
        try:
            interrupted = self._save_video(target)
        except ImageError as error:
            self._skip(error)
            return
        found = _list(dict(tally.counts.most_common()))
        self._tell(f"{target.source}: {_plural(tally.images, 'frame')}: {found or 'nothing'}")
        if interrupted:
            raise KeyboardInterrupt

    def _save_video(self, target: _Target) -> bool:
        """Returns whether Ctrl-C ended it: then what there is of the annotated video is closed in good order."""
        interrupted = False
        with open_video(target.source) as video:
            self.progress.grow(max(0, video.num_frames - 1))
            picture = self.outputs.folder / target.picture
            with write_video(picture, video.fps) if self.outputs.pictures else nullcontext() as append:
                try:
                    self._detect_frames(target, video.frames(), append)
                except KeyboardInterrupt:
                    interrupted = True
                if not self.tallies[-1].images:
                    raise KeyboardInterrupt if interrupted else ImageError(
                        f"{target.source}: has no frame that can be read")
        return interrupted

    def _detect_frames(self, target: _Target, frames: Iterator[np.ndarray],
                       append: Callable[[np.ndarray], None] | None) -> None:
        size = 1 if self.detector.has_memory else self.detector.batch
        number = 0
        for group in _groups(frames, size):
            for frame, found in zip(group, self.detector(group, keep_state=number > 0), strict=True):
                if append is not None:
                    append(draw_detections(frame, found))
                self.outputs.save_labels(f"{target.stem}_{number:06d}", found)
                self._record(Record(str(target.source), found, number), frame)
                number += 1

    def summary(self, tallies: Sequence[_Tally]) -> str:
        """``6 images, 14 objects: 9 horse, 5 dog; 12.3 images/s; 1 not readable; saved in output``."""
        seconds = max(time.perf_counter() - self.started, 1e-9)
        images, failures = sum(tally.images for tally in tallies), sum(tally.failures for tally in tallies)
        counts = sum((tally.counts for tally in tallies), Counter[str]())
        objects = counts.total()
        parts = [f"{_plural(images, 'image')}, {_plural(objects, 'object')}"
                 + (f": {_list(dict(counts.most_common()))}" if objects else ""),
                 f"{images / seconds:.1f} images/s"]
        if failures:
            parts.append(f"{failures} not readable")
        if self.outputs.any and images:
            parts.append(f"saved in {self.outputs.folder}")
        if self.outputs.report:
            parts.append(f"report: {self.outputs.report}")
        return "; ".join(parts)


def _groups(items: Iterable[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    """Up to ``size`` items at a time."""
    rest = iter(items)
    while group := list(islice(rest, size)):
        yield group


def _list(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _plural(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
