"""``Tracker``: identities from frame to frame, on boxes and on drawn videos whose identities are
known."""

from __future__ import annotations

import doctest
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from darknet_builder.boxes.detections import Detections
from darknet_builder.boxes.tracks import LineCounter
from darknet_builder.errors import InputError, MissingExtraError
from darknet_builder.prediction import tracking
from darknet_builder.prediction.detector import Detector
from darknet_builder.prediction.tracking import Tracker
from tests.helpers.moving_scenes import FPS, MovingScene, line_counts

NAMES = ("cat", "dog")


def at(*objects: tuple[float, float], kinds: tuple[int, ...] | None = None) -> Detections:
    """Objects of 20 x 20 pixels in a row: x of the centre and score."""
    boxes = np.array([(x - 10, 40, x + 10, 60) for x, _ in objects], float).reshape(-1, 4)
    class_ids = [0] * len(objects) if kinds is None else list(kinds)
    return Detections(boxes, [score for _, score in objects], class_ids, NAMES, (400, 100))


def identities(frames: list[Detections], **options: Any) -> list[list[int | None]]:
    """Those of each frame, by a new tracker."""
    tracker = Tracker(**options)
    return [tracker.update(frame).tracks() for frame in frames]


@pytest.fixture(autouse=True)
def _needs_the_extra(request: pytest.FixtureRequest) -> Iterator[None]:
    if "without" not in request.node.name:
        pytest.importorskip("trackers", reason="the extra 'track' is not installed")
    yield


def test_its_example() -> None:
    """It prints what it shows."""
    assert doctest.testmod(tracking) == (0, 2)


def test_identities_last() -> None:
    """From the second frame on, whatever the order of the objects; nothing else changes."""
    frames = [at((20 + 4 * step, 0.9), (300 - 4 * step, 0.8)) for step in range(5)]
    frames[3] = frames[3][::-1]
    found = [Tracker().update(frames[0])]
    assert found[0].tracks() == [None, None]
    assert identities(frames) == [[None, None], [1, 2], [1, 2], [2, 1], [1, 2]]
    tracker = Tracker()
    for frame in frames:
        tracked = tracker.update(frame)
        assert np.array_equal(tracked.boxes_xyxy, frame.boxes_xyxy)
        assert (tracked.labels, tracked.names) == (frame.labels, frame.names)
        assert frame.track_ids is None


def test_a_new_object_and_empty_frames() -> None:
    """The next number; an object that is missed for less than a second keeps its own."""
    frames = [at((20, 0.9))] * 2 + [at()] * 20 + [at((20, 0.9), (200, 0.9))] * 2
    expected = [[None], [1], *[[]] * 20, [1, None], [1, 2]]
    assert identities(frames) == expected
    assert identities(frames, lost_seconds=0.5)[-1] == [2, 3]
    assert identities(frames, fps=10)[-1] == [2, 3]
    assert identities([at()] * 3) == [[], [], []]


def test_low_confidence_continues_an_identity() -> None:
    """And does not begin one, unless that is wanted."""
    frames = [at((20, 0.9), (200, 0.4))] * 2 + [at((20, 0.3), (200, 0.4))]
    assert identities(frames) == [[None, None], [1, None], [1, None]]
    assert identities(frames, start_score=0.25)[-1] == [1, 2]


def test_two_boxes_on_one_object() -> None:
    """The better one has the identity; which class it has may change."""
    frames = [
        at((20, 0.9), (21, 0.8), kinds=(0, 1)),
        at((22, 0.9), (21, 0.8), kinds=(1, 0)),
        at((23, 0.7), (24, 0.9), kinds=(1, 0)),
    ]
    assert identities(frames) == [[None, None], [1, None], [None, 1]]


def test_times() -> None:
    """Frames at unequal distances; one missed frame is bridged, however slow they come."""
    times = [0.0, 0.04, 0.08, 0.2, 0.24, 0.24]
    tracker = Tracker(25)
    found = [tracker.update(at((20 + 200 * time, 0.9)), time).tracks() for time in times]
    assert found == [[None], [1], [1], [1], [1], [1]]
    with pytest.raises(InputError, match=r"^time=0\.1: expected 0\.241 or more$"):
        tracker.update(at(), 0.1)
    slow = Tracker(25)
    frames = [at((20, 0.9))] * 3 + [at()] + [at((20, 0.9))]
    found = [slow.update(frame, 5.0 * number).tracks() for number, frame in enumerate(frames)]
    assert found == [[None], [1], [1], [], [1]]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"fps": 0}, "fps=0: expected a number above 0"),
        ({"fps": float("nan")}, "fps=nan: expected a number above 0"),
        ({"lost_seconds": -1}, "lost_seconds=-1: expected a number above 0"),
        ({"start_score": 1.5}, "start_score=1.5: expected a number from 0 to 1"),
    ],
)
def test_arguments_out_of_range(options: dict[str, float], text: str) -> None:
    """One line."""
    with pytest.raises(InputError) as raised:
        Tracker(**options)
    assert str(raised.value) == text


@pytest.mark.parametrize("package", ["trackers", "supervision"])
def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """One line says what to install."""
    monkeypatch.setitem(sys.modules, "supervision", sys)
    monkeypatch.setitem(sys.modules, package, None)  # type: ignore[arg-type]
    with pytest.raises(MissingExtraError) as raised:
        Tracker()
    message = f"{package} is not installed: pip install 'darknet-builder[track]'"
    assert str(raised.value) == message


# ---- drawn videos --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def detector() -> Detector:
    """The bundled one."""
    return Detector("shapes", batch=8)


@pytest.mark.parametrize(
    ("seed", "switches", "crossings"),
    [(5, 0, {"in": 1, "out": 3})],
)
def test_a_drawn_video(
    detector: Detector, seed: int, switches: int, crossings: dict[str, int]
) -> None:
    """Five objects that cover one another: hardly a switch, and every crossing of the middle."""
    metrics = pytest.importorskip("trackers.eval")
    scene = MovingScene(seed, num_frames=60, num_objects=5)
    frames = list(scene.frames())
    middle = scene.size / 2
    tracker, line = Tracker(FPS), LineCounter((middle, 0, middle, scene.size))
    found = []
    for detections in detector([frame.image for frame in frames]):
        tracked = tracker.update(detections)
        line.update(tracked)
        found.append(tracked[np.asarray(tracked.track_ids) > 0])
    overlaps = [
        metrics.box_iou(frame.boxes_xyxy, one.boxes_xyxy)
        for frame, one in zip(frames, found, strict=True)
    ]
    truth = [frame.identities for frame in frames]
    ids = [np.asarray(one.track_ids) for one in found]
    assert metrics.compute_clear_metrics(truth, ids, overlaps)["IDSW"] <= switches
    assert metrics.compute_identity_metrics(truth, ids, overlaps)["IDF1"] > 0.88
    assert line_counts(scene, frames, middle) == crossings
    counted = {direction: sum(line.counts(direction).values()) for direction in crossings}
    assert counted == crossings
