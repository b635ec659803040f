"""Detections: validated, frozen, indexable; names files; COCO, CSV and label files."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from darknet_builder.boxes.detections import Detection, Detections
from darknet_builder.boxes.drawing import draw_detections
from darknet_builder.boxes.records import CSV_COLUMNS, Record, coco_document, csv_text
from darknet_builder.cfg.names import read_names
from darknet_builder.errors import InputError
from darknet_builder.pages.detections_page import DetectionReport

DATA = Path(__file__).parents[1] / "data"
NAMES = ("cat", "dog", 'a "quoted", name')


def make(**changes: Any) -> Detections:
    """Three objects in 100 x 50 pixels: the second reaches beyond the edges."""
    values: dict[str, Any] = {
        "boxes_xyxy": [[10, 5, 30, 25], [-10, 20, 50, 60], [0, 0, 1, 1]],
        "scores": [0.9, 0.5, 0.25],
        "class_ids": [1, 0, 2],
        "names": NAMES,
        "image_size": (100, 50),
        **changes,
    }
    return Detections(**values)


def empty() -> Detections:
    """Nothing was found."""
    return make(boxes_xyxy=np.zeros((0, 4)), scores=[], class_ids=[])


def test_fields_have_their_types() -> None:
    """Whatever they were made from."""
    found = make()
    assert (found.boxes_xyxy.dtype, found.scores.dtype, found.class_ids.dtype) == (
        np.float32,
        np.float32,
        np.int64,
    )
    assert (found.boxes_xyxy.shape, found.names, found.image_size) == ((3, 4), NAMES, (100, 50))
    assert found.labels == ["dog", "cat", NAMES[2]]


def test_it_is_frozen() -> None:
    """Neither fields nor their values can be changed, and the arrays it was made from are not
    touched."""
    scores = np.array([0.9, 0.5, 0.25], np.float32)
    found = make(scores=scores)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.scores = scores  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        found.scores[0] = 1
    scores[0] = 0.1
    assert found.scores[0] == np.float32(0.9)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"boxes_xyxy": np.zeros((3, 5))}, "boxes_xyxy: expected the shape (N, 4), got (3, 5)"),
        ({"boxes_xyxy": np.zeros(4)}, "boxes_xyxy: expected the shape (N, 4), got (4,)"),
        ({"scores": [0.5]}, "scores: expected the shape (3,), one value per box, got (1,)"),
        ({"class_ids": [0, 1]}, "class_ids: expected the shape (3,), one value per box, got (2,)"),
        ({"class_ids": [0.0, 1.0, 2.0]}, "class_ids: expected integers, got float64"),
        ({"class_ids": [0, 1, 3]}, "class_ids: expected 0 to 2 for 3 names, got [0, 1, 3]"),
        ({"class_ids": [0, -1, 2]}, "class_ids: expected 0 to 2 for 3 names, got [-1, 0, 2]"),
        ({"scores": [0.5, np.nan, 0]}, "boxes_xyxy and scores: expected finite numbers"),
        ({"boxes_xyxy": [[0, 0, np.inf, 1]] * 3}, "boxes_xyxy and scores: expected finite numbers"),
        (
            {"boxes_xyxy": [[5, 0, 4, 1]] * 3},
            "boxes_xyxy: expected left <= right and top <= bottom",
        ),
        (
            {"image_size": (0, 5)},
            "image_size: expected (width, height) of 1 or more pixels, got (0, 5)",
        ),
    ],
)
def test_what_does_not_fit_together(changes: dict[str, Any], text: str) -> None:
    """One line that says what was expected."""
    with pytest.raises(InputError) as raised:
        make(**changes)
    assert str(raised.value) == text


# ---- parts ---------------------------------------------------------------------------------------


def test_an_index_gives_one_object() -> None:
    """Which is still Detections, and can be asked in the singular."""
    one = make()[1]
    assert isinstance(one, Detection) and isinstance(one, Detections)
    assert (len(one), one.name, one.class_id, one.score) == (1, "cat", 0, 0.5)
    assert one.box_xyxy == (-10, 20, 50, 60)
    assert make()[-1].name == NAMES[2]
    assert make()[np.int64(0)] == make()[0]
    with pytest.raises(InputError, match="expected one object, got 2"):
        Detection([[0, 0, 1, 1]] * 2, [1, 1], [0, 0], NAMES, (5, 5))


@pytest.mark.parametrize(
    ("key", "rows"),
    [
        (slice(2), [0, 1]),
        (slice(None, None, -1), [2, 1, 0]),
        ([2, 0], [2, 0]),
        (np.array([1]), [1]),
        ([-1], [2]),
        ([True, False, True], [0, 2]),
        (np.array([False, True, False]), [1]),
        ([False] * 3, []),
        ([], []),
    ],
)
def test_parts(key: Any, rows: list[int]) -> None:
    """Slices, lists, masks."""
    found = make()
    part = found[key]
    assert np.array_equal(part.boxes_xyxy, found.boxes_xyxy[rows])
    assert part.class_ids.tolist() == [found.class_ids[row] for row in rows]
    assert np.array_equal(part.scores, found.scores[rows])
    assert (part.names, part.image_size) == (found.names, found.image_size)


def test_a_mask_over_scores() -> None:
    """As people write it."""
    found = make()
    assert found[found.scores > 0.4].labels == ["dog", "cat"]
    assert found[found.class_ids == 0].labels == ["cat"]


@pytest.mark.parametrize("key", [3, -4, True, [True], [5], "dog", [[0, 1]], [0.5], None, 1.0])
def test_what_is_not_there(key: Any) -> None:
    """IndexError, as on a list."""
    with pytest.raises(IndexError):
        make()[key]


def test_iteration_equality_and_repr() -> None:
    """One by one, best first."""
    found = make()
    assert [one.name for one in found] == found.labels
    assert list(found)[1] == found[1]
    assert found == make()
    assert found != make(scores=[0.9, 0.5, 0.26])
    assert found != make(image_size=(100, 51))
    assert found != found[:2]
    assert found != "dog"
    assert empty() == empty() and not len(empty()) and not list(empty())
    assert repr(make(class_ids=[1, 1, 0])) == "Detections(2 dog, 1 cat in 100x50)"
    assert repr(empty()) == "Detections(nothing in 100x50)"
    with pytest.raises(TypeError, match="unhashable"):
        hash(found)


def test_other_views() -> None:
    """Relative boxes, clipped boxes, counts."""
    found = make()
    assert found.boxes_cxcywh[0].tolist() == pytest.approx([0.2, 0.3, 0.2, 0.4])
    assert found.clipped().boxes_xyxy.tolist() == [[10, 5, 30, 25], [0, 20, 50, 50], [0, 0, 1, 1]]
    assert make(boxes_xyxy=[[10, 5, 30, 25], [100, 0, 120, 9], [0, -9, 9, 0]]).clipped().labels == [
        "dog"
    ]
    assert list(make(class_ids=[1, 0, 1]).counts().items()) == [("dog", 2), ("cat", 1)]


def test_to_dict_is_plain() -> None:
    """JSON takes it."""
    plain = make()[:1].to_dict()
    assert plain == {
        "image_size": [100, 50],
        "detections": [
            {
                "class_id": 1,
                "name": "dog",
                "score": float(np.float32(0.9)),
                "box_xyxy": [10, 5, 30, 25],
            }
        ],
    }
    assert json.loads(json.dumps(plain)) == plain
    assert empty().to_dict()["detections"] == []


# ---- files ---------------------------------------------------------------------------------------


RECORDS = [Record("a.jpg", make()), Record("b, c.jpg", empty()), Record("d.mp4", make()[:1], 7)]


def test_coco() -> None:
    """Ids, clipped boxes, categories; a frame says which."""
    document = json.loads(json.dumps(coco_document(RECORDS, NAMES)))
    assert document["categories"] == [
        {"id": index, "name": name} for index, name in enumerate(NAMES)
    ]
    assert document["images"] == [
        {"id": 1, "file_name": "a.jpg", "width": 100, "height": 50},
        {"id": 2, "file_name": "b, c.jpg", "width": 100, "height": 50},
        {"id": 3, "file_name": "d.mp4", "width": 100, "height": 50, "frame": 7},
    ]
    assert len(document["annotations"]) == 4
    assert document["annotations"][1] == {
        "id": 2,
        "image_id": 1,
        "category_id": 0,
        "bbox": [0, 20, 50, 30],
        "area": 1500,
        "iscrowd": 0,
        "score": 0.5,
    }
    assert document["annotations"][3]["image_id"] == 3


def test_csv() -> None:
    """Commas and quotes in names survive."""
    rows = list(csv.reader(io.StringIO(csv_text(RECORDS))))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert rows[1] == [
        "a.jpg",
        "",
        "100",
        "50",
        "1",
        "dog",
        "0.90000",
        "10.00",
        "5.00",
        "30.00",
        "25.00",
    ]
    assert rows[3][5] == NAMES[2]
    assert rows[4][:2] == ["d.mp4", "7"]
    assert len(rows) == 5


def test_labels() -> None:
    """Darknet's form, within the image."""
    assert (
        make()[:2].to_yolo()
        == "1 0.200000 0.300000 0.200000 0.400000\n0 0.250000 0.700000 0.500000 0.600000\n"
    )
    assert empty().to_yolo() == ""


