"""Run a detector over images and videos, and write results as soon as they are complete."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import count, groupby
from pathlib import Path
from typing import Any, TextIO, cast

import numpy as np

from darknet_builder.boxes.drawing import draw_detections
from darknet_builder.boxes.records import Record
from darknet_builder.cli.arguments import IMAGE_OPTIONS
from darknet_builder.cli.detection_outputs import Outputs, Target
from darknet_builder.cli.detection_result import (
    NOTHING_FOUND,
    DetectionResult,
    SourceResult,
    list_counts,
)
from darknet_builder.cli.heatmap import HeatmapOutput
from darknet_builder.cli.output import STDOUT, attempt_all, write_json
from darknet_builder.cli.progress import Progress
from darknet_builder.errors import DarknetError, ImageError
from darknet_builder.images.sources import is_video
from darknet_builder.images.truncated import noting_truncated
from darknet_builder.images.video import Video, open_video, write_video
from darknet_builder.prediction.detector import Detector
from darknet_builder.prediction.pipeline import Outcome, Unreadable, frames_ahead, stream
from darknet_builder.support.distributed import ProcessGroup
from darknet_builder.support.text import one_line, plural


@dataclass
class DetectionJob:
    """One run of the detector over sources, or one process's share of it.

    Attributes:
        detector: its threshold is also the initial one of the HTML page.
        outputs: the files to write.
        progress: shows lines, complaints and the progress bar.
        group: the processes that share the work.
        out: stream for the JSON document if it goes to ``STDOUT``.
        options: entries for the beginning of the JSON document.
        heatmaps: draws where the scores came from; None for no such pictures.
        results: results of this process, one for each source so far.
        started: start time in seconds of ``time.perf_counter``.
        truncated: paths of images of this process whose file ends too early.
    """

    detector: Detector
    outputs: Outputs
    progress: Progress
    group: ProcessGroup
    out: TextIO
    options: Mapping[str, Any]
    heatmaps: HeatmapOutput | None = None
    results: list[SourceResult] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)
    truncated: set[str] = field(default_factory=set)

    def run(self, targets: Sequence[Target]) -> int:
        """Detect objects in all sources.

        If Ctrl-C or an error stops a single process, the results so far are written.

        Args:
            targets: the sources of this process.

        Returns:
            The exit status: 1 if a source could not be read, else 0.
        """
        with noting_truncated() as self.truncated:
            return self._run(targets)

    def _run(self, targets: Sequence[Target]) -> int:
        try:
            for videos, group in groupby(targets, lambda target: is_video(target.source)):
                if videos:
                    for target in group:
                        self._detect_video(target)
                else:
                    self._detect_images({target.source: target for target in group})
        except BaseException as reason:
            # Several processes would wait for each other. Without a finished image there is nothing
            # to write, and the files of an earlier run stay.
            if self.group.world_size == 1 and any(result.images for result in self.results):
                try:
                    self._finish()
                except DarknetError as error:
                    if str(error) != str(reason):
                        self.progress.complain(str(error))
            raise
        return self._finish()

    def _finish(self) -> int:
        """Gather the results of all processes, write the combined files and show the summary."""
        whole = DetectionResult(
            self.group.gather(self.results),
            time.perf_counter() - self.started,
            sum(self.group.gather([len(self.truncated)])),
        )
        if self.group.is_main:
            attempt_all(self._writers(whole), self.progress.complain)
        return 1 if whole.failures else 0

    def _writers(self, whole: DetectionResult) -> Iterator[Callable[[], None]]:
        """Yield a function for each file that holds all results, and one for the summary.

        If no image could be read, the files of an earlier run stay as they are.
        """
        if whole.images:
            yield from self.outputs.record_writers(whole.records, self.detector.names)
        if whole.images or self.outputs.json == STDOUT:
            document = {**self.options, **whole.to_dict()}
            yield partial(write_json, self.outputs.json, document, self.out)
        if whole.images and self.outputs.report:
            page = whole.report(self.detector.threshold)
            yield partial(page.save, self.outputs.report)
        yield partial(self._summarize, whole)

    def _summarize(self, whole: DetectionResult) -> None:
        for source in whole.sources if self.group.world_size > 1 else ():
            if source.line:
                self.progress.say(source.line)
        self.progress.say("; ".join([whole.summary(), *self.outputs.locations(whole.images)]))

    def _tell(self, line: str) -> None:
        """Show the line of a source: at once, or with several processes at the end, in order."""
        self.results[-1].line = line
        if self.group.world_size == 1:
            self.progress.say(line)

    def _skip(self, error: ImageError) -> None:
        """Report and count a file that cannot be read, and continue."""
        self.results[-1].failures = 1
        self.progress.complain(f"skipped: {error.describe(IMAGE_OPTIONS.get)}")
        self.progress.advance()

    def _detect_images(self, targets: Mapping[Path, Target]) -> None:
        def save(outcome: Outcome) -> None:
            target = targets[cast(Path, outcome.source)]
            self.outputs.save(target, outcome.image, outcome.detections)
            if self.heatmaps is not None:
                self.heatmaps.save(target, outcome.image, outcome.detections)

        with closing(stream(self.detector, targets, save)) as outcomes:
            for outcome in outcomes:
                self.results.append(SourceResult())
                if isinstance(outcome, Unreadable):
                    self._skip(outcome.error)
                    continue
                source = str(outcome.source)
                self._record(Record(source, outcome.detections), outcome.image)
                self._tell(
                    f"{one_line(source)}:"
                    f" {list_counts(outcome.detections.shown().counts()) or NOTHING_FOUND}"
                )

    def _record(self, record: Record, image: np.ndarray) -> None:
        result = self.results[-1]
        result.images += 1
        result.counts.update(record.detections.shown().labels)
        if self.outputs.keeps_records:
            result.records.append(record)
        if self.outputs.report:
            result.report.add(record, image)
        self.progress.advance()

    def _detect_video(self, target: Target) -> None:
        result = SourceResult()
        self.results.append(result)
        try:
            interrupted = self._save_video(target)
        except ImageError as error:
            self._skip(error)
            return
        found = list_counts(dict(result.counts.most_common()))
        self._tell(
            f"{one_line(target.source)}: {result.images} {plural(result.images, 'frame')}:"
            f" {found or NOTHING_FOUND}"
        )
        if interrupted:
            raise KeyboardInterrupt

    def _save_video(self, target: Target) -> bool:
        """Write the annotated video and return whether Ctrl-C stopped it.

        If it did, the video is complete up to that frame.
        """
        interrupted = False
        with open_video(target.source) as video:
            self.progress.grow(max(0, video.num_frames - 1))
            picture = self.outputs.folder / target.picture
            with (
                write_video(picture, video.fps) if self.outputs.pictures else nullcontext()
            ) as append:
                try:
                    self._detect_frames(target, video, append)
                except KeyboardInterrupt:
                    interrupted = True
                if not self.results[-1].images:
                    raise (
                        KeyboardInterrupt
                        if interrupted
                        else ImageError(f"{target.source}: no frame can be read")
                    )
        return interrupted

    def _detect_frames(
        self, target: Target, video: Video, append: Callable[[np.ndarray], None] | None
    ) -> None:
        numbers = count()

        def save(outcome: Outcome) -> None:
            if append is not None:
                append(draw_detections(outcome.image, outcome.detections))
            self.outputs.save_labels(f"{target.stem}_{next(numbers):06d}", outcome.detections)

        with closing(self._find_in_frames(video, save)) as outcomes:
            for number, outcome in enumerate(outcomes):
                self._record(Record(str(target.source), outcome.detections, number), outcome.image)

    def _find_in_frames(
        self, video: Video, save: Callable[[Outcome], None]
    ) -> Generator[Outcome, None, None]:
        """Yield the outcome of each frame, in order.

        Decoding, the network and ``save`` overlap, except for networks that keep state from frame
        to frame.
        """
        detector = self.detector
        with closing(frames_ahead(video.frames(), detector.batch)) as frames:
            if detector.has_memory:
                for number, frame in enumerate(frames):
                    outcome = Outcome(frame, frame, detector(frame, keep_state=number > 0))
                    save(outcome)
                    yield outcome
                return
            with closing(stream(detector, frames, save, expected=video.num_frames)) as outcomes:
                # Frames are already decoded, so none can be ``Unreadable``.
                yield from cast(Iterator[Outcome], outcomes)
