"""Identities of objects: in ``Detections``, in files, in pictures, and across lines."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import pytest

from darknet_builder.boxes import tracks
from darknet_builder.boxes.detections import Detection, Detections
from darknet_builder.boxes.drawing import class_color, draw_detections, draw_line, draw_trails
from darknet_builder.boxes.records import Record, coco_document, csv_text, lines_csv
from darknet_builder.boxes.tracks import LineCounter, Trails
from darknet_builder.errors import InputError
from darknet_builder.pages.detections_page import DetectionReport

NAMES = ("cat", "dog")


def make(**changes: Any) -> Detections:
    """Three objects of 200 x 100 pixels, the second without an identity, the third outside."""
    values: dict[str, Any] = {
        "boxes_xyxy": [[10, 5, 30, 25], [60, 20, 90, 60], [-9, -9, -1, -1]],
        "scores": [0.9, 0.5, 0.25],
        "class_ids": [1, 0, 1],
        "names": NAMES,
        "image_size": (200, 100),
        "track_ids": [3, -1, 7],
        **changes,
    }
    return Detections(**values)


def at(*places: tuple[int, float, float], size: tuple[int, int] = (200, 100)) -> Detections:
    """Dogs of 20 x 20 pixels: identity, x and y of the centre."""
    boxes = np.array([(x - 10, y - 10, x + 10, y + 10) for _, x, y in places], float)
    track_ids = [track for track, _, _ in places]
    count = len(places)
    return Detections(boxes.reshape(-1, 4), [0.9] * count, [1] * count, NAMES, size, track_ids)


# ---- in Detections -------------------------------------------------------------------------------


def test_identities_stay_with_their_objects() -> None:
    """Through every way to select, in one object, and in equality."""
    found = make()
    assert found.track_ids is not None
    assert (found.track_ids.dtype, found.track_ids.tolist()) == (np.int64, [3, -1, 7])
    assert found.tracks() == [3, None, 7]
    assert found[::-1].tracks() == [7, None, 3]
    assert found.keep(["dog"]).tracks() == [3, 7]
    assert found.clipped().tracks() == [3, None]
    assert make(names=("cat", "dont_show_dog")).shown().tracks() == [None]
    assert [one.track for one in found] == [3, None, 7]
    assert found == make() != make(track_ids=None)
    assert make(track_ids=None) == make(track_ids=None) != make()
    assert make() != make(track_ids=[3, -1, 8])
    assert not found.track_ids.flags.writeable
    assert make(boxes_xyxy=np.zeros((0, 4)), scores=[], class_ids=[], track_ids=[]).tracks() == []


def test_how_they_are_shown() -> None:
    """With ``#``; whoever tracks nothing sees nothing new."""
    found = make()
    assert found.titles == ["#3 dog", "cat", "#7 dog"]
    assert make(track_ids=None).titles == ["dog", "cat", "dog"]
    assert repr(found[0]) == (
        "Detection(name='dog', score=0.9, box_xyxy=(10.0, 5.0, 30.0, 25.0), track=3)"
    )
    assert "track" not in repr(found[1]) and "track" not in repr(make(track_ids=None)[0])
    assert isinstance(found[0], Detection) and found[0].labels == ["dog"]


@pytest.mark.parametrize(
    ("track_ids", "text"),
    [
        ([1, 2], "track_ids: expected the shape (3,), one value per box, got (2,)"),
        ([1.0, 2.0, 3.0], "track_ids: expected integers, got float64"),
        ([1, 0, 2], "track_ids: expected 1 or more, or -1 for none, got [0, 1, 2]"),
        ([1, -2, 2], "track_ids: expected 1 or more, or -1 for none, got [-2, 1, 2]"),
    ],
)
def test_identities_that_cannot_be(track_ids: list[Any], text: str) -> None:
    """One line."""
    with pytest.raises(InputError) as raised:
        make(track_ids=track_ids)
    assert str(raised.value) == text