def test_dont_show_hides_from_eyes_and_lists(tmp_path: Path) -> None:
    """Classes whose name begins so: Darknet neither draws nor lists them (image.c:306,
    network.c:1032)."""
    names = tuple(read_names(DATA / "dont_show.names"))
    assert names == ("dont_show",)
    found = make(names=(names[0] + "_cat", "dog", "do not hide, dont_show"))
    assert found.labels == ["dog", "dont_show_cat", "do not hide, dont_show"]
    assert found.shown().labels == ["dog", "do not hide, dont_show"] and len(empty().shown()) == 0
    assert csv_text([Record("a.png", found)]).count("\n") == 1 + 2
    # What trains, measures or is read by class number keeps them, as save_labels and print_cocos
    # do.
    assert found.to_yolo().count("\n") == 3 and len(found.to_coco()) == 3
    image = np.zeros((50, 100, 3), np.uint8)
    assert np.array_equal(
        draw_detections(image, found), draw_detections(image, found[[True, False, True]])
    )
    assert not draw_detections(image, found[[1]]).any()
    report = DetectionReport()
    report.add(Record("a.png", found), image)
    assert report.html().count("data-class=") == 4 and "dont_show_cat" not in report.html()


def test_one_object_shows_itself() -> None:
    """The values that one looks for first, rounded so that they can be read."""
    found = Detections([[10.04, 20.26, 50, 80]], [0.98765], [1], NAMES, (100, 90))
    assert (
        repr(found[0])
        == f"Detection(name={NAMES[1]!r}, score=0.988, box_xyxy=(10.0, 20.3, 50.0, 80.0))"
    )
    assert repr(found) == f"Detections(1 {NAMES[1]} in 100x90)"


