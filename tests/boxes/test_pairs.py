"""The pairs that suppression compares: none that matters is left out, and their number stays low."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from darknet_builder.boxes import pairs
from darknet_builder.boxes.nms import NMS_KINDS, best_of_groups
from darknet_builder.boxes.pairs import _Levels, overlap_pairs

KINDS = {
    "like an image": (1.0, 0.1, 0.5),
    "of all sizes": (1.0, 0.05, 3.0),
    "an untrained network": (1.0, 0.1, 12.0),
    "tiny and far away": (1e4, 1e-3, 2.0),
    "in pixels": (608.0, 40.0, 1.0),
}
"""Range of the centres, median size, spread of the sizes."""


def boxes_of(kind: str, count: int, seed: int = 0) -> np.ndarray:
    """Return (count, 4) float32 boxes, a tenth of them equal to another."""
    span, size, spread = KINDS[kind]
    generator = np.random.default_rng(seed)
    centres = generator.random((count, 2)) * span
    sizes = size * np.exp(generator.normal(0, spread, (count, 2)))
    boxes = np.concatenate([centres, sizes], 1)
    boxes[: count // 10] = boxes[-(count // 10) :]
    return boxes.astype(np.float32)


@pytest.mark.parametrize("threshold", [0.0, 0.01, 0.03, 0.3, 0.45, 0.7, 0.99])
@pytest.mark.parametrize("boxes_kind", KINDS)
def test_no_pair_that_matters_is_left_out(
    boxes_kind: str, threshold: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sorted boxes give what all pairs give, for all kinds of suppression."""
    boxes = boxes_of(boxes_kind, 500)
    generator = np.random.default_rng(1)
    scores = generator.integers(1, 100, len(boxes)) / np.float32(100)  # some are equal
    groups = generator.integers(0, 3, len(boxes))
    for kind in NMS_KINDS:
        monkeypatch.setattr(pairs, "_MAX_PAIRS", 1 << 18)
        whole = best_of_groups(boxes, scores, groups, threshold, kind=kind)
        assert not whole.all()
        monkeypatch.setattr(pairs, "_MAX_PAIRS", 1000)
        for block in (7, 1 << 14):
            monkeypatch.setattr(pairs, "_BLOCK", block)
            pruned = best_of_groups(boxes, scores, groups, threshold, kind=kind)
            assert np.array_equal(pruned, whole)


def test_the_number_of_pairs_grows_with_the_number_of_boxes() -> None:
    """Four times the boxes of a quarter of the size: about four times the pairs, not sixteen."""

    def count(boxes: np.ndarray) -> int:
        groups, suppressed = np.zeros(len(boxes), np.int64), np.zeros(len(boxes), bool)
        return sum(len(better) for better, _ in overlap_pairs(boxes, groups, 0.45, suppressed))

    few, many = boxes_of("like an image", 2000), boxes_of("like an image", 8000)
    many[:, 2:] /= 4
    assert count(few) < 0.25 * 2000**2 / 2
    assert count(many) < 6 * count(few)


def levels_of(widths: list[float], threshold: float, centre: float = 0) -> tuple[list[int], Any]:
    """Levels and reaches of the widths of boxes whose height is 10."""
    boxes = np.array([(centre, 0, width, 10) for width in widths], np.float64)
    found = _Levels.of(boxes, threshold)
    assert found.levels.dtype == np.int64 and (found.levels[:, 1] == 1).all()
    return found.levels[:, 0].tolist(), found.reaches.T.tolist()


