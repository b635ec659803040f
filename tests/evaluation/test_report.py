"""The report of an evaluation, without a command."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from darknet_builder.data.image_set import ImageSet, LabelledImage
from darknet_builder.evaluation.darknet_map import ImageBoxes, mean_average_precision
from darknet_builder.evaluation.report import EvaluationReport

TRUTHS = np.array([[0.5, 0.5, 0.2, 0.2, 0], [0.2, 0.2, 0.1, 0.1, 1]], np.float32)


def report(skipped: int = 0) -> EvaluationReport:
    """Two objects, of which one is found; a third class does not occur."""
    boxes = ImageBoxes(
        TRUTHS[:1, :4], np.array([0.9], np.float32), np.array([0], np.int32), TRUTHS, (64, 64)
    )
    images = ImageSet(Path("valid.txt"), (LabelledImage(Path("a.png"), TRUTHS, None),), 3, skipped)
    return EvaluationReport(
        images, mean_average_precision([boxes], ["cat", "dog", "cow"]), None, 2.0
    )


def test_the_table() -> None:
    """Classes that do not occur are counted below it."""
    lines = report().lines()
    assert lines[0].split() == [
        "class",
        "name",
        "objects",
        "AP",
        "%",
        "TP",
        "FP",
        "FN",
        "precision",
        "recall",
        "F1",
        "IoU",
        "%",
    ]
    assert lines[1].split()[:6] == ["0", "cat", "1", "100.00", "1", "0"]
    assert lines[2].split()[:6] == ["1", "dog", "1", "0.00", "0", "0"]
    assert (
        lines[4].startswith("1 more classes: no objects")
        and "33.33 % over all 3 classes" in lines[5]
    )
    assert lines[6] == "1 images, 2 objects; 0.5 images/s; 1 images have no label file"
    assert report(skipped=2).lines()[6].endswith("; 2 bad labels skipped")


def test_plain_data() -> None:
    """Without the command's options."""
    data = report().to_dict()
    assert list(data) == [
        "skipped_labels",
        "labels_over_edge",
        "labels_at_corner",
        "images_without_labels",
        "crowds",
        "darknet",
        "coco",
        "published",
    ]
    assert data["coco"] is None and data["images_without_labels"] == 1