def test_other_formats() -> None:
    """JSON and COCO have a key, CSV and pandas a column; without tracking there is none."""
    found, plain = make(), make(track_ids=None)
    assert [row["track"] for row in found.to_dict()["detections"]] == [3, None, 7]
    assert all("track" not in row for row in plain.to_dict()["detections"])
    annotations = coco_document([Record("a.mp4", found, 0)], NAMES)["annotations"]
    assert [row.get("track_id", "none") for row in annotations] == [3, "none"]
    assert all("track_id" not in row for row in plain.to_coco())
    rows = list(csv.DictReader(io.StringIO(csv_text([Record("a.mp4", found, 0)]))))
    assert [row["track"] for row in rows] == ["3", ""]
    assert csv_text([Record("a.jpg", plain)]).splitlines()[0].endswith(",y2")
    mixed = csv_text([Record("a.mp4", plain, 0), Record("a.mp4", found, 1)]).splitlines()
    assert {line.count(",") for line in mixed} == {11}


def test_supervision_and_pandas() -> None:
    """They get the identities."""
    pytest.importorskip("supervision", reason="supervision is not installed")
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    assert make().to_supervision().tracker_id.tolist() == [3, -1, 7]
    assert make(track_ids=None).to_supervision().tracker_id is None
    column = make().to_pandas()["track"]
    assert column.dropna().tolist() == [3, 7] and column[1] is pandas.NA
    assert "track" not in make(track_ids=None).to_pandas()


# ---- lines ---------------------------------------------------------------------------------------


def count(line: tuple[float, ...], *centres: tuple[float, float] | None) -> tuple[int, int]:
    """(in, out) of one object that is at these places, or missed, in one frame after another."""
    counter = LineCounter(line)
    for centre in centres:
        counter.update(at((1, *centre)) if centre else at((2, 150, 90)))
    return sum(counter.counts("in").values()), sum(counter.counts("out").values())


DOWN = ((100.0, 20.0), (100.0, 40.0), (100.0, 60.0), (100.0, 80.0))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ((0, 50, 200, 50), (0, 1)),
        ((200, 50, 0, 50), (1, 0)),
        ((50, 0, 150, 100), (0, 1)),
        ((150, 100, 50, 0), (1, 0)),
        ((0, 50, 99, 50), (0, 0)),
        ((101, 50, 200, 50), (0, 0)),
        ((0, 50, 101, 50), (0, 1)),
        ((0, 90, 200, 90), (0, 0)),
        ((120, 0, 120, 100), (0, 0)),
        ((-50.5, 50, 300, 50), (0, 1)),
    ],
)
def test_directions_and_ends(line: tuple[float, ...], expected: tuple[int, int]) -> None:
    """Seen from the first point, in is from right to left; the way back is the opposite."""
    assert count(line, *DOWN) == expected
    assert count(line, *DOWN[::-1]) == expected[::-1]
    assert count(line, *DOWN, *DOWN[::-1]) == (sum(expected), sum(expected))


LINE = (0, 50, 200, 50)


def test_hidden_while_it_crosses() -> None:
    """Its identity lasts, so it is counted when it is found again."""
    assert count(LINE, (100, 30), None, None, None, None, (100, 70)) == (0, 1)


def test_round_the_end() -> None:
    """Beside the line, nothing is counted, also where the object comes back."""
    half = (0, 50, 100, 50)
    assert count(half, (90, 30), (120, 30), (120, 70), (90, 70)) == (0, 0)


def test_an_object_that_rests_on_the_line() -> None:
    """Boxes tremble by a pixel; a tenth of the size is needed."""
    resting = [(100.0, 50.0 + step) for step in (1.5, -1.5) * 10]
    assert count(LINE, *resting) == (0, 0)
    assert count(LINE, (100, 30), *resting, (100, 30)) == (0, 0)
    assert count(LINE, (100, 30), *resting, (100, 70)) == (0, 1)


MEETING: list[tuple[tuple[float, ...], bool]] = [
    ((0, 50, 84, 50), False),
    ((0, 50, 85, 50), True),
    ((85, 50, 200, 50), True),
    ((86, 50, 200, 50), False),
    ((85.5, 50, 86.5, 50), False),
    ((85, 50, 0, 50), True),
    ((84, 50, 0, 50), False),
]


def test_where_the_way_meets_the_line() -> None:
    """From (70, 40) to (130, 80) it is at (85, 50); the ends belong to the line."""
    for line, crossed in MEETING:
        for way in (((70, 40), (130, 80)), ((130, 80), (70, 40))):
            assert sum(count(line, *way)) == crossed
        # The same with x and y exchanged, at half the height.
        x1, y1, x2, y2 = line
        assert sum(count((y1, x1 / 2, y2, x2 / 2), (40, 35), (80, 65))) == crossed


