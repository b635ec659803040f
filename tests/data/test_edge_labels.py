"""Labels that reach over the edge of their image, with the boxes that Darknet makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from darknet_builder.data.anchors import box_sizes
from darknet_builder.data.data_file import DataFile
from darknet_builder.data.detector_augmentation import AugmentRule, _Crop, _move_boxes, make_sample
from darknet_builder.data.labels import read_labels
from darknet_builder.data.sample import Sample
from darknet_builder.errors import DataError, DataWarning

EDGE = Path(__file__).parent / "edge"
IMAGE = np.zeros((416, 416, 3), np.uint8)
WHOLE = _Crop(0, 0, 0, 0, False)
MIRRORED = _Crop(0, 0, 0, 0, True)
ZOOMED_OUT = _Crop(-208, -208, -208, -208, False)

DARKNET = [
    ("0.5 0.5 1.000002 1.0", WHOLE, (0.5, 0.5, 1, 1)),
    ("0.5 0.5 1.000002 1.0", ZOOMED_OUT, (0.5, 0.5, 0.500001, 0.5)),
    ("0.5 0.5 1.000002 1.0", MIRRORED, (0.5, 0.5, 1, 1)),
    ("-0.0001 0.5 0.2 0.2", WHOLE, (0.04995, 0.5, 0.0999, 0.2)),
    ("-0.0001 0.5 0.2 0.2", ZOOMED_OUT, (0.24995, 0.5, 0.1, 0.1)),
    ("-0.0001 0.5 0.2 0.2", MIRRORED, (0.95005, 0.5, 0.0999, 0.2)),
    ("0 0.5 0.2 0.2", WHOLE, (0.05, 0.5, 0.1, 0.2)),
    ("0 0 0.2 0.2", WHOLE, None),
    ("0 0 0.2 0.2", ZOOMED_OUT, None),
    ("1.05 0.5 0.2 0.2", WHOLE, (0.975, 0.5, 0.05, 0.2)),
    ("1.05 0.5 0.2 0.2", ZOOMED_OUT, (0.775, 0.5, 0.1, 0.1)),
    ("1.1 0.5 0.2 0.2", WHOLE, None),
    ("1.1 0.5 0.2 0.2", ZOOMED_OUT, (0.8, 0.5, 0.1, 0.1)),
    ("0.5 0.5 1.5 0.3", WHOLE, (0.5, 0.5, 1, 0.3)),
    ("0.5 0.5 1.5 0.3", ZOOMED_OUT, (0.5, 0.5, 0.75, 0.15)),
]
"""Label, crop and the box of fill_truth_detection (data.c:383) of the AlexeyAB build, for a network
of 416 x 416; dx = dy = -0.25 and sx = sy = 0.5 where the image is zoomed out."""


def read(folder: Path, line: str) -> np.ndarray:
    """The boxes of a label file with one line."""
    (folder / "a.txt").write_text(f"0 {line}\n")
    return read_labels(folder / "a.txt", 1)[0]


@pytest.mark.parametrize(("line", "crop", "box"), DARKNET)
def test_training_cuts_boxes_at_the_edge_of_the_crop(
    tmp_path: Path, line: str, crop: _Crop, box: tuple[float, ...] | None
) -> None:
    moved = _move_boxes(read(tmp_path, line), IMAGE, crop, (416, 416))
    expected = np.array([[*box, 0]] if box else np.zeros((0, 5)), np.float32)
    assert moved.shape == expected.shape
    assert np.abs(moved - expected).max(initial=0) < 2e-7


def test_a_whole_sample_has_the_cut_box(tmp_path: Path) -> None:
    boxes = read(tmp_path, "-0.0001 0.5 0.2 0.2")
    random = np.random.default_rng(0)
    sample = make_sample(random, AugmentRule(), [Sample(IMAGE, boxes)], (416, 416))
    assert sample.boxes[0] == pytest.approx([0.04995, 0.5, 0.0999, 0.2, 0], abs=1e-7)


def test_a_list_keeps_the_boxes_and_warns_once() -> None:
    """For mAP and anchors Darknet takes the numbers as they are: ``detector calc_anchors`` gives
    200,200, 312,438, 1000,1000 for 1000 x 1000 pixels."""
    with pytest.warns(DataWarning) as caught:
        images = DataFile.read(EDGE / "x.data").load("train")
    assert [str(warning.message) for warning in caught] == [
        f"{EDGE}/list.txt: 2 of 3 labels reach over the edge of their image ({EDGE}/0.txt:1 and 1"
        " more): training clips them there; mAP and anchors use them unchanged"
    ]
    assert (images.labels_over_edge, images.skipped_labels, images.num_boxes) == (2, 0, 3)
    expected = np.array([[0.5, 0.5, 1.000002, 1, 0], [-0.0001, 0.5, 0.2, 0.2, 0]], np.float32)
    assert np.array_equal(images[0].boxes, expected)
    sizes = [tuple(map(float, row.round())) for row in 1000 * box_sizes(images)]
    assert sorted(sizes) == [(200, 200), (312, 438), (1000, 1000)]


OUTSIDE = [
    ("1.2 .5 .2 .2", "x 1.2, width .2"),
    ("-.1 .5 .19 .2", "x -.1, width .19"),
    (".5 -0.1 .1 .1", "y -0.1, height .1"),
    (".5 .5 .1 .1\n0 320 240 64 48", "x 320, width 64"),
]


@pytest.mark.parametrize(("line", "place"), OUTSIDE)
def test_a_box_wholly_outside_is_refused(tmp_path: Path, line: str, place: str) -> None:
    with pytest.raises(DataError) as raised:
        read(tmp_path, line)
    assert str(raised.value).endswith(
        f": {place}: the box lies outside the image; expected 0 to 1, relative to the image"
    )


@pytest.mark.parametrize("line", [".5 .5 1e39 .1", "-inf .5 .1 .1", ".5 nan .1 .1"])
def test_what_is_no_number_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(DataError, match="relative to the image"):
        read(tmp_path, line)


def test_rounding_within_the_last_digit_is_no_repair(tmp_path: Path) -> None:
    """A right edge at 1.0000005 is what six decimals give; 1.00000001 is 1 in float32."""
    (tmp_path / "a.jpg").write_bytes(b"")
    (tmp_path / "a.txt").write_text("0 0.9 0.5 0.200001 0.5\n0 0.5 0.5 1.00000001 0.5\n")
    (tmp_path / "list.txt").write_text("a.jpg\n")
    data = DataFile(tmp_path / "x.data", {"classes": "1", "valid": "list.txt"})
    assert data.load("valid").labels_over_edge == 0
