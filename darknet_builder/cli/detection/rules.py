"""Which frames ``detect`` processes, which objects it keeps and hides, and how it tracks them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from darknet_builder.boxes.drawing import draw_line, draw_trails
from darknet_builder.boxes.regions import blur_objects, pixelate_objects
from darknet_builder.boxes.tracks import LineCounter, Trails
from darknet_builder.cfg.names import find_classes
from darknet_builder.errors import ImageError, InputError
from darknet_builder.images.sources.finding import Source, is_video
from darknet_builder.images.video import Frame
from darknet_builder.prediction.pipeline import Outcome
from darknet_builder.prediction.tracking import START_SCORE, Tracker

_TRAIL = 30
_TRACK_OPTIONS = ("line", "trail", "track_threshold")
"""Arguments that are of use with ``--track`` only."""
_TRACK_NAMES = {"line": "--line"}


@dataclass(frozen=True)
class TrackRules:
    """How to follow objects from frame to frame.

    Attributes:
        start_score: minimum confidence of a new identity.
        trail: number of frames that a trail shows; 0 for none.
        lines: x1, y1, x2, y2 in pixels of each line whose crossings are counted.
    """

    start_score: float = START_SCORE
    trail: int = _TRAIL
    lines: Sequence[Sequence[float]] = ()

    @classmethod
    def from_options(cls, args: argparse.Namespace, sources: Sequence[Source]) -> TrackRules | None:
        """Return what the options say; None without ``--track``.

        Args:
            args: the parsed arguments of the command.
            sources: what the command reads.

        Raises:
            InputError: if a source is an image, a line has no length, or another option needs
                ``--track``.
            MissingExtraError: if the extra is not installed.
        """
        given = [name for name in _TRACK_OPTIONS if getattr(args, name) not in (None, [])]
        if not args.track:
            for name in given:
                raise InputError(f"--{name.replace('_', '-')} needs --track")
            return None
        for source in sources:
            if not is_video(source):
                raise InputError(
                    f"--track: {source} is an image; expected only videos, webcams and streams"
                )
        rules = cls(
            START_SCORE if args.track_threshold is None else args.track_threshold,
            _TRAIL if args.trail is None else args.trail,
            list(dict.fromkeys(args.line)),  # a line given twice is counted once
        )
        rules.begin(1.0, "")  # before the network is built
        return rules

    def begin(self, fps: float, source: str) -> Tracking:
        """Begin to track in a video.

        Args:
            fps: frames per second that are processed.
            source: name of the video, for messages.
        """
        return Tracking(
            Tracker(fps, start_score=self.start_score),
            [LineCounter(line) for line in self.lines],
            Trails(self.trail) if self.trail else None,
            source,
        )


@dataclass(frozen=True)
class Tracking:
    """The identities of one video.

    Attributes:
        tracker: gives them.
        lines: count them.
        trails: where they were; None if nobody draws them.
        source: name of the video.
    """

    tracker: Tracker
    lines: Sequence[LineCounter]
    trails: Trails | None
    source: str

    def update(self, outcome: Outcome) -> Outcome:
        """Return the outcome of the next frame with identities, and count crossings.

        Raises:
            ImageError: if a line lies outside the picture.
        """
        time = outcome.source.time if isinstance(outcome.source, Frame) else None
        found = self.tracker.update(outcome.detections, time)
        try:
            for line in self.lines:
                line.update(found.shown())
        except InputError as error:  # the next video may be larger
            message = error.describe(_TRACK_NAMES.get)
            raise ImageError(message, path=self.source) from None
        if self.trails is not None:
            self.trails.update(found.shown())
        return replace(outcome, detections=found)

    def draw(self, image: np.ndarray) -> np.ndarray:
        """Return the image with trails and lines."""
        if self.trails is not None:
            image = draw_trails(image, self.trails)
        for line in self.lines:
            image = draw_line(image, line)
        return image


@dataclass(frozen=True)
class DetectionRules:
    """Which frames to process, which objects to keep, and which to make unrecognisable.

    Attributes:
        every: process the first frame and then each ``every``-th one.
        most_frames: number of frames of a source to process; None for all.
        classes: numbers of the classes to keep; None for all.
        min_size: pixels of the shorter side of a box, at least.
        blurred: numbers of the classes to blur.
        pixelated: numbers of the classes to pixelate.
        tracks: how to follow objects; None to give them no identities.
    """

    every: int = 1
    most_frames: int | None = None
    classes: Sequence[int] | None = None
    min_size: float = 0
    blurred: Sequence[int] = ()
    pixelated: Sequence[int] = ()
    tracks: TrackRules | None = None

    @classmethod
    def from_options(
        cls, args: argparse.Namespace, names: Sequence[str], tracks: TrackRules | None = None
    ) -> DetectionRules:
        """Return what the options say.

        Args:
            args: the parsed arguments of the command.
            names: names of all classes of the network.
            tracks: what the options about tracking say.

        Raises:
            InputError: if a class does not exist or a value is out of range.
        """
        return cls(
            args.every,
            args.max_frames,
            None if args.classes is None else find_classes(args.classes, names),
            args.min_size,
            find_classes(args.blur, names, "blur"),
            find_classes(args.pixelate, names, "pixelate"),
            tracks,
        )

    def apply(self, outcome: Outcome) -> Outcome:
        """Return an outcome with the objects to keep, and with the others hidden in its image.

        Objects are blurred and pixelated whether they are kept or not.
        """
        found, image = outcome.detections, outcome.image
        if self.blurred:
            image = blur_objects(image, found.keep(self.blurred))
        if self.pixelated:
            image = pixelate_objects(image, found.keep(self.pixelated))
        return replace(outcome, image=image, detections=found.keep(self.classes, self.min_size))

    def count_frames(self, num_frames: int) -> int:
        """Return the number of frames to process of a video of ``num_frames``; 0 if unknown."""
        count = -(-num_frames // self.every)
        return count if self.most_frames is None else min(count, self.most_frames)
