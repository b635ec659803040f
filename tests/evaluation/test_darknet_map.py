"""Average precision: Darknet's recorded numbers, and its own loops on random boxes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from darknet_builder.boxes.overlap import iou
from darknet_builder.errors import InputError
from darknet_builder.evaluation.darknet_map import (
    Counts,
    Curve,
    ImageBoxes,
    MapResult,
    average_precision,
    mean_average_precision,
)
from darknet_builder.evaluation.predictions import image_boxes
from darknet_builder.prediction.postprocessing import NmsRule
from tests.helpers.darknet_images import PHOTOGRAPHS
from tests.helpers.map_fixtures import CASES, MODELS, as_recorded, key
from tests.helpers.scored_boxes import scored_boxes

SIZE = (640, 480)


def boxes_of(
    rows: list[tuple[float, int, list[float]]],
    truths: list[list[float]],
    difficult: list[list[float]] | None = None,
) -> ImageBoxes:
    """Return an image from rows (score, class, box) in Darknet's order."""
    scores, class_ids, boxes = zip(*rows, strict=True) if rows else ((), (), ())
    hard = None if difficult is None else np.array(difficult, np.float32).reshape(-1, 5)
    return ImageBoxes(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(class_ids, np.int32),
        np.array(truths, np.float32).reshape(-1, 5),
        SIZE,
        hard,
    )


LEFT, RIGHT, NOWHERE = [0.2, 0.5, 0.2, 0.4], [0.7, 0.5, 0.2, 0.4], [0.45, 0.1, 0.05, 0.1]
SHIFTED = [0.23, 0.5, 0.2, 0.4]
"""Overlaps LEFT by 17/23."""


# ---- Darknet's own numbers -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded(golden: Path) -> dict[str, Any]:
    """The numbers that ``detector map`` printed."""
    data: dict[str, Any] = json.loads((golden / "map" / "results.json").read_text())
    return data


@pytest.fixture(scope="module")
def found(golden: Path) -> dict[str, list[ImageBoxes]]:
    """The boxes of two networks in six photographs as Darknet decodes them, suppressed here."""
    with np.load(golden / "map" / "boxes.npz") as file:
        return {model: _all_suppressed(file, model) for model in MODELS}


def _all_suppressed(file: Any, model: str) -> list[ImageBoxes]:
    return [_suppressed(file, model, name) for name in PHOTOGRAPHS]


def _suppressed(file: Any, model: str, name: str) -> ImageBoxes:
    boxes, places = file[f"{model}/{name}/boxes"], file[f"{model}/{name}/places"]
    scores = np.zeros((len(boxes), 80), np.float32)
    scores[places[:, 0], places[:, 1]] = file[f"{model}/{name}/scores"]
    entry = scored_boxes(boxes, scores)
    return image_boxes(entry, file[f"truths/{name}"], SIZE, rule=NmsRule("greedynms"))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("points", "threshold"), CASES)
def test_every_recorded_number(
    recorded: dict[str, Any],
    found: dict[str, list[ImageBoxes]],
    model: str,
    points: int,
    threshold: float,
) -> None:
    """Every digit that Darknet printed is equal: mAP, AP, counts, precision, recall, F1, IoU."""
    result = mean_average_precision(
        found[model], [str(index) for index in range(80)], iou=threshold, points=points
    )
    assert as_recorded(result) == recorded[key(model, points, threshold)]


# ---- Darknet's loops, restated -------------------------------------------------------------------


def plain_loops(
    images: list[ImageBoxes], classes: int, threshold: float, points: int, confidence: float
) -> dict[str, Any]:
    """Compute the numbers loop by loop, as in detector.c:937."""
    ranked: list[tuple[float, int, int]] = []
    positives, negatives, overlap = [0] * classes, [0] * classes, 0.0
    num_truths, start = [0] * classes, 0
    for image in images:
        seen: list[int] = []
        for row in image.truths:
            num_truths[int(row[4])] += 1
        for box, score, class_id in zip(
            image.boxes_cxcywh, image.scores, image.class_ids, strict=True
        ):
            best, number = 0.0, -1
            for index, row in enumerate(image.truths):
                value = overlap_of(box, row[:4])
                if value > np.float32(threshold) and int(row[4]) == class_id and value > best:
                    best, number = value, start + index
            hard = number < 0 and is_difficult(image, box, class_id, threshold)
            if score > np.float32(confidence):
                if number >= 0 and number not in seen:
                    positives[class_id] += 1
                    overlap += best
                else:
                    negatives[class_id] += 1
            if not hard:
                ranked.append((float(score), int(class_id), number))
                seen.append(number)
        start += len(image.truths)
    ranked.sort(key=lambda row: -row[0])
    return {
        "ap": [precision_of(ranked, *pair, points) for pair in enumerate(num_truths)],
        "tp": positives,
        "fp": negatives,
        "truths": num_truths,
        "overlap": overlap,
    }


