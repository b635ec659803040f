"""Augmentation: boxes follow their objects, everything follows from the seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from darknet_builder.data.detector_augmentation import (
    AugmentRule,
    _augment,
    _Crop,
    _move_boxes,
    make_sample,
)
from darknet_builder.data.sample import Sample
from darknet_builder.errors import InputError
from darknet_builder.network.build import build_network
from tests.helpers.training_folder import TINY_CFG

NET = (96, 80)
STILL = AugmentRule()
ALL = AugmentRule(
    jitter=0.3,
    resize=1.5,
    flip=True,
    hue=0.1,
    saturation=1.5,
    exposure=1.5,
    blur=1,
    gaussian_noise=10,
    mosaic=True,
)


def _source(
    boxes: list[tuple[float, float, float, float]], size: tuple[int, int] = (200, 160)
) -> Sample:
    """White rectangles on black, one class each."""
    image = np.zeros((size[1], size[0], 3), np.uint8)
    for x, y, width, height in boxes:
        image[
            round((y - height / 2) * size[1]) : round((y + height / 2) * size[1]),
            round((x - width / 2) * size[0]) : round((x + width / 2) * size[0]),
        ] = 255
    rows = [(*box, index) for index, box in enumerate(boxes)]
    return Sample(image, np.array(rows, np.float32).reshape(-1, 5))


ONE = _source([(0.5, 0.45, 0.3, 0.4)])


def _white(image: np.ndarray) -> tuple[float, float, float, float]:
    """x, y, w, h of what is bright."""
    rows, columns = np.nonzero(image.max(2) > 127)
    height, width = image.shape[:2]
    low, high = (
        np.array([columns.min() / width, rows.min() / height]),
        np.array([(columns.max() + 1) / width, (rows.max() + 1) / height]),
    )
    return (*((low + high) / 2), *(high - low))


def test_nothing_asked_nothing_done() -> None:
    """Only the size changes."""
    sample = make_sample(np.random.default_rng(0), STILL, [ONE], NET)
    assert sample.image.shape == (80, 96, 3)
    assert np.allclose(sample.boxes, ONE.boxes)


@pytest.mark.parametrize("seed", range(12))
def test_boxes_follow_their_objects(seed: int) -> None:
    """Crop, zoom and flip: the box is where the rectangle has come to."""
    rule = AugmentRule(jitter=0.3, resize=1.5, flip=True)
    sample = make_sample(np.random.default_rng(seed), rule, [ONE], NET)
    assert len(sample.boxes) == 1
    assert np.allclose(sample.boxes[0, :4], _white(sample.image), atol=1.6 / 80)


def test_one_seed_one_sample() -> None:
    """And another seed another one."""
    sources = [_source([(0.5, 0.5, 0.4, 0.4)]), ONE, ONE, ONE]
    first, second, third = (
        make_sample(np.random.default_rng(seed), ALL, sources, NET) for seed in (1, 1, 2)
    )
    assert np.array_equal(first.image, second.image) and np.array_equal(first.boxes, second.boxes)
    assert not np.array_equal(first.image, third.image)


def test_flip() -> None:
    """About half of the samples."""
    left = _source([(0.2, 0.5, 0.2, 0.2)])
    rule = AugmentRule(flip=True)
    centres = [
        make_sample(np.random.default_rng(seed), rule, [left], NET).boxes[0, 0]
        for seed in range(40)
    ]
    assert sorted({round(float(centre), 3) for centre in centres}) == [0.2, 0.8]
    assert 10 < sum(centre > 0.5 for centre in centres) < 30


def test_small_rests_of_boxes_go() -> None:
    """Boxes of which less than a pixel of the network's input is left are dropped (data.c:392)."""
    boxes = np.array(
        [[0.1, 0.5, 0.2, 0.2, 0], [0.3, 0.5, 0.2, 0.2, 1], [0.9, 0.5, 0.2, 0.2, 2]], np.float32
    )
    crop = _Crop(
        left=79, top=0, right=0, bottom=0, flip=False
    )  # of 200 pixels; the second box ends at 80
    moved = _move_boxes(boxes, ONE.image, crop, NET)
    assert moved[:, 4].tolist() == [2]
    moved = _move_boxes(boxes, ONE.image, replace(crop, left=70), NET)
    assert moved[:, 4].tolist() == [1, 2]
    assert np.allclose(moved[0, :4], [5 / 130, 0.5, 10 / 130, 0.2])