DISTANCES: list[tuple[float, float, float]] = [
    (20, 40, 2),
    (40, 20, 2),
    (4, 40, 1),
    (40, 2, 1),
]


def test_how_far_from_the_line_counts() -> None:
    """A tenth of the shorter side, or a pixel; this distance is enough."""
    for width, height, side in DISTANCES:
        for distance, crossed in ((side, 1), (side - 0.125, 0)):
            way = [50 - distance, 51 + side]
            for direction, places in (("out", way), ("in", way[::-1])):
                counter = LineCounter(LINE)
                for y in places:
                    box = [[100 - width / 2, y - height / 2, 100 + width / 2, y + height / 2]]
                    counter.update(Detections(box, [0.9], [1], NAMES, (200, 100), [1]))
                assert counter.counts(direction) == ({"dog": 1} if crossed else {})


def test_counts_are_sorted() -> None:
    """The most frequent class first; rows by the number of the class, in both directions."""
    counter = LineCounter(LINE)
    names = ("cat", "dog", "cat")
    for y in (30, 70, 30):
        boxes = [[x - 10, y - 10, x + 10, y + 10] for x in (20, 60, 100, 140)]
        counter.update(Detections(boxes, [0.9] * 4, [2, 1, 1, 1], names, (200, 100), [1, 2, 3, 4]))
    boxes = [[90, 60, 110, 80]]
    counter.update(Detections(boxes, [0.9], [0], names, (200, 100), [3]))
    assert list(counter.counts("in").items()) == [("dog", 3), ("cat", 1)]
    assert list(counter.counts("out").items()) == [("dog", 3), ("cat", 2)]
    assert list(counter.rows()) == [(0, "cat", 0, 1), (1, "dog", 3, 3), (2, "cat", 1, 1)]