def test_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers of the table in ``_Levels``: each level is a factor of 2, and the centres of
    partners are less than half of the wider box apart."""
    monkeypatch.setattr(pairs, "_MARGIN", 1.0)
    levels, reaches = levels_of([8.01, 24, 31.9, 33, 100], 0.5)
    assert levels == [1, 2, 2, 3, 4]
    expected = [[8, 8, 16], [16, 16, 32], [16, 16, 32], [32, 32, 64], [64, 64, 128]]
    np.testing.assert_allclose(reaches, expected)
    levels, reaches = levels_of([2, 5, 26], 0.25)
    assert levels == [1, 2, 3]
    np.testing.assert_allclose(reaches, [[3, 3, 12], [12, 12, 48], [48, 48, 192]])


def test_levels_leave_a_margin_for_rounding() -> None:
    """2 % on the threshold."""
    levels, reaches = levels_of([1, 2.1, 4.2], 0.5)
    assert levels == [1, 2, 3]
    wide = 1 / 0.49
    np.testing.assert_allclose(reaches[0], [0.51 * wide, 0.51 * wide, 0.51 * wide**2])


def test_levels_below_the_smallest_threshold() -> None:
    """One level, within the reach of the widest box; at 0.02, there are levels."""
    levels, reaches = levels_of([1, 1000], 0.0199)
    assert (levels, reaches) == ([1, 1], [[1000] * 3] * 2)
    assert levels_of([1.01, 1000], 0.02)[0] == [1, 2]


def test_levels_of_tiny_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Below 1/50,000 of the coordinate of their centre, they count as large as that, and the
    limits are weaker: a ratio of t / (1 + t), and a reach of the whole box."""
    monkeypatch.setattr(pairs, "_MARGIN", 1.0)
    levels, reaches = levels_of([1, 19, 21, 28], 0.5, centre=1e6)
    assert levels == [1, 1, 1, 2]
    np.testing.assert_allclose(reaches, [[27, 27, 81]] * 3 + [[81, 81, 243]])
    levels, reaches = levels_of([20.1, 21, 33], 0.5, centre=-1e6)  # not tiny
    assert levels == [1, 1, 2]
    np.testing.assert_allclose(reaches, [[16, 16, 32]] * 2 + [[32, 32, 64]])
    levels, reaches = levels_of([0, 1, 2.5], 0.5)
    assert levels[0] == 1 < levels[1] < levels[2] and (np.array(reaches) > 0).all()


@pytest.mark.parametrize("boxes_kind", KINDS)
def test_which_pairs_are_compared(boxes_kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a group whose levels differ by at most one and whose centres are within reach, no
    others, once, in the order of the better box, and not too many at a time."""
    monkeypatch.setattr(pairs, "_MAX_PAIRS", 100)
    boxes = boxes_of(boxes_kind, 120)
    groups = np.sort(np.random.default_rng(4).integers(0, 3, len(boxes)))
    found = _Levels.of(boxes.astype(np.float64), 0.45)
    x = boxes[:, 0].astype(np.float64)
    expected = set()
    for better, worse in zip(*np.triu_indices(len(boxes), 1), strict=True):
        steps = found.levels[worse] - found.levels[better]
        if groups[better] == groups[worse] and np.abs(steps).max() <= 1:
            reach = found.reaches[steps[0] + 1, better]
            if x[better] - reach <= x[worse] <= x[better] + reach:
                expected.add((int(better), int(worse)))
    told: list[tuple[int, int]] = []
    suppressed = np.zeros(len(boxes), bool)
    sizes = []
    for better, worse in overlap_pairs(boxes, groups, 0.45, suppressed):
        assert len(better) == len(worse)
        assert len(better) <= 100 or len(set(better.tolist())) == 1
        sizes.append(len(better))
        told += zip(better.tolist(), worse.tolist(), strict=True)
    assert len(told) == len(set(told)) and set(told) == expected
    assert len(sizes) < 3 * len(expected) / 100 + 10
    # Settled first: a row suppresses only after all rows better than it have.
    for group in range(3):
        order = [better for better, _ in told if groups[better] == group]
        assert order == sorted(order)


def test_what_is_suppressed_is_paired_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """From block to block: the first of equal boxes suppresses all others."""
    monkeypatch.setattr(pairs, "_MAX_PAIRS", 1)
    monkeypatch.setattr(pairs, "_BLOCK", 2)
    boxes, groups = np.ones((6, 4)), np.array([0, 0, 0, 2, 2, 2])
    suppressed = np.zeros(6, bool)
    told = []
    for better, worse in overlap_pairs(boxes, groups, 0.45, suppressed):
        told += zip(better.tolist(), worse.tolist(), strict=True)
        suppressed[worse] = True
    assert told == [(0, 1), (0, 2), (3, 4), (3, 5)]


def test_few_boxes_are_paired_with_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever they are, up to the limit."""
    boxes = np.array([[10.0**place, 0, 1, 1] for place in range(4)])
    groups, suppressed = np.zeros(4, np.int64), np.zeros(4, bool)
    for limit, count in ((6, 6), (5, 0)):
        monkeypatch.setattr(pairs, "_MAX_PAIRS", limit)
        told = [len(better) for better, _ in overlap_pairs(boxes, groups, 0.45, suppressed)]
        assert sum(told) == count
