"""The losses: against the same rules in plain loops, option by option, and what they refuse."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from darknet_builder.boxes.overlap import iou
from darknet_builder.errors import InputError
from darknet_builder.layers.base import AugmentOptions
from darknet_builder.layers.cost import Cost
from darknet_builder.layers.heads.anchor_head import AnchorHead, AnchorOptions, YoloLossOptions
from darknet_builder.layers.heads.detection import Detection, DetectionLossOptions
from darknet_builder.layers.heads.gaussian_yolo import GaussianYolo
from darknet_builder.layers.heads.region import Region, RegionLossOptions
from darknet_builder.layers.heads.yolo import Yolo
from darknet_builder.layers.pooling import Maxpool
from darknet_builder.layers.softmax import Softmax
from darknet_builder.layers.tree import Tree
from darknet_builder.losses.base import HeadLoss, loss_for
from darknet_builder.losses.box_gradient import overlap_gradient
from darknet_builder.losses.steps import rounds
from darknet_builder.losses.whole_network import (
    LossContext,
    LossMaps,
    Targets,
    find_loss,
    loss_inputs,
    network_loss,
)
from darknet_builder.network.build import build_network
from darknet_builder.shapes import Shape, flat
from tests.helpers.deltas import CONTEXT, NET_SIZE, delta_and_loss
from tests.helpers.scalar_losses import AnchorReference, detection_delta, dx_box_iou, region_delta

GRID = Shape(0, 4, 6)
CLASSES = 3
ANCHORS = [(8.0, 9.0), (20.0, 14.0), (24.0, 30.0), (60.0, 40.0)]


def small_head(**options: Any) -> Yolo:
    """One anchor, one class."""
    common = AnchorOptions(ANCHORS[:1], [0], 1, loss=YoloLossOptions(**options))
    return Yolo(replace(GRID, channels=5 + 1), common)


def crowded_targets(boxes: Tensor, seed: int, classes: int = CLASSES) -> Targets:
    """Boxes near predictions, boxes anywhere, and boxes in one and the same cell; the last image
    has none.

    Args:
        boxes: (B, N, 4) predicted.
    """
    generator = torch.Generator().manual_seed(seed)
    images = []
    for predicted in boxes[:-1]:
        near = predicted[torch.randperm(len(predicted), generator=generator)[:6]].clamp(0.03, 0.9)
        near = near * (1 + 0.1 * torch.rand(near.shape, generator=generator, dtype=near.dtype))
        anywhere = torch.rand(5, 4, generator=generator, dtype=near.dtype) * 0.8 + 0.1
        same = (
            anywhere[:1].repeat(4, 1)
            + torch.rand(4, 4, generator=generator, dtype=near.dtype) * 0.02
        )
        rows = torch.cat((near.clamp(max=0.95), anywhere, same))
        names = torch.randint(0, classes + 1, (len(rows), 1), generator=generator).to(
            rows
        )  # one class too many
        images.append(torch.cat((rows, names), 1)[torch.randperm(len(rows), generator=generator)])
    return Targets.of_boxes([*images, boxes.new_zeros(0, 5)])


def random_map(channels: int, seed: int, *, extremes: int = 8) -> Tensor:
    """(3, channels, 4, 6) in float64, with some values at which a logistic is exactly 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(
        3, channels, GRID.height, GRID.width, generator=generator, dtype=torch.float64
    )
    flat_raw = raw.view(-1)
    places = torch.randperm(len(flat_raw), generator=generator)[:extremes]
    flat_raw[places] = torch.where(places % 2 == 0, -2000.0, 60.0).to(raw)
    return raw


def tame_sizes(raw: Tensor, head: AnchorHead) -> Tensor:
    """w and h within what an exponential bears."""
    step = 2 if isinstance(head, GaussianYolo) else 1
    maps = head.split(raw.clone())
    maps[:, :, 2 * step : 4 * step : step] = maps[:, :, 2 * step : 4 * step : step].clamp(-3, 3)
    return maps.flatten(1, 2)


