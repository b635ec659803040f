"""Overlap of boxes against Darknet's box.c in plain Python, and where it needs a special case."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from darknet_builder.boxes.formats import cxcywh_to_xyxy, join, library_of, on_cpu
from darknet_builder.boxes.nms import NMS_KINDS, _too_close, best_of_groups
from darknet_builder.boxes.overlap import (
    CIOU_EPSILON,
    ciou,
    diou,
    giou,
    intersection_and_union,
    iou,
    less_distance,
    measures,
    pairwise_iou,
    slant,
)
from tests.helpers.scalar_losses import around, box_iou, box_kind

KINDS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "iou": iou, "giou": giou, "diou": partial(diou, beta=0.6), "ciou": ciou,
}  # fmt: skip


def random_boxes(count: int) -> Tensor:
    """Boxes of different shapes, most of which overlap."""
    random = np.random.default_rng(5)
    values = np.concatenate((random.random((count, 2)), random.random((count, 2)) + 0.05), 1)
    return torch.from_numpy(values)


def test_overlap_is_darknets() -> None:
    """In double precision, for 400 pairs."""
    for kind in KINDS:
        boxes = random_boxes(20)
        found = KINDS[kind](boxes[:, None], boxes[None])
        rows = [tuple(row) for row in boxes.tolist()]
        expected = [[box_kind(kind, one, other) for other in rows] for one in rows]
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-9)
        assert 50 < (pairwise_iou(boxes, boxes) == 0).sum() < 200


def test_the_exponent_of_the_distance() -> None:
    """box.c:222: (d^2 / c^2) ^ beta."""
    boxes = random_boxes(10)
    rows = [tuple(row) for row in boxes.tolist()]
    for beta in (0.3, 1.0, 2.0):
        for one, other in zip(rows, rows[1:], strict=False):
            width, height = around(one, other)
            share = ((one[0] - other[0]) ** 2 + (one[1] - other[1]) ** 2) / (width**2 + height**2)
            found = diou(torch.tensor([one]), torch.tensor([other]), beta)
            assert found.item() == pytest.approx(box_iou(one, other) - share**beta, abs=1e-6)


SPECIAL: list[tuple[tuple[float, ...], tuple[float, ...], dict[str, float]]] = [
        # equal boxes: CIoU's epsilon keeps 0 / 0 away
        ((5, 5, 4, 2), (5, 5, 4, 2), {"iou": 1, "giou": 1, "diou": 1, "ciou": 1}),
        ((0.5, 0.5, 1, 1), (0.5, 0.5, 1, 1), {"iou": 1, "giou": 1, "diou": 1, "ciou": 1}),
        # no area at one place: no overlap, and no area or diagonal to divide by
        ((5, 5, 0, 0), (5, 5, 0, 0), {"iou": 0, "giou": 0, "diou": 0, "ciou": 0}),
        # touching
        ((1, 1, 2, 2), (3, 1, 2, 2), {"iou": 0, "giou": 0, "diou": -((4 / 20) ** 0.6),
                                      "ciou": -4 / 20}),
        # apart in both directions: the product of two negative sides is no area
        ((1, 1, 2, 2), (9, 9, 2, 2), {"iou": 0, "giou": -92 / 100, "diou": -((128 / 200) ** 0.6),
                                      "ciou": -128 / 200}),
        # lines: an area of 0 around two in a row, and a diagonal
        ((1, 1, 2, 0), (4, 1, 2, 0), {"iou": 0, "giou": 0, "diou": -((9 / 25) ** 0.6)}),
        # one within the other
        ((5, 5, 4, 4), (5, 5, 2, 4), {"iou": 0.5, "giou": 0.5, "diou": 0.5}),
    ]  # fmt: skip


def test_special_cases() -> None:
    for first, second, expected in SPECIAL:
        one, other = torch.tensor(first, dtype=torch.float), torch.tensor(second, dtype=torch.float)
        for kind, value in expected.items():
            assert KINDS[kind](one, other).item() == pytest.approx(value, abs=1e-6), kind
            assert KINDS[kind](other, one).item() == pytest.approx(value, abs=1e-6), kind


def test_ciou_of_concentric_boxes() -> None:
    """Only the shapes differ: 4 / pi^2 (atan 1 - atan 0.5)^2 is v."""
    v = 4 / math.pi**2 * (math.atan(1) - math.atan(0.5)) ** 2
    found = ciou(torch.tensor([5.0, 5, 4, 4]), torch.tensor([5.0, 5, 2, 4]))
    assert found.item() == pytest.approx(0.5 - v * v / (0.5 + v + CIOU_EPSILON), abs=1e-7)
    assert slant(torch.tensor([0.0, 0, 3, 3])).item() == pytest.approx(math.pi / 4)


def test_measures_of_arrays_and_tensors() -> None:
    """The same numbers, in the library of the input."""
    rows = [[10.0, 20.0, 4.0, 6.0], [11.0, 22.0, 2.0, 10.0]]
    expected = [[8, 10], [17, 17], [12, 12], [23, 27], [24, 20], [10, 11], [20, 22]]
    for boxes in (torch.tensor(rows), np.array(rows)):
        values = measures(boxes)
        assert [value.tolist() for value in values] == expected
        assert all(type(value) is type(boxes) for value in values)
        first, second = ([value[row] for value in values] for row in (0, 1))
        inter, union = intersection_and_union(first, second)
        assert (float(inter), float(union)) == (2 * 6, 24 + 20 - 12)
        diagonal = 4**2 + 10**2
        for overlap, beta in ((0.5, 1), (0.25, 0.5)):
            one = library_of(boxes).ones(1) * overlap
            found = less_distance(one, first, second, beta)
            assert float(found[0]) == pytest.approx(overlap - (5 / diagonal) ** beta)
        corners = cxcywh_to_xyxy(boxes)
        assert corners.tolist() == [[8, 17, 12, 23], [10, 17, 12, 27]]
        assert cxcywh_to_xyxy(boxes[0]).tolist() == [8, 17, 12, 23]
        assert cxcywh_to_xyxy(boxes[0] / 4).tolist() == [2, 4.25, 3, 5.75]
        assert cxcywh_to_xyxy(boxes[None]).tolist() == [corners.tolist()]
        assert type(join((boxes, boxes))) is type(boxes)


def test_pairs_of_arrays_are_pairs_of_tensors() -> None:
    """Bit for bit, also where arrays broadcast: x and y are rows in one, and apart in the other."""
    boxes = random_boxes(30)
    several, arrays = measures(boxes), measures(boxes.numpy())
    tensors = [value[:, None] for value in several], [value[None] for value in several]
    rows = arrays[:, :, None], arrays[:, None]
    wanted, found = intersection_and_union(*tensors), intersection_and_union(*rows)
    for one, other in zip(wanted, found, strict=True):
        assert np.array_equal(one.numpy(), other)
    overlap = wanted[0] / wanted[1]
    less = less_distance(overlap, *tensors, 1.0)
    assert (less < overlap).any()
    assert np.array_equal(less.numpy(), less_distance(overlap.numpy(), *rows, 1.0))


def test_values_on_the_cpu() -> None:
    """Floating-point numbers become float32, whole ones stay; gradients are left behind."""
    half = torch.ones(2, dtype=torch.float16, requires_grad=True)
    assert on_cpu(half).dtype == np.float32
    assert on_cpu(torch.ones(2, dtype=torch.float64)).dtype == np.float32
    assert on_cpu(torch.ones(2, dtype=torch.int64)).dtype == np.int64
    assert on_cpu(torch.ones(2, dtype=torch.bool)).dtype == np.bool_


def test_the_distance_counts_against_the_threshold() -> None:
    """Both pairs have an IoU of 1/3, of which the distance takes 1/13 in the first."""
    boxes = np.array([[1, 1, 2, 2], [2, 1, 2, 2], [5, 5, 1, 1], [5, 5, 3, 1], [9, 9, 1, 1]])
    values = measures(boxes.astype(np.float64))
    better, worse = np.array([0, 0, 2]), np.array([1, 4, 3])
    for threshold, exponent, expected in (
        (0.32, None, [0, 2]),
        (0.34, None, []),
        (0.25, 1.0, [0, 2]),
        (0.26, 1.0, [2]),
        (0.26, 2.0, [0, 2]),
        (0.34, 1.0, []),
    ):
        found = _too_close(values, better, worse, threshold, exponent)
        assert found.tolist() == expected, (threshold, exponent)
    # 1/2 less 1/32, in exact numbers: this threshold is not exceeded.
    boxes = np.array([[8, 8, 4, 4], [9, 8, 2, 4]], np.float64)
    one, other = np.array([0]), np.array([1])
    for threshold, count in ((0.46875, 0), (0.46874, 1)):
        found = _too_close(measures(boxes), one, other, threshold, 1.0)
        assert len(found) == count


def test_boxes_without_area_give_no_warning() -> None:
    """0 / 0 exceeds no threshold."""
    boxes = np.zeros((3, 4), np.float32)
    with np.errstate(all="raise"):
        assert best_of_groups(boxes, np.ones(3), np.zeros(3, np.int64), 0.5).all()


def test_a_threshold_of_1_keeps_equal_boxes() -> None:
    """Although the overlap of a box with itself is rounded to more than 1, for every second box."""
    boxes = np.repeat(random_boxes(50).float().numpy(), 2, axis=0)
    values = measures(boxes)
    rows = np.arange(0, 100, 2)
    assert 10 < len(_too_close(values, rows, rows + 1, 1.0, None)) < 40
    groups = np.arange(100) // 2
    scores = np.tile(np.array([0.25, 0.5], np.float32), 50)
    for threshold, kept in ((1.0, [True, True]), (1.5, [True, True]), (0.99, [False, True])):
        for kind in NMS_KINDS:
            found = best_of_groups(boxes, scores, groups, threshold, kind=kind)
            assert found.tolist() == kept * 50
