"""``Tracker``: give the objects of a video identities that last from frame to frame."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from darknet_builder.boxes.detections import NO_TRACK, Detections
from darknet_builder.boxes.nms import best_of_groups
from darknet_builder.errors import InputError
from darknet_builder.images.video import DEFAULT_FPS
from darknet_builder.support.extras import load_extra

START_SCORE, LOST_SECONDS = 0.5, 1.0
_SAME_OBJECT = 0.6
"""Two boxes that overlap by more than this IoU show one object, whatever their classes are."""
_REFERENCE_FPS = 30
"""``trackers`` counts the time for which an object may be lost in frames at this rate."""


class Tracker:
    """Give the objects of a video identities, by the ByteTrack of the package ``trackers``.

    It predicts where each known object will be, and compares the predictions with the boxes of the
    next frame: first with those of high confidence, then with the others. Classes do not matter,
    because the class of one object may change from frame to frame.

    Make a new tracker for each video.

    Args:
        fps: number of frames per second that ``update`` gets.
        start_score: minimum confidence, 0 to 1, of an object that gets a new identity. Objects of
            lower confidence only continue an identity, so a detector with a low threshold loses
            fewer objects.
        lost_seconds: time after which an object that is not found any more loses its identity.

    Raises:
        InputError: if an argument is out of range.
        MissingExtraError: if the extra ``track`` is not installed.

    Example:
        >>> tracker = Tracker(fps=25)
        >>> for left in (10, 14, 18):
        ...     box, names = [[left, 40, left + 20, 60]], ("cat",)
        ...     found = tracker.update(Detections(box, [0.9], [0], names, (100, 100)))
        ...     print(found.titles)
        ['cat']
        ['#1 cat']
        ['#1 cat']
    """

    def __init__(
        self,
        fps: float = DEFAULT_FPS,
        *,
        start_score: float = START_SCORE,
        lost_seconds: float = LOST_SECONDS,
    ) -> None:
        for name, value in (("fps", fps), ("lost_seconds", lost_seconds)):
            if not 0 < value < math.inf:
                raise InputError("expected a number above 0", argument=name, value=value)
        if not 0 <= start_score <= 1:
            raise InputError(
                "expected a number from 0 to 1", argument="start_score", value=start_score
            )
        self._supervision = load_extra("supervision", "track")
        self._tracker = load_extra("trackers", "track").ByteTrackTracker(
            frame_rate=fps,
            lost_track_buffer=max(1, round(lost_seconds * _REFERENCE_FPS)),
            track_activation_threshold=start_score,
            high_conf_det_threshold=start_score,
        )
        self._lost_seconds = lost_seconds
        self._time: float | None = None

    def update(self, detections: Detections, time: float | None = None) -> Detections:
        """Return the objects of the next frame with their identities as ``track_ids``.

        An object gets its identity in the second frame in a row in which it is found. Of boxes of
        several classes on one object, only the best has an identity.

        Args:
            detections: the objects of the next frame; order and number do not change.
            time: seconds since the beginning of the video, for frames at unequal distances. Give it
                always or never.

        Raises:
            InputError: if ``time`` is before that of the previous frame.
        """
        rows = np.flatnonzero(_best_of_each(detections))
        found = self._supervision.Detections(
            xyxy=detections.boxes_xyxy[rows],
            confidence=detections.scores[rows],
            data={"row": rows},  # the tracker returns the objects in another order
        )
        tracked = self._tracker.update(found, timestamp=self._advance(time))
        track_ids = np.full(len(detections), NO_TRACK, np.int64)
        if len(tracked):
            # Theirs begin at 0, and -1 is an object without an identity.
            numbers = np.asarray(tracked.tracker_id)
            track_ids[tracked.data["row"]] = np.where(numbers < 0, NO_TRACK, numbers + 1)
        return replace(detections, track_ids=track_ids)

    def _advance(self, time: float | None) -> float | None:
        """Return the time to hand on; make room for one missed frame, however slow they come."""
        if time is None:
            return None
        if self._time is not None:
            if time < self._time:
                raise InputError(f"expected {self._time:g} or more", argument="time", value=time)
            time = max(time, self._time + 1e-3)  # clocks may be coarse
            self._tracker.maximum_time_without_update = max(
                self._lost_seconds, 2 * (time - self._time)
            )
        self._time = time
        return time


def _best_of_each(detections: Detections) -> np.ndarray:
    """Return (N,) bool, False for a box on an object that has a better box of another class."""
    one_group = np.zeros(len(detections), np.int64)
    return best_of_groups(detections.boxes_cxcywh, detections.scores, one_group, _SAME_OBJECT)
