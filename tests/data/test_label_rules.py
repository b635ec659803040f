"""Labels as people have them, case by case beside what Darknet's C code does with the line.

Recorded from the AlexeyAB build: ``fill_truth_detection`` (data.c:371) for a whole image of 416 x
416 and 3 classes, and ``read_boxes`` (data.c:195), which ``detector map`` calls (detector.c:1085).
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from darknet_builder.data.detector_augmentation import _Crop, _move_boxes
from darknet_builder.data.image_set import ImageSet, load_images
from darknet_builder.data.labels import read_labels
from darknet_builder.errors import DataError, LabelWarning

IMAGE = np.zeros((416, 416, 3), np.uint8)
WHOLE = _Crop(0, 0, 0, 0, False)
GOOD = "1 .25 .25 .1 .1"

CHANGED = [
    # constrain(0, 1, ...) of the edges, data.c:281; data.c:434 finds no w or h above 1 after it
    ("0 .5 .5 1.0001 .3", (0.5, 0.5, 1, 0.3)),
    ("0 .6 .5 1.2 .3", (0.5, 0.5, 1, 0.3)),
    ("0 .5 .4 .3 1.5", (0.5, 0.5, 0.3, 1)),
    ("0 1.05 .5 .2 .2", (0.975, 0.5, 0.05, 0.2)),
    ("0 -.05 .5 .2 .2", (0.025, 0.5, 0.05, 0.2)),
    ("0 .5 -.0001 .2 .2", (0.5, 0.04995, 0.2, 0.0999)),
    # x == 0 && y == 0 is marked in data.c:252 and left out in data.c:420
    ("0 0 0 .2 .2", None),
]
"""Line of a label file, and its box in training; ``detector map`` uses the numbers of the line."""

UNCHANGED = ["0 0 .5 .2 .2", "0 .5 0 .2 .2", "+0 .5 .5 .2 .2", "0 1 1 .2 .2", "0 .5 .5 1 1"]
"""Lines that are no mistake to Darknet, either in training or in ``detector map``."""

SKIPPED = [
    "3 .5 .5 .2 .2",  # class_id >= classes, data.c:402
    "-1 .5 .5 .2 .2",  # class_id < 0, yolo_layer.c:432
    "0 .5 .5 0 .2",  # w < lowest_w, data.c:409
    "0 .5 .5 -.1 .2",
    "0 1.2 .5 .2 .2",  # wholly outside, data.c:259
    "0 -.2 .5 .2 .2",
    "0 320 240 64 48",
    "0 .5 .5 .2",  # fscanf (data.c:217) reads the next line's class as the height, and then stops
    "0 .5 .5 .2 .2 .9",  # it stops at the sixth number
    "0 .5 .5 .2 .2 7",  # it reads a box of class 7 across two lines
    "cat .5 .5 .2 .2",  # it stops
    "0.0 .5 .5 .2 .2",  # it reads class 0, x .0, and all that follows a column early
    "0 0,5 0,5 0,2 0,2",
    "0 nan .5 .2 .2",
]
"""Lines of which Darknet makes no box, or a box that the file does not have."""


def image_list(folder: Path, *files: str) -> Path:
    """Write a list of images with these label files; the images are empty."""
    for number, text in enumerate(files):
        (folder / f"{number}.jpg").write_bytes(b"")
        (folder / f"{number}.txt").write_text(text)
    path = folder / "list.txt"
    path.write_text("".join(f"{number}.jpg\n" for number in range(len(files))))
    return path


def load(path: Path, **options: bool) -> tuple[ImageSet, list[LabelWarning]]:
    """Load a list, with the warnings about its labels."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        images = load_images(path, 3, **options)
    told = [warning.message for warning in caught]
    return images, [message for message in told if isinstance(message, LabelWarning)]