def test_beyond_the_image_is_its_mean() -> None:
    """As in the OpenCV build, not grey and not the edge repeated."""
    sample = _augment(
        np.random.default_rng(0), STILL, ONE, (100, 80), _Crop(-100, -80, -100, -80, False)
    )
    assert np.abs(sample.image[:10].astype(float) - ONE.image.mean()).max() < 2
    assert np.allclose(sample.boxes[0, :4], [0.5, 0.475, 0.15, 0.2], atol=1e-6)


def test_letter_box_keeps_the_shape() -> None:
    """A wide image in a square network: a square object stays square."""
    source = _source([(0.5, 0.5, 0.25, 0.5)], (200, 100))
    sample = make_sample(np.random.default_rng(0), AugmentRule(letter_box=True), [source], (96, 96))
    assert np.allclose(sample.boxes[0, :4], [0.5, 0.5, 0.25, 0.25], atol=1e-6)
    assert np.allclose(_white(sample.image), [0.5, 0.5, 0.25, 0.25], atol=0.02)


def test_mixup_blends_two() -> None:
    """Both halves bright, and the boxes of both."""
    other = _source([(0.8, 0.8, 0.2, 0.2)])
    sample = make_sample(np.random.default_rng(0), STILL, [ONE, other], NET)
    assert len(sample.boxes) == 2
    assert sample.image[36, 48].tolist() == [128] * 3 or sample.image[36, 48].tolist() == [127] * 3


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("bound", [False, True])
def test_mosaic(seed: int, bound: bool) -> None:
    """Boxes stay on their objects, within the picture."""
    rule = AugmentRule(jitter=0.2, flip=True, mosaic=True, mosaic_bound=bound)
    sample = make_sample(np.random.default_rng(seed), rule, [ONE] * 4, NET)
    low, high = (
        sample.boxes[:, :2] - sample.boxes[:, 2:4] / 2,
        sample.boxes[:, :2] + sample.boxes[:, 2:4] / 2,
    )
    assert sample.image.shape == (80, 96, 3) and len(sample.boxes) >= 1
    assert (low >= -1e-6).all() and (high <= 1 + 1e-6).all()
    if bound:
        for start, end in zip(low * NET, high * NET, strict=True):
            (left, top), (right, bottom) = np.ceil(start).astype(int), np.floor(end).astype(int)
            assert sample.image[top:bottom, left:right].mean() > 225 or (end - start).min() < 8


def test_rule_of_a_cfg() -> None:
    """[net] and the last head; cutmix is refused."""
    rule = AugmentRule.of(build_network(TINY_CFG))
    assert (rule.jitter, rule.hue, rule.saturation, rule.flip, rule.mosaic) == (
        0.1,
        0.1,
        1.5,
        True,
        False,
    )
    with pytest.raises(InputError, match="cutmix=1: is only for classifiers; use mosaic=1"):
        AugmentRule.of(build_network(TINY_CFG.replace("channels=3", "channels=3\ncutmix=1")))


def test_half_of_the_batches_are_mosaics() -> None:
    """data.c:1066."""
    counts = [ALL.images_in(np.random.default_rng(seed)) for seed in range(200)]
    assert set(counts) == {1, 4} and 70 < counts.count(4) < 130
    assert {
        AugmentRule(mixup=True).images_in(np.random.default_rng(seed)) for seed in range(20)
    } == {1, 2}
    assert AugmentRule().images_in(np.random.default_rng(0)) == 1


def test_colours() -> None:
    """Exposure scales the value; hue moves on 179 steps; a still rule leaves all bytes alone."""
    grey = Sample(np.full((20, 20, 3), 100, np.uint8), np.zeros((0, 5), np.float32))
    values = [
        int(
            make_sample(
                np.random.default_rng(seed), AugmentRule(exposure=1.5), [grey], (20, 20)
            ).image[0, 0, 0]
        )
        for seed in range(50)
    ]
    assert 66 <= min(values) < 75 and 140 < max(values) <= 150
    assert (make_sample(np.random.default_rng(0), STILL, [grey], (20, 20)).image == 100).all()