def test_several_objects_and_classes() -> None:
    """Each by its own class at that moment; those without an identity are left out."""
    counter = LineCounter(LINE)
    for y in (30, 70):
        boxes = [[x - 10, y - 10, x + 10, y + 10] for x in (20, 60, 100, 140)]
        track_ids = [1, 2, -1, 3]
        kinds = [0, 1, 1, int(y > 50)]
        counter.update(Detections(boxes, [0.9] * 4, kinds, NAMES, (200, 100), track_ids))
    assert (counter.counts("in"), counter.counts("out")) == ({}, {"dog": 2, "cat": 1})
    assert list(counter.rows()) == [(0, "cat", 0, 1), (1, "dog", 0, 2)]
    assert lines_csv([("=a.mp4", counter)]).splitlines() == [
        "file,line,class_id,name,in,out",
        '\'=a.mp4,"0,50,200,50",0,cat,0,1',
        '\'=a.mp4,"0,50,200,50",1,dog,0,2',
    ]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The identity that was seen last is forgotten last."""
    monkeypatch.setattr(tracks, "_MOST_REMEMBERED", 2)
    counter = LineCounter(LINE)
    for places in ([(1, 20, 30)], [(2, 60, 30)], [(1, 20, 30)], [(3, 90, 30)]):
        counter.update(at(*places))
    counter.update(at((1, 20, 70), (2, 60, 70)))
    assert counter.counts("out") == {"dog": 1}


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ((1, 2, 3), "line=1,2,3: expected four numbers x1,y1,x2,y2"),
        ((1, 2, float("nan"), 4), "line=1,2,nan,4: expected four numbers x1,y1,x2,y2"),
        ((5, 5, 5, 5), "line=5,5,5,5: expected two different points"),
    ],
)
def test_lines_that_cannot_be(line: tuple[float, ...], text: str) -> None:
    """One line."""
    with pytest.raises(InputError) as raised:
        LineCounter(line)
    assert str(raised.value) == text


OUTSIDE: list[tuple[tuple[float, ...], bool]] = [
    ((0, 101, 200, 101), False),
    ((201, 0, 201, 100), False),
    ((-9, -1, 300, -1), False),
    ((150, 160, 260, 100), False),
    ((150, 120, 210, 60), True),
    ((-500, 50, 500, 51), True),
    ((200, 0, 200, 100), True),
    # along each edge, and beside it
    ((0, 0, 0, 100), True),
    ((-1, 0, -1, 100), False),
    ((0, 0, 200, 0), True),
    ((0, 100, 200, 100), True),
    ((0, -1, 200, -1), False),
    # up to the edge, and not as far
    ((-100, 50, 0, 50), True),
    ((-100, 50, -1, 50), False),
    ((200, 50, 300, 50), True),
    ((201, 50, 300, 50), False),
    ((100, 300, 100, 100), True),
    ((100, 300, 100, 101), False),
    # through a corner, and beside it
    ((150, 150, 250, 50), True),
    ((150.5, 150, 250.5, 50), False),
    ((-50, 50, 50, -50), True),
    ((-50.5, 50, 49.5, -50), False),
]


def test_a_line_outside() -> None:
    """It says so when the first picture comes, and for a picture of another size."""
    for line, is_inside in OUTSIDE:
        counter = LineCounter(line)
        if is_inside:
            counter.update(at())
            counter.update(at(size=(400, 200)))
            assert counter.counts("in") == {}
            continue
        with pytest.raises(InputError) as raised:
            counter.update(at())
        assert str(raised.value) == f"line={counter}: lies outside the image of 200x100 pixels"


def test_what_is_not_tracked() -> None:
    """One line."""
    for tracked in (LineCounter(LINE), Trails()):
        with pytest.raises(InputError, match="^the objects have no identities; a Tracker gives"):
            tracked.update(make(track_ids=None))


# ---- pictures ------------------------------------------------------------------------------------

BLACK = np.zeros((100, 200, 3), np.uint8)


def test_trails() -> None:
    """The last frames, whether the object is found in each or not; older ones vanish."""
    trails = Trails(3)
    for places in ([(1, 20, 50)], [], [(1, 80, 50), (-1, 150, 90)], [(1, 120, 50)]):
        trails.update(at(*places))
    ((class_id, path),) = trails.paths()
    assert (class_id, path.tolist()) == (1, [[80, 50], [120, 50]])
    drawn = draw_trails(BLACK, trails)
    assert drawn[50, 100] == pytest.approx(class_color(1), abs=20)  # its edges are smoothed
    assert not drawn[:, :78].any() and not drawn[:, 123:].any() and not BLACK.any()
    for _ in range(3):
        trails.update(at())
    assert list(trails.paths()) == []
    assert not draw_trails(BLACK, trails).any()
    with pytest.raises(InputError, match="^length=0: expected 1 or more frames$"):
        Trails(0)


def test_the_class_of_a_trail() -> None:
    """The last one; a path may be a single place, and may be remembered for one frame."""
    for length, path in ((3, [[20, 50], [60, 50], [90, 50]]), (1, [[90, 50]])):
        trails = Trails(length)
        for kind, x in ((1, 20), (1, 60), (0, 90)):
            box = [[x - 10, 40, x + 10, 60]]
            trails.update(Detections(box, [0.9], [kind], NAMES, (200, 100), [4]))
        assert [(kind, places.tolist()) for kind, places in trails.paths()] == [(0, path)]


def test_trails_are_remembered_for_30_frames() -> None:
    trails = Trails()
    for x in range(40):
        trails.update(at((1, x, 50)))
    ((_, path),) = trails.paths()
    assert path[:, 0].tolist() == list(range(10, 40))


def test_labels() -> None:
    """Another label with an identity than without, in pictures and on the page."""
    plain, tracked = make(track_ids=None), make()
    assert (draw_detections(BLACK, plain) != draw_detections(BLACK, tracked)).any()
    report = DetectionReport()
    report.add(Record("a.mp4", tracked, 0), BLACK)
    assert "#3 dog 90%" in report.html() and ">cat 50%" in report.html()


@pytest.mark.parametrize("line", [LINE, (200, 50, 0, 50), (100, 0, 100, 100), (-90, -40, 300, 90)])
def test_the_picture_of_a_line(line: tuple[float, ...]) -> None:
    """White over black; the arrow points to ``in``, the counts stand on the other side."""
    counter = LineCounter(line)
    grey = np.full_like(BLACK, 90)
    drawn = draw_line(grey, counter)
    assert (drawn != grey).any() and (grey == 90).all()
    start, end = np.array(line[:2]), np.array(line[2:])
    points = np.argwhere((drawn > 200).all(2))[:, ::-1] - start
    way = (end - start) / np.hypot(*(end - start))
    left_of = way[1] * points[:, 0] - way[0] * points[:, 1]
    assert left_of.max() > 4
    # The white plate of the counts is much larger than the arrow.
    assert (left_of < -4).sum() > 3 * (left_of > 4).sum()
