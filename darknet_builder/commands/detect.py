"""``darknet-builder detect``: photographs and videos in; pictures with boxes, COCO JSON, label files and CSV out."""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from itertools import count, groupby
from pathlib import Path
from typing import Any, TextIO, cast

import numpy as np

from darknet_builder.arguments import add_batch, add_device, add_dialect, add_input_size, add_json
from darknet_builder.detection_files import Outputs, Target
from darknet_builder.detection_report import DetectionReport
from darknet_builder.detections import Record
from darknet_builder.detector import Detector
from darknet_builder.drawing import draw_detections
from darknet_builder.errors import ImageError, InputError
from darknet_builder.images import RESIZE_MODES, Video, load_opencv, open_video, write_video
from darknet_builder.inference import add_speed_options
from darknet_builder.model_arguments import check_weights, describe_choice
from darknet_builder.output import STDOUT, check_folder, check_page, write_json
from darknet_builder.pipeline import Outcome, Unreadable, frames_ahead, stream
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
  darknet-builder detect photo.jpg --no-images --json
  darknet-builder detect holiday/ --threshold 0.1 --report holiday.html --no-images
  darknet-builder detect clip.mp4 --cfg my.cfg --weights my.weights --names my.names --device cuda --batch 8
"""
DEFAULT_CFG, DEFAULT_WEIGHTS, DEFAULT_NAMES = default_model()


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
    add_json(results, "all objects, image by image,")
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
    check_folder(args.json)
    outputs = Outputs(Path(args.output), not args.no_images, args.save_txt, args.save_json, args.save_csv,
                      Path(args.report) if args.report else None, args.json)
    sources = find_sources(args.source)
    check_page(args.report, [*sources, args.cfg, args.weights, args.names])
    targets = outputs.plan(sources)
    with crew_of(args.device) as crew:
        detector = make_detector(args, crew.device)
        outputs.make_folders()
        share = crew.share(targets)
        quiet = args.quiet or args.json == STDOUT or not crew.leads
        with Progress(len(share), "image", quiet=quiet, out=out) as progress:
            if line := describe_choice(args, detector.runner):
                progress.say(line)
            return _Job(detector, outputs, progress, args, crew, out).run(share)


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
    check_weights(cfg, weights)
    return Detector(cfg, weights, names, threshold=args.threshold, nms=args.nms, resize=args.resize, width=args.width,
                    height=args.height, dialect=args.dialect, device=device, batch=args.batch,
                    precision=args.precision, backend=args.backend)


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
    outputs: Outputs
    progress: Progress
    args: argparse.Namespace
    crew: Crew
    out: TextIO
    tallies: list[_Tally] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)

    def run(self, targets: Sequence[Target]) -> int:
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
            records = [record for tally in tallies for record in tally.records]
            self.outputs.save_records(records, self.detector.names)
            write_json(self.outputs.json, self._document(records, tallies), self.out)
            if self.outputs.report:
                report = DetectionReport(threshold=self.args.threshold)
                for tally in tallies:
                    report.extend(tally.report)
                report.save(self.outputs.report)
            for tally in tallies if self.crew.world > 1 else ():
                if tally.line:
                    self.progress.say(tally.line)
            self.progress.say(self.summary(tallies))
        return 1 if any(tally.failures for tally in tallies) else 0

    def _document(self, records: Sequence[Record], tallies: Sequence[_Tally]) -> dict[str, Any]:
        """What ``--json`` says: boxes as the detector gives them, not cut off at the image's edges."""
        options = {name: getattr(self.args, name) for name in ("cfg", "weights", "threshold", "nms")}
        return {**options, "not_readable": sum(tally.failures for tally in tallies),
                "images": [record.to_dict() for record in records]}

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

    def _detect_images(self, targets: Mapping[Path, Target]) -> None:
        def save(outcome: Outcome) -> None:
            self.outputs.save(targets[cast(Path, outcome.source)], outcome.image, outcome.detections)

        with closing(stream(self.detector, targets, save)) as outcomes:
            for outcome in outcomes:
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

    def _detect_video(self, target: Target) -> None:
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

    def _save_video(self, target: Target) -> bool:
        """Returns whether Ctrl-C ended it: then what there is of the annotated video is closed in good order."""
        interrupted = False
        with open_video(target.source) as video:
            self.progress.grow(max(0, video.num_frames - 1))
            picture = self.outputs.folder / target.picture
            with write_video(picture, video.fps) if self.outputs.pictures else nullcontext() as append:
                try:
                    self._detect_frames(target, video, append)
                except KeyboardInterrupt:
                    interrupted = True
                if not self.tallies[-1].images:
                    raise KeyboardInterrupt if interrupted else ImageError(
                        f"{target.source}: has no frame that can be read")
        return interrupted

    def _detect_frames(self, target: Target, video: Video, append: Callable[[np.ndarray], None] | None) -> None:
        numbers = count()

        def save(outcome: Outcome) -> None:
            if append is not None:
                append(draw_detections(outcome.image, outcome.detections))
            self.outputs.save_labels(f"{target.stem}_{next(numbers):06d}", outcome.detections)

        with closing(self._find_in_frames(video, save)) as outcomes:
            for number, outcome in enumerate(outcomes):
                self._record(Record(str(target.source), outcome.detections, number), outcome.image)

    def _find_in_frames(self, video: Video, save: Callable[[Outcome], None]) -> Generator[Outcome, None, None]:
        """Overlapped, or one by one where the network remembers the frame before."""
        detector = self.detector
        with closing(frames_ahead(video.frames(), detector.batch)) as frames:
            if detector.has_memory:
                for number, frame in enumerate(frames):
                    outcome = Outcome(frame, frame, detector(frame, keep_state=number > 0))
                    save(outcome)
                    yield outcome
                return
            with closing(stream(detector, frames, save, expected=video.num_frames)) as outcomes:
                yield from cast(Iterator[Outcome], outcomes)  # a frame is no file that could be unreadable

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


def _list(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _plural(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
