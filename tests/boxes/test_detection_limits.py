"""``Detections`` at the limits of what is valid, and its rounding in files."""

from __future__ import annotations

import csv
import io
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
import torch

from darknet_builder.boxes.candidates import Candidates, ScoredBoxes
from darknet_builder.boxes.detections import Detections
from darknet_builder.boxes.records import (
    Record,
    coco_document,
    counts_csv,
    csv_text,
    json_document,
    lines_csv,
)
from darknet_builder.boxes.tracks import LineCounter
from darknet_builder.errors import InputError

NAMES = ("cat", "dog")


def make(**changes: Any) -> Detections:
    """Two objects in 9 x 8 pixels."""
    values: dict[str, Any] = {
        "boxes_xyxy": [[0, 0, 4, 6], [1, 1, 3, 2]],
        "scores": [0.5, 0.25],
        "class_ids": [0, 1],
        "names": NAMES,
        "image_size": (9, 8),
        **changes,
    }
    return Detections(**values)


VALID: list[dict[str, Any]] = [
    {"boxes_xyxy": [[1, 2, 1, 2], [-5, -5, 90, 90]]},  # of no size, and beyond all edges
    {"image_size": (1, 1)},
    {"image_size": (np.int64(9), 8.0)},
    {"track_ids": [1, 2**40]},
    {"track_ids": [-1, -1]},
    {"class_ids": np.array([1, 1], np.uint8)},
    {"scores": [0, 1e30]},
]


def test_what_is_just_valid() -> None:
    for changes in VALID:
        found = make(**changes)
        assert len(found) == 2 and list(found) == [found[0], found[1]]
        assert found.keep() == found
        assert all(type(side) is int for side in found.image_size)


NOT_VALID: list[tuple[dict[str, Any], str]] = [
        ({"image_size": (1, 0)}, "image_size: expected (width, height) of 1 or more pixels, got"
         " (1, 0)"),
        ({"class_ids": [2, 0]}, "class_ids: expected 0 to 1 for 2 names, got [0, 2]"),
        ({"boxes_xyxy": [[0, 3, 4, 2.9]] * 2}, "boxes_xyxy: expected left <= right and top <="
         " bottom"),
        ({"boxes_xyxy": np.zeros((1, 2, 4))}, "boxes_xyxy: expected the shape (N, 4), got (1, 2,"
         " 4)"),
        ({"boxes_xyxy": np.zeros((2, 3))}, "boxes_xyxy: expected the shape (N, 4), got (2, 3)"),
        ({"scores": [[0.5], [0.5]]}, "scores: expected the shape (2,), one value per box, got (2,"
         " 1)"),
        ({"boxes_xyxy": [[0, 0, 1, np.nan]] * 2}, "boxes_xyxy and scores: expected finite numbers"),
    ]  # fmt: skip


def test_what_is_just_not_valid() -> None:
    for changes, text in NOT_VALID:
        with pytest.raises(InputError) as raised:
            make(**changes)
        assert str(raised.value) == text


KEYS: list[Any] = [2, -3, np.zeros(0, bool), np.zeros((0, 2)), [[]], 1.5, [0.0]]


def test_keys_that_select_nothing() -> None:
    """An empty mask has the wrong length, too."""
    for key in KEYS:
        with pytest.raises(IndexError):
            make()[key]


def test_the_first_and_the_last() -> None:
    """Counted from both ends."""
    found = make()
    assert [found[key].name for key in (0, 1, -1, -2)] == ["cat", "dog", "dog", "cat"]
    assert len(found[[]]) == 0 and found[[]].labels == []
    assert found[np.zeros(2, bool)] == found[[]]
    assert found[:0][np.zeros(0, bool)] == found[:0][[]] == found[:0]


SIDES: list[tuple[float, list[str]]] = [
    (0, ["cat", "dog"]),
    (1, ["cat", "dog"]),
    (1.01, ["cat"]),
    (4, ["cat"]),
    (4.1, []),
]


def test_the_shorter_side() -> None:
    """4 and 1 pixels; a box of this size is kept, wherever it is."""
    for min_size, labels in SIDES:
        assert make().keep(min_size=min_size).labels == labels
        far = make(boxes_xyxy=[[50, 0, 54, 6], [0, 90, 2, 91]])
        assert far.keep(min_size=min_size).labels == labels


def test_no_size_is_infinite() -> None:
    for size in (float("inf"), float("-inf"), -0.5):
        with pytest.raises(InputError, match="expected 0 or more pixels"):
            make().keep(min_size=size)


def test_boxes_at_the_edges() -> None:
    """Cut off at each; what only touches an edge from outside is left out."""
    boxes = [[-1, -2, 20, 30], [9, 0, 12, 3], [0, 8, 3, 9], [-3, 0, 0, 3], [8.5, 7.5, 12, 12]]
    found = make(boxes_xyxy=boxes, scores=[0.5] * 5, class_ids=[0] * 5).clipped()
    assert found.boxes_xyxy.tolist() == [[0, 0, 9, 8], [8.5, 7.5, 9, 8]]
    np.testing.assert_allclose(found.boxes_cxcywh[1], [8.75 / 9, 7.75 / 8, 0.5 / 9, 0.5 / 8])


