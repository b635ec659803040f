"""Bounds of random numbers in either order: Darknet swaps them (utils.c:875, 977)."""

from __future__ import annotations

import numpy as np
import pytest

from darknet_builder.data.classifier_augmentation import ClassifierRule
from darknet_builder.data.detector_augmentation import AugmentRule, make_sample
from darknet_builder.data.labels import no_boxes
from darknet_builder.data.sample import Sample, rand_scale, rand_uniform

IMAGE = np.random.default_rng(1).integers(0, 256, (24, 32, 3), np.uint8)


def test_bounds_may_come_in_either_order() -> None:
    """The same draw gives the same number."""
    drawn = [rand_uniform(np.random.default_rng(5), *bounds) for bounds in ((1, 3), (3, 1))]
    assert drawn[0] == drawn[1] == np.random.default_rng(5).uniform(1, 3)


@pytest.mark.parametrize("most", [0.5, 0.75, 1.0, 1.5])
def test_a_scale_below_1_gives_the_same_range_as_one_over_it(most: float) -> None:
    """rand_scale(.5) is .5 to 1, or 1 to 2."""
    random = np.random.default_rng(0)
    scales = np.array([rand_scale(random, most) for _ in range(500)])
    least, largest = min(most, 1 / most), max(most, 1 / most)
    assert least <= scales.min() and scales.max() <= largest
    assert most == 1 or (scales.min() < least + 0.01 and scales.max() > largest - 0.01)


def test_classifiers_train_with_factors_below_1() -> None:
    rule = ClassifierRule(
        aspect=0.75, saturation=0.75, exposure=0.75, hue=-0.1, angle=-7, min_crop=16, max_crop=24
    )
    source = Sample(IMAGE, no_boxes(), np.array([1, 0], np.float32))
    for seed in range(20):
        sample = rule.make(np.random.default_rng(seed), [source], (16, 16))
        assert sample.image.shape == (16, 16, 3)


def test_detectors_train_with_factors_below_1() -> None:
    rule = AugmentRule(jitter=-0.2, saturation=0.5, exposure=0.5, hue=-0.1, gaussian_noise=-5)
    for seed in range(20):
        sample = make_sample(
            np.random.default_rng(seed), rule, [Sample(IMAGE, no_boxes())], (32, 32)
        )
        assert sample.image.shape == (32, 32, 3)
