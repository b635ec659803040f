"""``Detections`` as other programs take them: COCO, YOLO, pandas, supervision, and an array with
boxes drawn in."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from darknet_builder.boxes.detections import Detections
from darknet_builder.boxes.drawing import draw_detections
from darknet_builder.boxes.records import Record, coco_document, csv_text
from darknet_builder.errors import MissingExtraError
from darknet_builder.support.extras import load_extra

NAMES = ("cat", "dog", "cow")


def make() -> Detections:
    """Two objects in 100 x 50 pixels; the second reaches beyond the edges, and a third lies wholly
    outside."""
    return Detections(
        np.array([[10, 5, 30, 25], [-10, 20, 50, 60], [-30, 0, -20, 9]]),
        np.array([0.9, 0.5, 0.25]),
        np.array([1, 0, 2]),
        NAMES,
        (100, 50),
    )


def empty() -> Detections:
    return Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64), NAMES, (100, 50))


def test_to_coco() -> None:
    """Cut off at the edges; what lies outside is left out."""
    assert make().to_coco(7, first_id=3) == [
        {
            "id": 3,
            "image_id": 7,
            "category_id": 1,
            "bbox": [10, 5, 20, 20],
            "area": 400,
            "iscrowd": 0,
            "score": 0.9,
        },
        {
            "id": 4,
            "image_id": 7,
            "category_id": 0,
            "bbox": [0, 20, 50, 30],
            "area": 1500,
            "iscrowd": 0,
            "score": 0.5,
        },
    ]
    assert [row["id"] for row in make().to_coco()] == [1, 2]
    assert empty().to_coco() == []


def test_a_coco_document_holds_the_same() -> None:
    document = coco_document([Record("a.jpg", make()), Record("b.jpg", make())], NAMES)
    assert document["annotations"] == [*make().to_coco(1), *make().to_coco(2, first_id=3)]


def test_to_yolo_is_read_back() -> None:
    text = make().to_yolo()
    assert text == "1 0.200000 0.300000 0.200000 0.400000\n0 0.250000 0.700000 0.500000 0.600000\n"
    rows = np.array([line.split() for line in text.splitlines()], float)
    inside = make().clipped()
    np.testing.assert_array_equal(rows[:, 0], inside.class_ids)
    np.testing.assert_allclose(rows[:, 1:], inside.boxes_cxcywh, atol=1e-6)
    assert empty().to_yolo() == ""


def test_to_pandas() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    table = make().to_pandas()
    assert isinstance(table, pandas.DataFrame)
    assert list(table.columns) == ["class_id", "name", "score", "x1", "y1", "x2", "y2"]
    assert table["name"].tolist() == ["dog", "cat", "cow"]
    np.testing.assert_array_equal(table[["x1", "y1", "x2", "y2"]].to_numpy(), make().boxes_xyxy)
    assert table[table.score > 0.4].groupby("name").size().to_dict() == {"cat": 1, "dog": 1}
    nothing = empty().to_pandas()
    assert len(nothing) == 0 and list(nothing.columns) == list(table.columns)


def test_the_table_is_a_copy() -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    detections = make()
    table = detections.to_pandas()
    table.loc[0, "x1"] = 99
    assert detections == make()


def test_to_supervision() -> None:
    supervision = pytest.importorskip("supervision", reason="supervision is not installed")
    found = make().to_supervision()
    assert isinstance(found, supervision.Detections)
    np.testing.assert_array_equal(found.xyxy, make().boxes_xyxy)
    np.testing.assert_array_equal(found.confidence, make().scores)
    np.testing.assert_array_equal(found.class_id, make().class_ids)
    assert found["class_name"].tolist() == ["dog", "cat", "cow"]
    assert found[found.confidence > 0.4].class_id.tolist() == [1, 0]
    assert len(empty().to_supervision()) == 0
    image = np.zeros((50, 100, 3), np.uint8)
    assert supervision.BoxAnnotator().annotate(image.copy(), found).any()


@pytest.mark.parametrize("package", ["pandas", "supervision"])
def test_what_to_install(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError) as caught:
        getattr(make(), f"to_{package}")()
    assert (
        str(caught.value) == f"{package} is not installed: pip install 'darknet-builder[{package}]'"
    )


def test_a_broken_extra_says_what_it_lacks(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that is there but cannot be imported is not to be installed again."""
    (tmp_path / "half_installed.py").write_text("import its_missing_part\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="^No module named 'its_missing_part'$"):
        load_extra("half_installed", "half")


def test_no_extra_is_loaded_before_it_is_needed() -> None:
    code = (
        "import sys, darknet_builder.boxes.detections; "
        "print([name for name in ('pandas', 'supervision') if name in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "[]\n"
    )


def test_drawing_returns_an_array() -> None:
    image = np.full((50, 100, 3), 128, np.uint8)
    drawn = draw_detections(image, make())
    assert (drawn.shape, drawn.dtype) == (image.shape, image.dtype)
    assert (image == 128).all() and (drawn != 128).any()


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_formulas_in_a_table(name: str) -> None:
    """A spreadsheet shows the name of a file or class instead of running it."""
    found = Detections(np.array([[1, 2, 3, 4]]), np.array([0.5]), np.array([0]), (name,), (9, 9))
    (row,) = csv.DictReader(io.StringIO(csv_text([Record(f"{name}.png", found)]), newline=""))
    assert (row["file"], row["name"], row["x1"]) == (f"'{name}.png", f"'{name}", "1.00")