def test_keep() -> None:
    """Classes by name or number, and boxes by their shorter side; nothing by default."""
    boxes = [[0, 0, 10, 30], [0, 0, 20, 20], [0, 0, 9.5, 9.5]]
    found = Detections(boxes, [0.9, 0.8, 0.7], [0, 1, 2], ("cat", "dog", "1"), (100, 100))
    assert found.keep() == found
    assert found.keep(classes=["dog", 0]).labels == ["cat", "dog"]
    assert found.keep(classes=["1"]).labels == ["1"], "a name comes before a number"
    assert found.keep(classes=[]).labels == []
    assert found.keep("dog").labels == ["dog"]
    assert found.keep(min_size=10).labels == ["cat", "dog"]
    assert found.keep(["cat", "dog"], 11).labels == ["dog"]
    assert len(found[:0].keep(["cat"], 5)) == 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"classes": ["dgo"]}, "classes=dgo: no class has this name; the classes have the numbers 0"
         " to 1; did you mean 'dog'?"),
        ({"classes": [2]}, "classes=2: no class has this name; the classes have the numbers 0 to 1"),
        ({"classes": [-1]}, "classes=-1: no class has this name; the classes have the numbers 0 to"
         " 1"),
        ({"min_size": -1}, "min_size=-1: expected 0 or more pixels"),
        ({"min_size": float("nan")}, "min_size=nan: expected 0 or more pixels"),
    ],
)  # fmt: skip
def test_what_cannot_be_kept(options: dict[str, Any], text: str) -> None:
    """Says what there is."""
    found = Detections([[0, 0, 10, 30]], [0.9], [0], ("cat", "dog"), (100, 100))
    with pytest.raises(InputError) as raised:
        found.keep(**options)
    assert str(raised.value) == text
