"""Lines and files of Darknet's program, on boxes that can be checked by hand."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest

from darknet_builder.compat.program.boxes import ListedBoxes
from darknet_builder.compat.program.documents import (
    COCO_IDS,
    coco_results,
    image_object,
    json_document,
    label_lines,
    voc_lists,
)
from darknet_builder.compat.program.lines import object_lines
from darknet_builder.compat.program.recall import Recall
from darknet_builder.compat.program.training_lines import DarknetLines
from darknet_builder.errors import InputError
from darknet_builder.evaluation.darknet_map import ImageBoxes
from darknet_builder.training.log.step_report import StepReport

NAMES = ("cat", 'big "dog"', "dont_show_car")
BOXES = np.array([[0.75, 0.5, 0.5, 1.5], [0.25, 0.5, 0.25, 0.5], [0.5, 0.5, 0.5, 0.5]], np.float32)
SCORES = np.array([[0.5, 0.75, 0], [0.25, 0, 0.875], [0, 0, 0.5]], np.float32)
LISTED = ListedBoxes(BOXES, SCORES, NAMES, (100, 200))


def test_rows_of_a_box_are_joined() -> None:
    """Also where two boxes are at one place, of which the second begins with a lower class."""
    places, class_ids = [0, 0, 0, 1], [0, 2, 1, 1]
    scores = np.array([0.5, 0.25, 0.75, 0.125], np.float32)
    rows = ImageBoxes(
        BOXES[places], scores, np.array(class_ids, np.int32), np.zeros((0, 5), np.float32), (1, 1)
    )
    listed = ListedBoxes.of(rows, NAMES)
    assert listed.scores.tolist() == [[0.5, 0, 0.25], [0, 0.75, 0], [0, 0.125, 0]]
    assert (listed.boxes_cxcywh == BOXES[[0, 0, 1]]).all()


def test_no_boxes() -> None:
    empty = np.zeros((0, 4), np.float32)
    rows = ImageBoxes(
        empty, empty[:, 0], empty[:, 0].astype(np.int32), np.zeros((0, 5), np.float32), (1, 1)
    )
    listed = ListedBoxes.of(rows, NAMES)
    assert len(listed) == 0 and object_lines(listed) == label_lines(listed) == ""
    assert coco_results([("a.jpg", listed)]) == "[\n\n]\n"
    assert json.loads(json_document([image_object(1, listed, None)])) == [
        {"frame_id": 1, "objects": []}
    ]


def test_objects_from_left_to_right() -> None:
    """The best class of a box first, the others by number; a box of hidden classes has no line."""
    place = "\t(left_x:   50   top_y:  -50   width:   50   height:  300)\n"
    left = "\t(left_x:   13   top_y:   50   width:   25   height:  100)\n"
    assert object_lines(LISTED, extended=True) == (
        f"cat: 25%{left}dont_show_car: 88%{left}" + f'big "dog": 75%{place}cat: 50%{place}'
    )


def test_json() -> None:
    """All shown classes above Darknet's threshold, with names that JSON can read."""
    data = json.loads(image_object(7, LISTED, 'a"b.jpg'))
    assert (data["frame_id"], data["filename"]) == (7, 'a"b.jpg')
    found = [(row["class_id"], row["name"], row["confidence"]) for row in data["objects"]]
    assert found == [(0, "cat", 0.5), (1, 'big "dog"', 0.75), (0, "cat", 0.25)]
    assert data["objects"][0]["relative_coordinates"] == {
        "center_x": 0.75, "center_y": 0.5, "width": 0.5, "height": 1.5,
    }  # fmt: skip


def test_coco() -> None:
    """Boxes are cut off; an image's number is what its name begins with."""
    rows = json.loads(coco_results([("x/42a.b.jpg", LISTED), ("x.jpg", LISTED)]))
    assert [row["image_id"] for row in rows] == [42] * 5 + [0] * 5
    assert rows[0] == {"image_id": 42, "category_id": 1, "bbox": [50, 0, 50, 200], "score": 0.5}
    assert (len(COCO_IDS), COCO_IDS[11], COCO_IDS[-1]) == (80, 13, 90)
    many = ListedBoxes(BOXES, np.ones((3, 81), np.float32), ("a",) * 81, (100, 200))
    with pytest.raises(InputError, match="^eval=coco: COCO has 80 classes, and the network 81$"):
        coco_results([("a.jpg", many)])


def test_voc() -> None:
    """Pixels are counted from 1, and cut off at 1 and at the image's size."""
    texts = voc_lists([("x/a.jpg", LISTED)], 3)
    assert texts[1] == "a 0.750000 51.000000 1.000000 100.000000 200.000000\n"
    assert texts[0].splitlines()[1] == "a 0.250000 13.500000 51.000000 38.500000 151.000000"


def test_labels() -> None:
    assert label_lines(LISTED).splitlines() == [
        "1 0.7500 0.5000 0.5000 1.5000",
        "2 0.2500 0.5000 0.2500 0.5000",
        "2 0.5000 0.5000 0.5000 0.5000",
    ]


def test_recall() -> None:
    truths = np.array([[0.25, 0.5, 0.25, 0.5, 0], [0.9, 0.9, 0.1, 0.1, 0]], np.float32)
    first = Recall().after(np.zeros((0, 4), np.float32), np.zeros((0, 5), np.float32))
    assert first.line() == "    0     0     0\tRPs/Img: 0.00\tIOU: 0.00%\tRecall:0.00%"
    second = first.after(BOXES[1:], truths)
    assert second.line() == "    1     1     2\tRPs/Img: 1.00\tIOU: 50.00%\tRecall:50.00%"


def test_hours_left() -> None:
    """Each line has the estimate of the step before; one step counts a hundredth."""
    lines = DarknetLines(io.StringIO(), total=101)
    for iteration, seconds in ((1, 36.0), (2, 72.0), (3, 36.0)):
        report = StepReport(iteration, loss=1, rate=0.1, images=4, seconds=seconds, waited=1)
        lines.count(report)
        lines.step(report, average=1)
    printed = lines.out.getvalue().split("\n\n")  # type: ignore[attr-defined]
    hours = [float(line.split()[-3]) for line in printed]
    assert hours == pytest.approx([-1, 1, 1 + 0.01 * (1.98 - 1)], abs=1e-6)
    assert printed[1].startswith(
        " 2: 1.000000, 1.000000 avg loss, 0.100000 rate, 71.000000 seconds,"
    )