def is_difficult(image: ImageBoxes, box: np.ndarray, class_id: int, threshold: float) -> bool:
    """Whether the box is on a difficult object of its class."""
    for row in image.difficult if image.difficult is not None else []:
        if overlap_of(box, row[:4]) > np.float32(threshold) and int(row[4]) == class_id:
            return True
    return False


def overlap_of(first: np.ndarray, second: np.ndarray) -> float:
    return float(iou(torch.from_numpy(first), torch.from_numpy(second)))


def precision_of(
    ranked: list[tuple[float, int, int]], class_id: int, truths: int, points: int
) -> float:
    """Return the average precision of a class, from the ranks of all classes as Darknet does."""
    taken: set[int] = set()
    right = wrong = 0
    curve = []
    for _, other, number in ranked:
        hit = number >= 0 and number not in taken
        taken.add(number)
        right, wrong = right + (hit and other == class_id), wrong + (not hit and other == class_id)
        recall = right / truths if truths else 0.0
        curve.append((recall, right / max(right + wrong, 1)))
    if points:
        total = 0.0
        for point in range(points):
            least = point * (1 / (points - 1))
            total += max((precision for recall, precision in curve if recall >= least), default=0.0)
        return total / points
    area, last_recall, best = 0.0, *(curve[-1] if curve else (0.0, 0.0))
    for recall, precision in reversed(curve[:-1]):
        area += (last_recall - recall) * max(best, precision)
        last_recall, best = recall, max(best, precision)
    return area + last_recall * best


def random_images(
    seed: int, *, images: int = 12, classes: int = 3, difficult: bool = False
) -> list[ImageBoxes]:
    """Return boxes near ground truth, some twice, some elsewhere; some images have neither."""
    random = np.random.default_rng(seed)
    made = []
    for index in range(images):
        truths = random.uniform(0.2, 0.6, (int(random.integers(6)), 5))
        truths[:, 4] = random.integers(0, classes, len(truths))
        near = truths[random.integers(0, len(truths), 10), :4] if len(truths) else np.zeros((0, 4))
        boxes = np.concatenate(
            (
                near + random.normal(0, 0.03, near.shape),
                random.uniform(0.1, 0.5, (int(random.integers(6)), 4)),
            )
        )
        hard = random.uniform(0.2, 0.6, (3, 5))
        hard[:, 4] = random.integers(0, classes, 3)
        scores = (
            random.choice(np.linspace(0.01, 0.99, 60), len(boxes))
            if index % 4
            else np.full(len(boxes), 0.5)
        )
        made.append(
            ImageBoxes(
                boxes.astype(np.float32),
                scores.astype(np.float32),
                random.integers(0, classes, len(boxes)).astype(np.int32),
                truths.astype(np.float32),
                SIZE,
                hard.astype(np.float32) if difficult else None,
            )
        )
    return made


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("points", [0, 11, 101])
@pytest.mark.parametrize("difficult", [False, True])
def test_random_boxes_as_in_plain_loops(seed: int, points: int, difficult: bool) -> None:
    """Boxes that share a truth, equal scores, classes without truths, difficult objects."""
    images = random_images(seed, difficult=difficult)
    wanted = plain_loops(images, 4, 0.4, points, 0.25)
    result = mean_average_precision(images, ["a", "b", "c", "never"], iou=0.4, points=points)
    assert [row.average_precision for row in result.classes] == pytest.approx(
        wanted["ap"], abs=1e-12
    )
    assert [row.counts.true_positives for row in result.classes] == wanted["tp"]
    assert [row.counts.false_positives for row in result.classes] == wanted["fp"]
    assert [row.counts.truths for row in result.classes] == wanted["truths"]
    assert result.counts.overlap == pytest.approx(wanted["overlap"], rel=1e-6)
    assert result.counts.true_positives and result.counts.false_positives  # something was tested


# ---- rules, one by one ---------------------------------------------------------------------------


def result_of(*images: ImageBoxes, **options: Any) -> MapResult:
    return mean_average_precision(images, ["thing", "other"], **options)


def test_a_perfect_box() -> None:
    result = result_of(boxes_of([(0.9, 0, LEFT)], [[*LEFT, 0]]))
    row = result.classes[0]
    assert (row.average_precision, row.counts.average_iou) == (1.0, 1.0)
    assert (result.mean_average_precision, result.mean_over_present) == (
        0.5,
        1.0,
    )  # class 1 has no truths: 0


def test_the_class_must_agree() -> None:
    result = result_of(boxes_of([(0.9, 1, LEFT)], [[*LEFT, 0]]))
    assert [row.average_precision for row in result.classes] == [0, 0]
    assert result.counts == Counts(0, 1, 1, 0.0)