YOLO_OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "iou": {"iou_loss": "iou"},
    "giou": {"iou_loss": "giou"},
    "diou": {"iou_loss": "diou"},
    "ciou": {"iou_loss": "ciou"},
    "thresholds": {"ignore_thresh": 0.2, "truth_thresh": 0.5},
    "smooth": {
        "objectness_smooth": True,
        "ignore_thresh": 0.2,
        "truth_thresh": 0.5,
        "obj_normalizer": 0.4,
    },
    "many-anchors": {"iou_thresh": 0.2, "iou_loss": "ciou"},
    "many-anchors-giou": {"iou_thresh": -0.5, "iou_thresh_kind": "giou", "iou_loss": "giou"},
    "many-anchors-diou": {"iou_thresh": 0.2, "iou_thresh_kind": "diou"},
    "many-anchors-ciou": {"iou_thresh": 0.2, "iou_thresh_kind": "ciou", "objectness_smooth": True},
    "label-smoothing": {"label_smooth_eps": 0.1, "iou_thresh": 0.3},
    "focal": {"focal_loss": True, "counters_per_class": (10, 5, 0), "truth_thresh": 0.4},
    "counters": {
        "counters_per_class": (100, 40, 3),
        "max_delta": 7.0,
        "cls_normalizer": 0.3,
        "label_smooth_eps": 0.05,
    },
    "normalizers": {
        "iou_normalizer": 0.07,
        "obj_normalizer": 0.5,
        "cls_normalizer": 0.2,
        "uc_normalizer": 0.6,
        "iou_loss": "ciou",
    },
    "max-delta": {"max_delta": 0.05, "iou_loss": "giou", "iou_thresh": 0.2},
    "two-boxes": {"max_boxes": 2},
    "everything": {
        "objectness_smooth": True,
        "iou_thresh": 0.2,
        "iou_loss": "ciou",
        "label_smooth_eps": 0.1,
        "counters_per_class": (4, 2, 1),
        "truth_thresh": 0.45,
        "ignore_thresh": 0.3,
        "max_delta": 1.5,
        "obj_normalizer": 0.8,
        "cls_normalizer": 0.7,
        "iou_normalizer": 0.4,
    },
}


def check_anchor_head(head: AnchorHead, seed: int) -> HeadLoss:
    """The head's delta and cost against plain loops."""
    raw = tame_sizes(random_map(head.in_shape.channels, seed), head)
    raw = (
        raw.sigmoid() if getattr(head, "new_coords", False) else raw
    )  # the layer before such a head is a logistic
    targets = crowded_targets(head.decode(raw, NET_SIZE).boxes_cxcywh, seed)
    delta, loss = delta_and_loss(head, raw, targets)
    output = head.split(head(raw)).numpy()
    reference = AnchorReference(head, output, [rows.numpy() for rows in targets.boxes], NET_SIZE)
    np.testing.assert_allclose(delta, reference.delta.reshape(delta.shape), rtol=1e-9, atol=1e-12)
    assert float(loss.value) == pytest.approx(reference.cost(), rel=1e-9)
    assert int(loss.parts["count"]) == len(reference.ious) > 0
    assert float(loss.parts["iou"]) == pytest.approx(np.mean(reference.ious))
    return loss


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("new_coords", [False, True])
@pytest.mark.parametrize("name", YOLO_OPTIONS)
def test_yolo(name: str, new_coords: bool, seed: int) -> None:
    """Every option of [yolo]."""
    common = AnchorOptions(
        ANCHORS, [3, 1, 0], CLASSES, scale_x_y=1.2, loss=YoloLossOptions(**YOLO_OPTIONS[name])
    )
    head = Yolo(replace(GRID, channels=3 * (5 + CLASSES)), common, new_coords=new_coords)
    check_anchor_head(head, seed)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("point", ["center", "left_top", "right_bottom"])
@pytest.mark.parametrize("name", [name for name in YOLO_OPTIONS if name != "focal"])
def test_gaussian_yolo(name: str, point: str, seed: int) -> None:
    """Every option of [Gaussian_yolo]."""
    common = AnchorOptions(
        ANCHORS, [1, 2], CLASSES, scale_x_y=1.1, loss=YoloLossOptions(**YOLO_OPTIONS[name])
    )
    head = GaussianYolo(replace(GRID, channels=2 * (9 + CLASSES)), common, yolo_point=point)
    raw_sigmas = tame_sizes(random_map(head.in_shape.channels, seed, extremes=0), head)
    assert float(raw_sigmas.abs().max()) < 60  # an uncertainty of exactly 0 has no likelihood
    check_gaussian(head, raw_sigmas, seed)


