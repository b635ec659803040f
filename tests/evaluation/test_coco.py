"""COCO's numbers, where its rules agree with Darknet's and where they differ."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from darknet_builder.errors import MissingExtraError
from darknet_builder.evaluation.coco import MAX_BOXES, coco_average_precision
from darknet_builder.evaluation.darknet_map import ImageBoxes, mean_average_precision

pytest.importorskip("pycocotools", reason="the extra 'evaluate' is not installed")
SIZE = (640, 480)
NAMES = ["a", "b", "c", "never"]


def image(
    rows: list[tuple[float, int, list[float]]],
    truths: list[list[float]],
    size: tuple[int, int] = SIZE,
) -> ImageBoxes:
    scores, class_ids, boxes = zip(*rows, strict=True) if rows else ((), (), ())
    return ImageBoxes(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(class_ids, np.int32),
        np.array(truths, np.float32).reshape(-1, 5),
        size,
    )


def far_apart(seed: int) -> list[ImageBoxes]:
    """Return ground truth on a coarse grid and boxes near it, each of which can match only one."""
    random = np.random.default_rng(seed)
    images = []
    for _ in range(40):
        places = random.choice(16, int(random.integers(0, 9)), replace=False)
        truths = [
            [
                (place % 4 + 0.5) / 4,
                (place // 4 + 0.5) / 4,
                *random.uniform(0.08, 0.16, 2),
                random.integers(3),
            ]
            for place in places
        ]
        rows = []
        for truth in truths:
            for _ in range(int(random.integers(0, 3))):
                class_id = int(truth[4]) if random.random() < 0.85 else int(random.integers(3))
                rows.append(
                    (
                        float(random.random()),
                        class_id,
                        [*(np.array(truth[:4]) + random.normal(0, 0.006, 4))],
                    )
                )
        rows += [
            (
                float(random.random()) * 0.5,
                int(random.integers(3)),
                [*random.uniform(0.2, 0.8, 2), 0.05, 0.05],
            )
            for _ in range(int(random.integers(0, 3)))
        ]
        images.append(image(rows, truths))
    return images


@pytest.mark.parametrize("seed", range(4))
def test_equal_to_101_points_where_the_rules_agree(seed: int) -> None:
    """AP is equal at each IoU, and in the mean over ten of them."""
    images = far_apart(seed)
    coco = coco_average_precision(images, NAMES)

    def ours(iou: float) -> float:
        return mean_average_precision(images, NAMES, iou=iou, points=101).mean_over_present

    assert coco.ap50 == pytest.approx(ours(0.5), abs=1e-9)
    assert coco.ap75 == pytest.approx(ours(0.75), abs=1e-9)
    assert coco.ap == pytest.approx(
        np.mean([ours(iou) for iou in np.linspace(0.5, 0.95, 10)]), abs=1e-9
    )
    assert coco.ap50 is not None and 0.3 < coco.ap50 < 0.99  # not a trivial case
    precisions = []
    for iou in np.linspace(0.5, 0.95, 10):
        result = mean_average_precision(images, NAMES, iou=iou, points=101)
        precisions.append([row.average_precision for row in result.classes[:3]])
    assert coco.classes[:3] == pytest.approx(np.mean(precisions, axis=0), abs=1e-9)


def test_a_box_takes_a_free_truth() -> None:
    """COCO's greedy matching: the second box gets the other truth, which ``detector map`` would not
    give it."""
    both = image(
        [(0.9, 0, [0.2, 0.5, 0.2, 0.4]), (0.8, 0, [0.22, 0.5, 0.2, 0.4])],
        [[0.2, 0.5, 0.2, 0.4, 0], [0.26, 0.5, 0.2, 0.4, 0]],
    )
    assert coco_average_precision([both], NAMES).ap50 == pytest.approx(1)
    assert mean_average_precision([both], NAMES, points=101).mean_over_present == pytest.approx(
        51 / 101
    )


def test_sizes_are_in_pixels() -> None:
    """Boxes of 20, 60 and 200 pixels a side are small, medium and large."""
    rows = [(0.9, 0, [0.1, 0.1, 20 / 640, 20 / 480]), (0.9, 1, [0.5, 0.5, 60 / 640, 60 / 480])]
    truths = [[*rows[0][2], 0], [*rows[1][2], 1], [0.5, 0.5, 200 / 640, 200 / 480, 2]]
    result = coco_average_precision([image(rows, truths)], NAMES)
    assert (result.ap_small, result.ap_medium, result.ap_large) == pytest.approx((1, 1, 0))
    assert result.classes == pytest.approx((1, 1, 0, None))
    assert result.to_dict()["ap"] == pytest.approx(2 / 3)


def test_boxes_are_cut_off_at_the_edges() -> None:
    """A box that reaches beyond the image covers the truth wholly once it is cut off."""
    beyond = image([(0.9, 0, [0, 0.5, 0.4, 0.5])], [[0.1, 0.5, 0.2, 0.5, 0]])
    assert coco_average_precision([beyond], NAMES).ap == pytest.approx(1)


def test_nothing_found_and_nothing_there() -> None:
    nothing = coco_average_precision([image([], [[0.5, 0.5, 0.2, 0.2, 0]]), image([], [])], NAMES)
    assert (nothing.ap, nothing.ar100, nothing.ap_small) == (0, 0, None)
    empty = coco_average_precision([image([(0.5, 0, [0.5, 0.5, 0.2, 0.2])], [])], NAMES)
    assert (empty.ap, empty.classes) == (None, (None,) * 4)


def test_only_the_best_boxes_of_a_class_count() -> None:
    """A box beyond COCO's limit changes nothing, and each class has its own limit."""
    rows: list[tuple[float, int, list[float]]] = [(0.5, 0, [0.1, 0.1, 0.01, 0.01])] * MAX_BOXES
    truths = [[0.5, 0.5, 0.2, 0.2, 0], [0.5, 0.5, 0.2, 0.2, 1]]
    result = coco_average_precision(
        [image([*rows, (0.4, 0, truths[0][:4]), (0.1, 1, truths[1][:4])], truths)], NAMES
    )
    assert result.classes[:2] == pytest.approx((0, 1))


def test_pycocotools_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    coco_average_precision(far_apart(0), NAMES)
    assert capsys.readouterr() == ("", "")


def test_without_pycocotools(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pycocotools", "pycocotools.coco", "pycocotools.cocoeval"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'darknet-builder\[evaluate\]'$"):
        coco_average_precision(far_apart(0), NAMES)
