"""Run a detector over images and videos, and write results as soon as they are complete."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, TextIO, TypeAlias, cast

import numpy as np

from darknet_builder.boxes.drawing import draw_detections
from darknet_builder.boxes.records import Record
from darknet_builder.cli.arguments import IMAGE_OPTIONS
from darknet_builder.cli.detection.heatmap import HeatmapOutput
from darknet_builder.cli.detection.outputs import Outputs, RecordLines, Target
from darknet_builder.cli.detection.result import (
    NOTHING_FOUND,
    DetectionResult,
    SourceResult,
    list_counts,
)
from darknet_builder.cli.detection.rules import DetectionRules, Tracking
from darknet_builder.cli.output import STDOUT, attempt_all, write_json
from darknet_builder.cli.progress import Progress
from darknet_builder.errors import DarknetError, ImageError
from darknet_builder.images.sources.finding import Source, is_video
from darknet_builder.images.sources.live import LiveSource
from darknet_builder.images.sources.web import WebImage
from darknet_builder.images.truncated import noting_truncated
from darknet_builder.images.video import Frame, Video, open_video, sample, write_video
from darknet_builder.images.window import Window
from darknet_builder.prediction.detector import Detector
from darknet_builder.prediction.pipeline import Outcome, Unreadable, frames_ahead, stream
from darknet_builder.support.distributed import ProcessGroup
from darknet_builder.support.text import one_line, plural

ImageSource: TypeAlias = Path | WebImage
"""A source that is one image."""


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
        rules: which frames to process, and which objects to keep and to hide.
        window: shows each picture; None shows nothing.
        heatmaps: draws where the scores came from; None for no such pictures.
        results: results of this process, one for each source so far.
        started: start time in seconds of ``time.perf_counter``.
        truncated: paths of images of this process whose file ends too early.
        lines: the file of ``--save-jsonl``.
        is_stopped: whether the user has closed the window.
    """

    detector: Detector
    outputs: Outputs
    progress: Progress
    group: ProcessGroup
    out: TextIO
    options: Mapping[str, Any]
    rules: DetectionRules = field(default_factory=DetectionRules)
    window: Window | None = None
    heatmaps: HeatmapOutput | None = None
    results: list[SourceResult] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)
    truncated: set[str] = field(default_factory=set)
    lines: RecordLines = field(init=False)
    is_stopped: bool = False

    def __post_init__(self) -> None:
        # Several processes cannot write to one file as they go.
        rank = f"-{self.group.rank}" if self.group.world_size > 1 else ""
        path = self.outputs.folder / f"detections{rank}.jsonl"
        self.lines = RecordLines(path if self.outputs.lines else None)

    def run(self, targets: Sequence[Target]) -> int:
        """Detect objects in all sources.

        If Ctrl-C or an error stops a single process, the results so far are written.

        Args:
            targets: the sources of this process.

        Returns:
            The exit status: 1 if a source could not be read, else 0.
        """
        with noting_truncated() as self.truncated, self.lines:
            try:
                return self._run(targets)
            finally:
                if self.window is not None:
                    self.window.close()

    def _run(self, targets: Sequence[Target]) -> int:
        try:
            for videos, group in groupby(targets, lambda target: is_video(target.source)):
                if self.is_stopped:
                    break
                if videos:
                    for target in group:
                        self._detect_video(target)
                else:
                    self._detect_images({cast(ImageSource, one.source): one for one in group})
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
            yield from self.outputs.record_writers(whole.records, self.detector.names, whole.lines)
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
        self.results[-1].failures, self.results[-1].lines = 1, []
        self.progress.complain(f"skipped: {error.describe(IMAGE_OPTIONS.get)}")
        self.progress.advance()

    def _detect_images(self, targets: Mapping[ImageSource, Target]) -> None:
        def save(outcome: Outcome) -> Outcome:
            target = targets[cast(ImageSource, outcome.source)]
            outcome = self._finish_image(outcome, target, target.stem)
            if self.outputs.pictures:
                self.outputs.save_picture(target, cast(np.ndarray, outcome.picture))
            return outcome

        with closing(stream(self.detector, targets, save)) as outcomes:
            for outcome in outcomes:
                self.results.append(SourceResult())
                if isinstance(outcome, Unreadable):
                    self._skip(outcome.error)
                    continue
                source = str(outcome.source)
                self._record(Record(source, outcome.detections), outcome)
                self._tell(
                    f"{one_line(source)}:"
                    f" {list_counts(outcome.detections.shown().counts()) or NOTHING_FOUND}"
                )
                if self.is_stopped:
                    return

    def _finish_image(
        self, outcome: Outcome, target: Target, stem: str, tracking: Tracking | None = None
    ) -> Outcome:
        """Select objects, write what each image has of its own, and draw if a picture is needed."""
        selected = self.rules.apply(outcome)
        if tracking is not None:
            selected = tracking.update(selected)
        self.outputs.save_objects(target, stem, outcome.image, selected.detections)
        if self.heatmaps is not None:
            self.heatmaps.save(target, outcome.image, selected)
        if not self.outputs.pictures and self.window is None:
            return selected
        below = selected.image if tracking is None else tracking.draw(selected.image)
        return replace(selected, picture=draw_detections(below, selected.detections))

    def _record(self, record: Record, outcome: Outcome) -> None:
        result = self.results[-1]
        shown = record.detections.shown()
        # First what takes time: Ctrl-C in it must not leave an image that is counted, but missing
        # in a file.
        self.lines.write(record)
        if self.outputs.report:
            result.report.add(record, outcome.image)
        if shown.track_ids is not None:
            result.num_tracks = int(shown.track_ids.max(initial=result.num_tracks or 0))
        if self.outputs.keeps_records:
            result.records.append(record)
        result.counts.update(shown.labels)
        result.images += 1
        self.progress.advance()
        if self.window is not None and outcome.picture is not None:
            goes_on = self.window.show(outcome.picture, wait=record.frame is None)
            self.is_stopped = self.is_stopped or not goes_on

    def _detect_video(self, target: Target) -> None:
        if self.is_stopped:
            return
        result = SourceResult()
        self.results.append(result)
        try:
            with self._open(target.source) as video:
                ending = self._save_video(target, video)
        except ImageError as error:
            self._skip(error)
            return
        found = list_counts(dict(result.counts.most_common()))
        dropped = f", {video.num_dropped} dropped" if isinstance(video, LiveSource) else ""
        self._tell(
            f"{one_line(str(target.source))}: {result.images} {plural(result.images, 'frame')}"
            f"{dropped}: {'; '.join([found or NOTHING_FOUND, *result.describe_tracks()])}"
        )
        if isinstance(ending, ImageError):
            result.failures = 1
            self.progress.complain(ending.describe(IMAGE_OPTIONS.get))
        elif ending is not None:
            raise ending

    def _open(self, source: Source) -> AbstractContextManager[Video | LiveSource]:
        return source if isinstance(source, LiveSource) else open_video(cast(Path, source))

    def _save_video(self, target: Target, video: Video | LiveSource) -> BaseException | None:
        """Write the annotated video and return what ended it too early: Ctrl-C or a lost stream.

        In both cases the video is complete up to that frame.
        """
        ending: BaseException | None = None
        self.progress.grow(max(0, self.rules.count_frames(video.num_frames) - 1))
        with ExitStack() as stack:
            append = None
            if self.outputs.pictures:
                picture = self.outputs.folder / target.picture
                append = stack.enter_context(write_video(picture, video.fps / self.rules.every))
            try:
                self._detect_frames(target, video, append)
            except (KeyboardInterrupt, ImageError) as error:
                ending = error
            if not self.results[-1].images:
                raise ending or ImageError("no frame can be read", path=str(target.source))
        return ending

    def _detect_frames(
        self,
        target: Target,
        video: Video | LiveSource,
        append: Callable[[np.ndarray], None] | None,
    ) -> None:
        last = -self.rules.every
        tracking = self._begin_tracking(target, video)

        def save(outcome: Outcome) -> Outcome:
            nonlocal last
            number = cast(Frame, outcome.source).number
            stem = f"{target.stem}_{number:06d}"
            outcome = self._finish_image(outcome, target, stem, tracking)
            # Frames that were dropped are replaced by this one, or the video would be too fast.
            if append is not None:
                for _ in range(max(1, (number - last) // self.rules.every)):
                    append(cast(np.ndarray, outcome.picture))
            last = number
            return outcome

        with closing(self._find_in_frames(video, save)) as outcomes:
            for outcome in outcomes:
                frame = cast(Frame, outcome.source)
                record = Record(str(target.source), outcome.detections, frame.number, frame.time)
                self._record(record, outcome)
                if self.is_stopped:
                    return

    def _begin_tracking(self, target: Target, video: Video | LiveSource) -> Tracking | None:
        if self.rules.tracks is None:
            return None
        source = str(target.source)
        # The tracker sees only the frames that are processed.
        tracking = self.rules.tracks.begin(video.fps / self.rules.every, source)
        self.results[-1].lines = [(source, line) for line in tracking.lines]
        return tracking

    def _find_in_frames(
        self, video: Video | LiveSource, save: Callable[[Outcome], Outcome]
    ) -> Generator[Outcome, None, None]:
        """Yield the outcome of each frame, in order.

        Decoding, the network and ``save`` overlap, except for networks that keep state from frame
        to frame, and for live sources: frames that wait for their turn would not be the newest.
        """
        detector, is_live = self.detector, isinstance(video, LiveSource)
        frames = sample(video.numbered(), self.rules.every, self.rules.most_frames)
        with closing(frames if is_live else frames_ahead(frames, detector.batch)) as ahead:
            if detector.has_memory or is_live:
                for index, frame in enumerate(ahead):
                    found = detector(frame.image, keep_state=index > 0)
                    yield save(Outcome(frame, frame.image, found))
                return
            expected = self.rules.count_frames(video.num_frames)
            with closing(stream(detector, ahead, save, expected=expected)) as outcomes:
                # Frames are already decoded, so none can be ``Unreadable``.
                yield from cast(Iterator[Outcome], outcomes)