def check_gaussian(head: GaussianYolo, raw: Tensor, seed: int) -> None:
    """As ``check_anchor_head``, for a given map."""
    targets = crowded_targets(head.decode(raw, NET_SIZE).boxes_cxcywh, seed)
    delta, loss = delta_and_loss(head, raw, targets)
    reference = AnchorReference(
        head, head.split(head(raw)).numpy(), [rows.numpy() for rows in targets.boxes], NET_SIZE
    )
    np.testing.assert_allclose(delta, reference.delta.reshape(delta.shape), rtol=1e-9, atol=1e-12)
    assert float(loss.value) == pytest.approx(reference.cost(), rel=1e-9)
    assert int(loss.parts["count"]) == len(reference.ious)
    mean = sum(reference.ious) / max(len(reference.ious), 1)
    assert float(loss.parts["iou"]) == pytest.approx(mean)


REGION_OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "bias-match": {"bias_match": True, "rescore": True, "thresh": 0.3},
    "scales": {
        "coord_scale": 2.0,
        "object_scale": 5.0,
        "noobject_scale": 0.5,
        "class_scale": 0.7,
        "thresh": 0.2,
    },
    "focal": {"focal_loss": True},
    "classfix-minus": {"classfix": -1},
    "classfix-one": {"classfix": 1, "thresh": 0.2},
    "classfix-two": {"classfix": 2, "thresh": 0.2, "focal_loss": True},
}
TREE = Tree(("animal", "plant", "cat", "dog", "poodle", "pug"), (-1, -1, 0, 0, 3, 3))