def test_the_overlap_must_be_larger_than_the_threshold() -> None:
    """Exactly half is not enough."""
    half = [0.25, 0.5, 0.125, 0.5]
    truth = [[0.25, 0.5, 0.25, 0.5, 0]]
    assert overlap_of(np.array(half, np.float32), np.array(truth[0][:4], np.float32)) == 0.5
    assert result_of(boxes_of([(0.9, 0, half)], truth), iou=0.5).classes[0].average_precision == 0
    assert result_of(boxes_of([(0.9, 0, half)], truth), iou=0.49).classes[0].average_precision == 1


def test_the_second_box_on_a_truth_is_wrong_even_beside_a_free_truth() -> None:
    """Unlike COCO's rule: a box belongs to the truth it overlaps most."""
    close = [0.22, 0.5, 0.2, 0.4]
    image = boxes_of([(0.9, 0, LEFT), (0.8, 0, close)], [[*LEFT, 0], [0.29, 0.5, 0.2, 0.4, 0]])
    counts = result_of(image, iou=0.4).classes[0].counts
    assert (counts.true_positives, counts.false_positives, counts.false_negatives) == (1, 1, 1)


def test_the_first_in_the_list_is_the_true_positive_above_the_confidence() -> None:
    """Even when it is itself below it, so that the better one counts as wrong."""
    image = boxes_of([(0.2, 0, SHIFTED), (0.9, 0, LEFT)], [[*LEFT, 0]])
    row = result_of(image).classes[0]
    assert (row.counts.true_positives, row.counts.false_positives) == (0, 1)
    assert row.average_precision == 1.0  # in the ranking the better one comes first


def test_a_difficult_object_need_not_be_found() -> None:
    plain = boxes_of([(0.9, 0, RIGHT), (0.8, 0, LEFT)], [[*LEFT, 0]])
    hard = boxes_of([(0.9, 0, RIGHT), (0.8, 0, LEFT)], [[*LEFT, 0]], difficult=[[*RIGHT, 0]])
    assert result_of(plain).classes[0].average_precision == 0.5
    assert result_of(hard).classes[0].average_precision == 1.0
    assert (
        result_of(hard).counts.false_positives == 1
    )  # counted before it is taken out, as in Darknet


def test_ranks_go_through_all_images() -> None:
    """TP, FP, TP over two truths: 1/2 * 1 + 1/2 * 2/3."""
    result = result_of(
        boxes_of([(0.9, 0, LEFT), (0.7, 0, NOWHERE)], [[*LEFT, 0]]),
        boxes_of([(0.5, 0, RIGHT)], [[*RIGHT, 0]]),
    )
    row = result.classes[0]
    assert row.average_precision == pytest.approx(5 / 6)
    assert row.curve.precision.tolist() == pytest.approx([1, 0.5, 2 / 3])
    assert row.curve.recall.tolist() == [0.5, 0.5, 1]
    assert row.curve.precision_at(np.array([0, 0.5, 0.6, 1, 1.1])).tolist() == pytest.approx(
        [1, 1, 2 / 3, 2 / 3, 0]
    )


def test_nothing_found() -> None:
    result = result_of(boxes_of([], [[*LEFT, 0]]), boxes_of([], []))
    assert (result.mean_average_precision, result.counts) == (0, Counts(0, 0, 1, 0.0))
    counts = result.counts
    assert (counts.precision, counts.recall, counts.f1, counts.average_iou) == (0, 0, 0, 0)


def test_11_points_read_the_curve_as_the_compiled_darknet() -> None:
    """3 of 5 is not quite 6 * .1, and 7 of 10 is."""

    def curve(steps: int, hits: int) -> Curve:
        return Curve(np.ones(hits), np.ones(hits), np.arange(1, hits + 1) / steps)

    assert average_precision(curve(5, 3), 11) == pytest.approx(6 / 11)
    assert average_precision(curve(5, 4), 11) == pytest.approx(9 / 11)
    assert average_precision(curve(2, 1), 101) == pytest.approx(51 / 101)


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        ([], {}, "expected the boxes of one or more images"),
        ([boxes_of([], [])], {"points": 10}, "points=10: expected 0, 11 or 101"),
    ],
)
def test_mistakes(images: list[ImageBoxes], options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        mean_average_precision(images, ["thing"], **options)
    assert str(caught.value) == message


def test_to_dict_is_fit_for_json() -> None:
    result = result_of(boxes_of([(0.9, 0, LEFT)], [[*LEFT, 0]]))
    data = json.loads(json.dumps(result.to_dict()))
    assert data["classes"][0] == {
        "class_id": 0,
        "name": "thing",
        "average_precision": 1.0,
        "truths": 1,
        "true_positives": 1,
        "false_positives": 0,
        "false_negatives": 0,
        "precision": 1.0,
        "recall": 1.0,
        "f1": 1.0,
        "average_iou": 1.0,
    }
    assert (data["mean_average_precision"], data["mean_average_precision_of_present_classes"]) == (
        0.5,
        1.0,
    )
