"""Which images each step sees: the plan, its sizes, its shares, and the batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from darknet_builder.data.detector_augmentation import AugmentRule
from darknet_builder.errors import CfgError, DataError
from darknet_builder.network.build import build_network
from darknet_builder.training.batches import Batch, Shard, StepPlan, multi_scale_factor
from tests.helpers.training_folder import TINY_CFG

RULE = AugmentRule()


def _plan(
    text: str = TINY_CFG,
    images: int = 10,
    first: int = 0,
    last: int = 20,
    rule: AugmentRule = RULE,
    shard: Shard | None = None,
    seed: int = 0,
) -> StepPlan:
    return StepPlan(
        images, build_network(text), rule, seed=seed, first=first, last=last, shard=shard
    )


def test_every_image_once_an_epoch() -> None:
    """10 images, 4 a step: 5 steps are two epochs, in different orders."""
    places = [planned.indices[0] for step in range(5) for planned in _plan().samples(step)]
    assert sorted(places[:10]) == sorted(places[10:]) == list(range(10))
    assert places[:10] != places[10:]
    assert places != [
        planned.indices[0] for step in range(5) for planned in _plan(seed=1).samples(step)
    ]


def test_going_on_gives_the_rest() -> None:
    """A plan from step 3 on is the tail of the whole plan."""
    assert list(_plan(first=3)) == list(_plan())[6:]
    assert len(_plan(first=3)) == 34


def test_parts_and_shares() -> None:
    """A batch of 4 in 2 parts; two processes have one image each of every part."""
    whole = list(_plan())
    assert [len(part) for part in whole] == [2] * 40
    shares = [list(_plan(shard=Shard(rank, 2))) for rank in range(2)]
    assert [[*first, *second] for first, second in zip(*shares, strict=True)] == whole


def test_several_images_a_sample() -> None:
    """A mosaic's samples name four images, all of one batch or none."""
    plan = _plan(rule=AugmentRule(mosaic=True))
    counts = [{len(planned.indices) for planned in plan.samples(step)} for step in range(20)]
    assert all(len(count) == 1 for count in counts) and {1} in counts and {4} in counts


def test_multi_scale() -> None:
    """random=1: factors up to 1.4 either way, steps of 32, the largest first and last
    (detector.c:196)."""
    text = (
        TINY_CFG.replace("width=64", "width=320")
        .replace("height=64", "height=256")
        .replace("classes=8", "classes=8\nrandom=1")
    )
    assert multi_scale_factor(build_network(text)) == 1.4
    plan = _plan(text, last=1000)
    largest = (round(1.4 * 320 / 32 + 1) * 32, round(1.4 * 256 / 32 + 1) * 32)
    assert plan.size_at(0) == plan.size_at(900) == plan.size_at(999) == largest == (480, 384)
    sizes = [plan.size_at(step) for step in range(1, 900)]
    assert all(sizes[step] == sizes[step + 1] for step in range(9, 18)) and len(set(sizes)) > 5
    assert all(width % 32 == 0 and height % 32 == 0 for width, height in sizes)
    widths = [width for width, _ in sizes]
    assert min(widths) < 320 <= max(widths) <= 480
    assert _plan().size_at(5) == (64, 64)


def test_mistakes() -> None:
    """No images; parts that do not divide; processes that cannot share."""
    with pytest.raises(DataError, match="the training list has no images"):
        _plan(images=0)
    with pytest.raises(CfgError, match="subdivisions=3: expected a divisor of batch=4"):
        _plan(TINY_CFG.replace("subdivisions=2", "subdivisions=3"))
    with pytest.raises(
        CfgError, match="the 2 images of each part .* cannot be shared evenly by 3 processes"
    ):
        _plan(shard=Shard(0, 3))


def test_inputs_of_a_batch() -> None:
    """Bytes in blue, green, red become red, green, blue in [0, 1]; or grey."""
    images = torch.zeros((1, 2, 2, 3), dtype=torch.uint8)
    images[..., 0] = 255  # blue
    batch = Batch(images, (torch.zeros((0, 5)),), (0,))
    x = batch.inputs(3, torch.device("cpu"))
    assert x.shape == (1, 3, 2, 2) and x[0, :, 0, 0].tolist() == [0, 0, 1]
    assert batch.inputs(1, torch.device("cpu"))[0, 0, 0, 0].item() == pytest.approx(0.114)
    assert len(batch.targets(torch.device("cpu")).boxes) == 1


def test_order_of_a_large_set_is_even() -> None:
    """Any image is as likely early as late."""
    first = [_plan(images=1000, seed=seed).samples(0)[0].indices[0] for seed in range(200)]
    assert 350 < np.mean(first) < 650