@pytest.mark.parametrize("seen", [64, 12799, 12800])
@pytest.mark.parametrize("name", REGION_OPTIONS)
@pytest.mark.parametrize("classes", ["softmax", "raw", "tree", "map"])
def test_region(name: str, classes: str, seen: int) -> None:
    """Every option of [region]."""
    tree = TREE if classes in ("tree", "map") else None
    count = TREE.size if tree else CLASSES
    head = Region(
        replace(GRID, channels=3 * (5 + count)),
        anchors=[(0.8, 0.9), (1.5, 2.5), (3.0, 2.0)],
        classes=count,
        softmax=classes != "raw",
        tree=tree,
        class_map=[4, 2] if classes == "map" else None,
        loss=RegionLossOptions(**REGION_OPTIONS[name]),
    )
    raw = random_map(head.in_shape.channels, seen, extremes=0)
    if classes == "raw":
        raw = raw.abs() * 0.2  # focal loss takes a logarithm of what Darknet leaves raw
    known = len(head.class_map) if head.class_map else count
    targets = crowded_targets(head.decode(raw, NET_SIZE).boxes_cxcywh, seen, known)
    delta, loss = delta_and_loss(head, raw, targets, LossContext(NET_SIZE, seen))
    reference = region_delta(
        head, head.activate(raw).numpy(), [rows.numpy() for rows in targets.boxes], seen
    )
    squares = (reference**2).sum((0, 1, 2, 3))
    parts = {"box": squares[:4], "objectness": squares[4:5], "classes": squares[5:]}
    for part, expected in parts.items():
        assert float(loss.parts[part]) == pytest.approx(float(expected.sum()), rel=1e-9)
    reference = reference.transpose(0, 3, 4, 1, 2).reshape(delta.shape)
    np.testing.assert_allclose(delta, reference, rtol=1e-9, atol=1e-12)
    assert float(loss.value) == pytest.approx(float((reference**2).sum()), rel=1e-9)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {
            "rescore": True,
            "object_scale": 1.5,
            "noobject_scale": 0.5,
            "class_scale": 0.8,
            "coord_scale": 5.0,
        },
        {"forced": True},
    ],
    ids=["defaults", "scales", "forced"],
)
def test_detection(options: dict[str, Any], softmax: bool, seed: int) -> None:
    """Every option of [detection] but ``random``."""
    head = Detection(
        flat(16 * (CLASSES + 2 * 5)),
        side=4,
        num=2,
        classes=CLASSES,
        softmax=softmax,
        square_root=seed != 1,
        loss=DetectionLossOptions(**options),
    )
    raw = torch.rand(
        3, head.in_shape.size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    targets = crowded_targets(torch.rand(3, 9, 4, dtype=torch.float64), seed)
    targets = Targets.of_boxes([rows[rows[:, 4] < CLASSES] for rows in targets.boxes])
    delta, _ = delta_and_loss(head, raw, targets)
    reference = detection_delta(head, head(raw).numpy(), [rows.numpy() for rows in targets.boxes])
    np.testing.assert_allclose(delta, reference, rtol=1e-9, atol=1e-12)


def test_detection_draws_by_lot() -> None:
    """With ``random``, another box of a cell learns, until 64000 images were seen."""
    head = Detection(
        flat(16 * (1 + 5 * 5)), side=4, num=5, classes=1, augment=AugmentOptions(random=1.0)
    )
    targets = Targets.of_boxes([torch.tensor([[0.4, 0.4, 0.2, 0.3, 0.0]])])
    raw = torch.rand(1, head.in_shape.size)

    def learners(seen: int) -> set[int]:
        deltas = [
            delta_and_loss(head, raw, targets, LossContext(NET_SIZE, seen))[0][0] for _ in range(20)
        ]
        return {int(np.flatnonzero(delta[96:])[0]) for delta in deltas}

    assert len(learners(63999)) > 1 and len(learners(64000)) == 1


@pytest.mark.parametrize("kind", ["iou", "giou", "diou", "ciou"])
def test_overlap_gradient(kind: str) -> None:
    """Near, far and equal boxes; also boxes of no size, which Darknet takes to be of size 1."""
    generator = torch.Generator().manual_seed(5)
    predicted, truth = (
        torch.rand(400, 4, generator=generator, dtype=torch.float64) * 0.5 + 0.01 for _ in range(2)
    )
    predicted[:40], truth[40:80, :2] = truth[:40], 2.0
    expected = [
        dx_box_iou(tuple(p), tuple(t), kind)
        for p, t in zip(predicted.tolist(), truth.tolist(), strict=True)
    ]
    np.testing.assert_allclose(
        overlap_gradient(kind, predicted, truth).numpy(), expected, rtol=1e-9, atol=1e-12
    )
    predicted[:, 2] = 0
    whole = predicted.clone()
    whole[:, 2] = 1
    assert torch.equal(
        overlap_gradient(kind, predicted, truth), overlap_gradient(kind, whole, truth)
    )


def test_overlap_gradient_of_iou_is_a_derivative_but_for_sizes() -> None:
    """x and y as autograd has them, w and h twice that."""
    predicted = torch.tensor(
        [[0.5, 0.5, 0.2, 0.3], [0.4, 0.45, 0.3, 0.3]], dtype=torch.float64, requires_grad=True
    )
    truth = torch.tensor([[0.52, 0.47, 0.25, 0.2], [0.5, 0.52, 0.3, 0.2]], dtype=torch.float64)
    (true,) = torch.autograd.grad(iou(predicted, truth).sum(), predicted)
    torch.testing.assert_close(
        overlap_gradient("iou", predicted.detach(), truth), true * torch.tensor([1, 1, 2, 2])
    )


def test_a_box_that_overflows_adds_nothing() -> None:
    """NaN and infinity become 0, not the whole network."""
    head = small_head(iou_loss="ciou")
    raw = torch.zeros(1, 6, GRID.height, GRID.width)
    raw[:, 2:4] = 500.0  # e^500 is infinite
    delta, _ = delta_and_loss(
        head, raw, Targets.of_boxes([torch.tensor([[0.5, 0.5, 0.1, 0.1, 0.0]])])
    )
    assert np.isfinite(delta).all() and np.count_nonzero(delta[:, 2:4]) == 0


def test_rounds_keep_the_order_and_never_repeat_a_place() -> None:
    """Each place's truths one after the other."""
    places = torch.tensor([7, 3, 7, 7, 3, 9])
    assert [chosen.tolist() for chosen in rounds(places)] == [[0, 1, 5], [2, 4], [3]]
    assert rounds(torch.zeros(0, dtype=torch.long)) == []


def test_gradient_is_scaled() -> None:
    """By delta_normalizer and loss_scale; the cost is not."""
    plain, scaled = small_head(), small_head(delta_normalizer=0.25)
    raw, targets = (
        torch.randn(1, 6, GRID.height, GRID.width),
        Targets.of_boxes([torch.tensor([[0.5, 0.5, 0.2, 0.2, 0.0]])]),
    )
    delta, loss = delta_and_loss(plain, raw, targets)
    other, other_loss = delta_and_loss(scaled, raw, targets, replace(CONTEXT, loss_scale=128.0))
    np.testing.assert_allclose(other, 32 * delta, rtol=1e-6)
    assert float(loss.value) == float(other_loss.value)


def test_half_precision_maps() -> None:
    """The arithmetic is float32, the gradient of the map's own kind."""
    head = small_head()
    raw = torch.randn(1, 6, GRID.height, GRID.width).bfloat16().requires_grad_()
    loss = find_loss(head)(head, raw, Targets.of_boxes([torch.zeros(0, 5)]), CONTEXT)
    loss.value.backward()
    assert (
        raw.grad is not None
        and raw.grad.dtype == torch.bfloat16
        and loss.value.dtype == torch.float32
    )


# ---- classifiers ---------------------------------------------------------------------------------


def test_softmax_is_the_cross_entropy() -> None:
    """Value and gradient, for class numbers."""
    raw, labels = torch.randn(4, 6, dtype=torch.float64), torch.tensor([0, 5, 2, 2])
    delta, loss = delta_and_loss(Softmax(flat(6)), raw, Targets.of_labels(labels, 6))
    leaf = raw.clone().requires_grad_()
    expected = F.cross_entropy(leaf, labels, reduction="sum")
    (gradient,) = torch.autograd.grad(expected, leaf)
    expected = expected.detach()
    np.testing.assert_allclose(delta, -gradient.numpy(), atol=1e-12)
    assert float(loss.value) == pytest.approx(float(expected))


def test_softmax_with_temperature_and_shares() -> None:
    """Darknet leaves the temperature out of the gradient, and the shares out of the cost."""
    raw, shares = torch.randn(1, 3, dtype=torch.float64), torch.tensor([[0.25, 0.75, 0.0]])
    delta, loss = delta_and_loss(Softmax(flat(3), temperature=2.0), raw, Targets(shares=shares))
    predicted = (raw / 2).softmax(1)
    np.testing.assert_allclose(delta, shares.numpy() - predicted.numpy(), atol=1e-12)
    assert float(loss.value) == pytest.approx(-float(predicted[0, :2].log().sum()))


@pytest.mark.parametrize(
    ("kind", "delta", "cost"),
    [
        ("sse", [0.5, -1.5, 1.0, -0.25], 0.25 + 2.25 + 1 + 0.0625),
        ("masked", [0.5, -1.5, 1.0, -0.25], 3.5625),
        ("smooth", [0.5, -1, 1, -0.25], 0.25 + 2 + 1 + 0.0625),
        ("L1", [1, -1, 1, -1], 3.25),
    ],
)
def test_cost(kind: str, delta: list[float], cost: float) -> None:
    """Each kind, with the sign of Darknet's GPU code; ``scale`` acts on the gradient alone."""
    raw = torch.tensor([[0.5, 1.5, 0, 0.25]])
    ours, loss = delta_and_loss(
        Cost(flat(4), kind=kind, scale=2.0), raw, Targets(shares=torch.tensor([[1.0, 0, 1, 0]]))
    )
    assert ours.tolist() == [[2 * value for value in delta]]
    assert float(loss.value) == pytest.approx(cost)


CLASSIFIER = """[net]
width=8
height=8
channels=3
[convolutional]
filters=5
size=1
activation=linear
[avgpool]
[softmax]
"""


@pytest.mark.parametrize(
    ("end", "count", "factor"), [("", 1, 1), ("[cost]\n", 2, 2), ("[cost]\nscale=3\n", 2, 4)]
)
def test_cost_after_softmax_adds_up(end: str, count: int, factor: float) -> None:
    """Both write into the softmax's delta, which is handed on past the softmax."""
    network = build_network(CLASSIFIER + end)
    maps = [raw.detach().requires_grad_() for raw in loss_inputs(network, torch.rand(2, 3, 8, 8))]
    targets = Targets.of_labels(torch.tensor([1, 4]), 5)
    report = network_loss(network, maps, targets, seen=2)
    report.total.backward()
    assert [loss.section for loss in report.heads] == ["softmax", "cost"][:count] and report.heads[
        0
    ].layer == 2
    assert targets.shares is not None
    expected = targets.shares - maps[0].detach().flatten(1).softmax(1)
    total = sum(raw.grad.flatten(1) for raw in maps if raw.grad is not None)
    torch.testing.assert_close(total, -factor * expected)
    assert float(report.cost) == pytest.approx(float(report.total.detach()) / count)


def test_cost_alone() -> None:
    """Without a softmax before it, it learns from what the layer before gives."""
    network = build_network(CLASSIFIER.replace("[softmax]", "[cost]"))
    (raw,) = loss_inputs(network, torch.rand(2, 3, 8, 8))
    assert raw.shape == (2, 5, 1, 1)
    report = network_loss(network, [raw], Targets.of_labels(torch.tensor([1, 4]), 5), seen=2)
    assert [loss.section for loss in report.heads] == ["cost"]


# ---- the whole network ---------------------------------------------------------------------------

DETECTOR = """[net]
width=32
height=32
channels=3
[convolutional]
filters=12
size=8
stride=8
activation=linear
[yolo]
mask=0,1
num=2
anchors=8,8, 16,16
classes=1
{first}
[convolutional]
filters=6
size=1
activation=linear
[yolo]
mask=1
num=2
anchors=8,8, 16,16
classes=1
"""


def test_network_loss_names_its_heads() -> None:
    """Layer, section, parts; the maps are those of ``network(x)``."""
    network = build_network(DETECTOR.format(first="max_delta=3"))
    x, targets = (
        torch.rand(2, 3, 32, 32),
        Targets.of_boxes([torch.tensor([[0.5, 0.5, 0.3, 0.3, 0]]), torch.zeros(0, 5)]),
    )
    maps = LossMaps(network)(x)
    for ours, theirs in zip(maps, network(x), strict=True):
        torch.testing.assert_close(ours, theirs)
    report = network_loss(network, maps, targets, seen=2)
    assert [(loss.layer, loss.section) for loss in report.heads] == [(1, "yolo"), (3, "yolo")]
    assert set(report.heads[0].parts) == {"box", "objectness", "classes", "count", "iou"}
    assert float(report.total.detach()) == pytest.approx(
        sum(float(loss.value.detach()) for loss in report.heads)
    )
    report.total.backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_net_size_of_another_input() -> None:
    """Anchors are in pixels of what the network saw, not of what its cfg says."""
    network = build_network(DETECTOR.format(first="max_delta=3"))
    wide = build_network(DETECTOR.format(first="max_delta=3"), width=64, height=32)
    wide.load_state_dict(network.state_dict())
    maps = [raw.detach() for raw in loss_inputs(wide, torch.rand(1, 3, 32, 64))]
    targets = Targets.of_boxes([torch.tensor([[0.5, 0.5, 0.3, 0.3, 0]])])
    ours = network_loss(network, maps, targets, seen=1, net_size=(64, 32))
    assert float(ours.total) == float(network_loss(wide, maps, targets, seen=1).total)
    assert float(ours.total) != float(network_loss(network, maps, targets, seen=1).total)


def test_onlyforward_heads_do_not_learn() -> None:
    """Their maps are still given, so that they match ``network(x)``."""
    network = build_network(DETECTOR.format(first="onlyforward=1"))
    maps = loss_inputs(network, torch.rand(1, 3, 32, 32))
    assert len(maps) == 2
    report = network_loss(network, maps, Targets.of_boxes([torch.zeros(0, 5)]), seen=1)
    assert [loss.layer for loss in report.heads] == [3]


def test_targets_move_between_devices() -> None:
    """Boxes and shares."""
    targets = Targets((torch.zeros(2, 5),), torch.zeros(1, 3)).to("meta")
    assert targets.boxes[0].is_meta and targets.shares is not None and targets.shares.is_meta


def test_boxes_without_size_are_left_out() -> None:
    """A logarithm of 0 would be the end of the training."""
    head = small_head()
    raw = torch.randn(1, 6, GRID.height, GRID.width)
    empty, _ = delta_and_loss(head, raw, Targets.of_boxes([torch.zeros(0, 5)]))
    flat_box, _ = delta_and_loss(
        head,
        raw,
        Targets.of_boxes([torch.tensor([[0.5, 0.5, 0, 0.2, 0.0], [0.5, 0.5, 0.2, 0, 0.0]])]),
    )
    np.testing.assert_array_equal(empty, flat_box)


# ---- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: Targets.of_boxes([torch.zeros(3, 4)]),
            (
                "image 0 of the batch: expected boxes of shape (T, 5), rows x, y, w, h, class, got"
                " (3, 4)"
            ),
        ),
        (
            lambda: Targets(shares=torch.zeros(3)),
            "expected class probabilities (shares) of shape (B, C), got (3,)",
        ),
        (
            lambda: Targets.of_labels(torch.tensor([0, 7]), 5),
            "expected class numbers from 0 to 4, got 0 to 7",
        ),
        (
            lambda: find_loss(Maxpool(Shape(3, 8, 8), size=2, stride=(2, 2), padding=0)),
            (
                "[maxpool] has no loss; expected one of [Gaussian_yolo], [cost], [detection],"
                " [region], [softmax], [yolo]"
            ),
        ),
        (
            lambda: delta_and_loss(
                Cost(flat(2), kind="seg"), torch.zeros(1, 2), Targets(shares=torch.zeros(1, 2))
            ),
            "[cost] type=seg cannot be trained; expected sse, smooth or L1",
        ),
        (
            lambda: delta_and_loss(
                Softmax(flat(2)), torch.zeros(1, 2), Targets.of_boxes([torch.zeros(0, 5)])
            ),
            "expected class probabilities (shares) of shape (1, 2), got None",
        ),
        (
            lambda: delta_and_loss(
                Softmax(flat(2)), torch.zeros(1, 2), Targets(shares=torch.zeros(1, 3))
            ),
            "expected class probabilities (shares) of shape (1, 2), got (1, 3)",
        ),
        (
            lambda: delta_and_loss(
                small_head(),
                torch.zeros(2, 6, GRID.height, GRID.width),
                Targets.of_boxes([torch.zeros(0, 5)]),
            ),
            "expected 2 lists of boxes, one for each image of the batch, got 1",
        ),
        (
            lambda: loss_inputs(
                build_network(CLASSIFIER.replace("[softmax]\n", "")), torch.zeros(1, 3, 8, 8)
            ),
            (
                "<text>:1: [net]: the network cannot be trained: expected a detection head ([yolo],"
                " [region], ...), or [softmax] or [cost] at the end"
            ),
        ),
        (
            lambda: network_loss(build_network(CLASSIFIER), [], Targets(), seen=1),
            "expected 1 maps, as loss_inputs(network, x) returns them, got 0",
        ),
        (
            lambda: network_loss(
                build_network(CLASSIFIER + "onlyforward=1\n"),
                [torch.zeros(1, 5)],
                Targets(),
                seen=1,
            ),
            (
                "<text>:1: [net]: the network cannot be trained: every head has onlyforward=1; "
                "remove it from one"
            ),
        ),
    ],
)
def test_refusals(call: Any, message: str) -> None:
    """One line that says what was expected."""
    with pytest.raises(InputError) as error:
        call()
    assert str(error.value) == message


def test_a_section_has_one_loss() -> None:
    """As layers have one class."""
    with pytest.raises(ValueError, match=r"\[yolo\] has two losses: yolo_loss, other"):

        @loss_for("yolo")
        def other(*args: Any) -> HeadLoss:
            raise AssertionError