def test_one_object_in_words() -> None:
    """A tenth of a pixel, and three digits of the score."""
    one = make(boxes_xyxy=[[0.04, 0.06, 1.25, 2.36]] * 2, scores=[0.12345, 0.0004])[0]
    assert repr(one) == "Detection(name='cat', score=0.123, box_xyxy=(0.0, 0.1, 1.2, 2.4))"
    assert (one.score, one.class_id, one.track) == (pytest.approx(0.12345), 0, None)


# ---- files ---------------------------------------------------------------------------------------


def test_rounding_in_files() -> None:
    """COCO: hundredths of a pixel, five digits of the score; video: milliseconds."""
    found = make(boxes_xyxy=[[0.123, 0.456, 4.789, 6.0049]] * 2, scores=[0.1234567, 0.25])
    (first, second) = found.to_coco(7)
    assert (first["bbox"], first["area"]) == ([0.12, 0.46, 4.67, 5.55], 25.89)
    assert first["score"] == 0.12346 and first["iscrowd"] == 0
    assert (first["id"], second["id"], second["image_id"]) == (1, 2, 7)
    assert [row["image_id"] for row in found.to_coco()] == [1, 1]
    place = Record("a.mp4", found, 3, 1.23456).to_dict()
    assert (place["frame"], place["time"]) == (3, 1.235)
    assert Record("a.mp4", found, 0, 0.0).to_dict() | {"detections": 0} == {
        "file": "a.mp4",
        "frame": 0,
        "time": 0.0,
        "image_size": [9, 8],
        "detections": 0,
    }


def test_documents() -> None:
    """Ids from 1, categories from 0; how many files could not be read."""
    records = [Record("a.jpg", make()), Record("b.mp4", make()[:0], 0), Record("c.jpg", make()[:1])]
    document = coco_document(iter(records), NAMES)
    assert [image["id"] for image in document["images"]] == [1, 2, 3]
    assert [row["id"] for row in document["annotations"]] == [1, 2, 3]
    assert [row["image_id"] for row in document["annotations"]] == [1, 1, 3]
    assert document["categories"] == [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}]
    assert "frame" not in document["images"][0] and document["images"][1]["frame"] == 0
    assert json_document(records)["not_readable"] == 0
    assert json_document(records, 4)["not_readable"] == 4
    hidden = make(names=("dont_show cat", "dog"))
    (image,) = json_document([Record("a.jpg", hidden)])["images"]
    assert [row["name"] for row in image["detections"]] == ["dog"]


def test_tables() -> None:
    """One row for each object, each class, or each line; frame 0 is a frame."""
    tracked = make(track_ids=[5, -1])
    rows = list(csv.reader(io.StringIO(csv_text(iter([Record("a.mp4", tracked, 0)])))))
    assert rows[0][-2:] == ["y2", "track"]
    assert rows[1] == ["a.mp4", "0", "9", "8", "0", "cat", "0.50000", "0.00", "0.00", "4.00",
                       "6.00", "5"]  # fmt: skip
    assert rows[2][-1] == ""
    both = make(class_ids=[1, 1], names=("cat", "-dog"))
    table = counts_csv([Record("a.jpg", both), Record("b.mp4", both[:0], 0)])
    assert table.splitlines()[1:] == ["a.jpg,,1,'-dog,2", "b.mp4,0,,,0"]
    assert lines_csv([("a\r.mp4", LineCounter((0, 4, 9, 4)))]).splitlines()[1:] == [
        r'a\u000d.mp4,"0,4,9,4",,,0,0'
    ]


# ---- before suppression --------------------------------------------------------------------------


def test_rows_above_a_threshold() -> None:
    """Of objectness and of score; the threshold itself is not above it."""
    boxes = torch.arange(24.0).reshape(2, 3, 4)
    objectness = torch.tensor([[0.5, 0.6, 0.5], [0.7, 0.5, 0.9]])
    scores = torch.tensor([[[1.0, 1], [0.5, 0.6], [1, 1]], [[0.5, 0.5], [1, 1], [0.8, 0.7]]])
    rows = Candidates(boxes, objectness, scores).above(0.5)
    assert rows.image_ids.tolist() == [0, 1, 1]
    assert rows.box_ids.tolist() == [0, 2, 2]
    assert rows.class_ids.tolist() == [1, 0, 1]
    assert rows.boxes_cxcywh.tolist() == [boxes[0, 1].tolist(), *[boxes[1, 2].tolist()] * 2]
    assert rows.scores.tolist() == pytest.approx([0.6, 0.8, 0.7])
    assert rows.objectness.tolist() == pytest.approx([0.6, 0.9, 0.9])
    assert rows.num_classes == 2 and len(rows) == 3
    some: ScoredBoxes = rows.take(np.array([2, 0]))
    assert (some.class_ids.tolist(), some.box_ids.tolist(), some.num_classes) == ([1, 1], [2, 0], 2)


def test_rows_are_frozen() -> None:
    values: Any = Candidates(torch.zeros(1, 1, 4), torch.zeros(1, 1), torch.zeros(1, 1, 1))
    for value, name in (
        (values, "scores"),
        (values.above(0), "scores"),
        (Record("a", make()), "file"),
    ):
        with pytest.raises(FrozenInstanceError):
            setattr(value, name, None)