@pytest.mark.parametrize(("line", "box"), CHANGED)
def test_what_training_changes_is_kept_and_told(
    tmp_path: Path, line: str, box: tuple[float, ...] | None
) -> None:
    images, told = load(image_list(tmp_path, f"{GOOD}\n\n{line}\n"))
    assert len(told) == 1 and (told[0].num_clipped, told[0].num_dropped) == (
        (1, 0) if box else (0, 1)
    )
    assert (told[0].num_labels, told[0].label_path, told[0].label_line) == (
        2,
        str(tmp_path / "0.txt"),
        3,
    )
    boxes = images[0].boxes
    # As read_boxes: the numbers of the file, which detector map and calc_anchors use unchanged.
    assert boxes[1] == pytest.approx([*map(float, line.split()[1:]), 0])
    trained = _move_boxes(boxes, IMAGE, WHOLE, (416, 416))
    expected = [(0.25, 0.25, 0.1, 0.1, 1), *([(*box, 0)] if box else [])]
    np.testing.assert_allclose(trained, np.array(expected, np.float32), atol=2e-7)


@pytest.mark.parametrize("line", UNCHANGED)
def test_what_is_no_mistake(tmp_path: Path, line: str) -> None:
    images, told = load(image_list(tmp_path, f"{line}\n   \n{GOOD}\n"), strict=True)
    assert (told, images.num_boxes, images.skipped_labels) == ([], 2, 0)


@pytest.mark.parametrize("line", SKIPPED)
def test_what_darknet_skips_is_an_error_unless_skipped(tmp_path: Path, line: str) -> None:
    path = image_list(tmp_path, f"{GOOD}\n{line}\n{GOOD}\n")
    with pytest.raises(DataError) as raised:
        load_images(path, 3)
    assert (raised.value.path, raised.value.line) == (str(tmp_path / "0.txt"), 2)
    images, told = load(path, skip_bad_labels=True)
    assert (told, images.num_boxes, images.skipped_labels) == ([], 2, 1)


@pytest.mark.parametrize("line", [line for line, _ in CHANGED])
def test_strict_takes_what_training_changes_for_bad(tmp_path: Path, line: str) -> None:
    path = image_list(tmp_path, f"{GOOD}\n{line}\n")
    with pytest.raises(DataError) as raised:
        load_images(path, 3, strict=True)
    assert (raised.value.path, raised.value.line) == (str(tmp_path / "0.txt"), 2)
    assert str(raised.value).startswith(f"{tmp_path}/0.txt:2: {line!r}: the ")
    images, told = load(path, strict=True, skip_bad_labels=True)
    assert (told, images.num_boxes, images.skipped_labels) == ([], 1, 1)


def test_one_line_for_a_list(tmp_path: Path) -> None:
    over, corner = "0 .5 .5 1.2 .3\n", "0 0 0 .2 .2\n"
    path = image_list(tmp_path, f"{GOOD}\n", f"{GOOD}\n{over}{over}{corner}", over, corner)
    images, told = load(path)
    assert [str(message) for message in told] == [
        f"{path}: 3 of 7 labels reach over the edge of their image ({tmp_path}/1.txt:2 and 2 more):"
        f" training clips them there; 2 are centred at 0, 0 ({tmp_path}/1.txt:4 and 1 more):"
        " training leaves them out; mAP and anchors use them unchanged"
    ]
    assert (images.labels_over_edge, images.labels_at_corner) == (3, 2)


def test_thousands_are_parted(tmp_path: Path) -> None:
    _, told = load(image_list(tmp_path, f"{GOOD}\n" * 1199 + "0 0 0 .2 .2\n"))
    assert str(told[0]).endswith(
        f"/list.txt: 1 of 1,200 labels is centred at 0, 0 ({tmp_path}/0.txt:1200): training leaves"
        " it out; mAP and anchors use it unchanged"
    )


def test_reading_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(f"{GOOD}\n0 .5 .5 1.2 .3\n")
    assert len(read_labels(path, 3)[0]) == 2
    with pytest.raises(DataError, match=r"a\.txt:2: .* over the edge of the image"):
        read_labels(path, 3, strict=True)
    assert read_labels(path, 3, strict=True, skip_bad=True)[1] == 1
