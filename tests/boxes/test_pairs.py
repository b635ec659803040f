"""The pairs that suppression compares: none that matters is left out, and their number stays low."""

from __future__ import annotations

import numpy as np
import pytest

from darknet_builder.boxes import pairs
from darknet_builder.boxes.nms import NMS_KINDS, best_of_groups
from darknet_builder.boxes.pairs import overlap_pairs

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
