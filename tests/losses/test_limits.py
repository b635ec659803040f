"""The losses at their limits: thresholds that are met exactly, one positive or none, boxes apart."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from darknet_builder.errors import InputError
from darknet_builder.layers.cost import Cost
from darknet_builder.layers.heads.anchor_head import AnchorOptions, YoloLossOptions
from darknet_builder.layers.heads.detection import Detection, DetectionLossOptions
from darknet_builder.layers.heads.gaussian_yolo import GaussianYolo
from darknet_builder.layers.heads.region import Region, RegionLossOptions
from darknet_builder.layers.heads.yolo import Yolo
from darknet_builder.losses.base import HeadLoss
from darknet_builder.losses.box_gradient import overlap_gradient
from darknet_builder.losses.steps import best_overlaps, focal_deltas
from darknet_builder.losses.whole_network import (
    LossContext,
    LossMaps,
    LossReport,
    Targets,
    loss_inputs,
    loss_sources,
    network_loss,
)
from darknet_builder.network.build import build_network
from darknet_builder.shapes import Shape, flat
from tests.helpers.deltas import delta_and_loss
from tests.helpers.scalar_losses import dx_box_iou

NET = (64, 64)
GRID = Shape(0, 2, 2)
NONE = Targets.of_boxes([torch.zeros(0, 5)])
NEAR = [0.25, 0.25, 0.5, 0.25, 0.0]
"""Half of what the first anchor predicts in the first cell, so its IoU is exactly 0.5."""


def targets_of(*rows: list[float]) -> Targets:
    """Boxes of one image."""
    return Targets.of_boxes([torch.tensor(rows, dtype=torch.float64).view(-1, 5)])


def exact_head(
    anchors: tuple[tuple[float, float], ...] = ((32.0, 32.0),), classes: int = 1, **options: Any
) -> Yolo:
    """A head whose map holds activated values, on a grid of 2 x 2 cells of half the image."""
    common = AnchorOptions(
        list(anchors), list(range(len(anchors))), classes, loss=YoloLossOptions(**options)
    )
    return Yolo(replace(GRID, channels=len(anchors) * (5 + classes)), common, new_coords=True)


def exact_map(head: Yolo, class_value: float = 0.75) -> Tensor:
    """All values 0.5: each box is in the middle of its cell and has its anchor's size."""
    raw = torch.full((1, head.in_shape.channels, 2, 2), 0.5, dtype=torch.float64)
    head.split(raw)[:, :, 5:] = class_value
    return raw


def objectness(head: Yolo, raw: Tensor, targets: Targets) -> list[list[float]]:
    """The delta of objectness in each anchor's first cell and in its last, which has no target."""
    delta, _ = delta_and_loss(head, raw, targets, LossContext(NET))
    maps = head.split(torch.from_numpy(delta))[0, :, 4]
    return maps[:, [0, 1], [0, 1]].tolist()


# ---- thresholds ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "class_value", "expected"),
    [
        ({"ignore_thresh": 0.5}, 0.75, -0.5),
        ({"ignore_thresh": 0.49}, 0.75, 0.0),
        ({"ignore_thresh": 0.49}, 0.25, -0.5),
        ({"ignore_thresh": 0.49}, 0.26, 0.0),
        ({"ignore_thresh": 0.6, "truth_thresh": 0.5}, 0.75, -0.5),
        ({"ignore_thresh": 0.6, "truth_thresh": 0.49}, 0.75, 0.5),
        ({"ignore_thresh": 0.6, "iou_thresh": 0.5}, 0.75, -0.5),
        ({"ignore_thresh": 0.6, "iou_thresh": 0.49}, 0.75, 0.5),
    ],
)
def test_yolo_thresholds_must_be_exceeded(
    options: dict[str, Any], class_value: float, expected: float
) -> None:
    """The first anchor overlaps the box by exactly 0.5; the second is the box's own."""
    head = exact_head(((32.0, 32.0), (32.0, 16.0)), **options)
    found = objectness(head, exact_map(head, class_value), targets_of(NEAR))
    assert found == [[expected, -0.5], [0.5, -0.5]]


@pytest.mark.parametrize("classfix", [0, 1])
@pytest.mark.parametrize(("thresh", "exceeded"), [(0.5, False), (0.49, True)])
def test_region_threshold_must_be_exceeded(classfix: int, thresh: float, exceeded: bool) -> None:
    """As for [yolo]; with ``classfix`` the first anchor then learns the class as well."""
    head = Region(
        replace(GRID, channels=2 * (5 + 2)),
        anchors=[(1.0, 1.0), (1.0, 0.5)],
        classes=2,
        loss=RegionLossOptions(thresh=thresh, classfix=classfix),
    )
    raw = torch.zeros(1, head.in_shape.channels, 2, 2, dtype=torch.float64)
    delta, _ = delta_and_loss(head, raw, targets_of(NEAR), LossContext(NET, seen=12800))
    first = delta.reshape(2, 7, 2, 2)[0, :, 0, 0].tolist()
    assert first[4] == (0 if exceeded else -0.125)  # (0 - 0.5) times the logistic's slope, 0.25
    assert first[5] == (1 if exceeded and classfix else 0)


def test_objectness_that_underflowed_learns() -> None:
    """With ``objectness_smooth`` a positive keeps any other delta (yolo_layer.c:578)."""
    head = exact_head(objectness_smooth=True)
    raw = exact_map(head)
    assert objectness(head, raw, targets_of(NEAR)) == [[-0.5, -0.5]]
    head.split(raw)[:, :, 4] = 0
    assert objectness(head, raw, targets_of(NEAR)) == [[1, 0]]


def test_only_learnt_classes_are_counted() -> None:
    """A class whose delta is exactly 0 does not divide the box's deltas (averages_yolo_deltas)."""
    head = exact_head(classes=3, iou_thresh=0.9)
    boxes = []
    for class_value in (0.0, 0.5):
        delta, _ = delta_and_loss(
            head, exact_map(head, class_value), targets_of(NEAR), LossContext(NET)
        )
        boxes.append(delta[0, :4, 0, 0].tolist())
    assert boxes[0] == boxes[1] and any(boxes[0])


def test_focal_deltas_of_a_class_without_probability() -> None:
    """The logarithm is of a number just above 0."""
    found = focal_deltas(torch.zeros(1, 2), torch.tensor([[1]]))
    np.testing.assert_allclose(found.numpy(), [[0, 0.5]])


def test_gaussian_yolo_has_no_focal_loss() -> None:
    """The option is for [yolo] alone."""
    head, raw = heads_and_maps()["Gaussian_yolo"]
    plain, _ = delta_and_loss(head, raw, targets_of(NEAR), LossContext(NET))
    head.loss = replace(head.loss, focal_loss=True)
    focal, _ = delta_and_loss(head, raw, targets_of(NEAR), LossContext(NET))
    assert plain[0, 9, 0, 0] == 0.5
    np.testing.assert_array_equal(focal, plain)


def test_overlap_that_is_not_a_number() -> None:
    """It is never the best one, as a comparison with NaN is false in C."""
    nan = float("nan")
    boxes = torch.tensor([[0.5, 0.5, nan, 0.5], [0.5, 0.5, 0.5, 0.5]])
    best, row = best_overlaps(boxes, torch.tensor([[0, 0.5, 0.5, 0.5, 0.25, 0]]), 1)
    assert best.tolist() == [0, 0.5] and row.tolist() == [0, 0]


@pytest.mark.parametrize(("second_width", "learns"), [(0.0, 1), (-1000.0, 0)])
def test_region_anchor_that_is_not_a_number(second_width: float, learns: int) -> None:
    """Another anchor matches, and the first one if the other has no width."""
    head = Region(replace(GRID, channels=2 * 6), anchors=[(1.0, 1.0), (1.0, 0.5)], classes=1)
    raw = torch.zeros(1, 2, 6, 2, 2, dtype=torch.float64)
    raw[:, 0, 2], raw[:, 1, 2] = float("nan"), second_width
    context = LossContext(NET, seen=12800)
    delta, _ = delta_and_loss(head, raw.flatten(1, 2), targets_of(NEAR), context)
    objectness = delta.reshape(2, 6, 2, 2)[:, 4, 0, 0].tolist()
    assert (objectness[learns], objectness[1 - learns]) == (0.125, -0.125)


# ---- no positive, one, two -----------------------------------------------------------------------


def heads_and_maps() -> dict[str, tuple[Any, Tensor]]:
    """Heads that predict, in each cell, a box of the cell's size and place."""
    anchors = AnchorOptions([(32.0, 32.0)], [0], 1, loss=YoloLossOptions(iou_loss="iou"))
    yolo = exact_head(iou_loss="iou")
    return {
        "yolo": (yolo, exact_map(yolo)),
        "Gaussian_yolo": (
            GaussianYolo(replace(GRID, channels=10), anchors),
            torch.zeros(1, 10, 2, 2, dtype=torch.float64),
        ),
        "region": (
            Region(replace(GRID, channels=6), anchors=[(1.0, 1.0)], classes=1),
            torch.zeros(1, 6, 2, 2, dtype=torch.float64),
        ),
        "detection": (
            Detection(flat(4 * 6), side=2, num=1, classes=1),
            torch.full((1, 24), 0.5, dtype=torch.float64),
        ),
    }


@pytest.mark.parametrize("section", ["yolo", "Gaussian_yolo", "region", "detection"])
def test_reported_count_and_overlap(section: str) -> None:
    """The overlap is a mean, and 0 without a positive."""
    head, raw = heads_and_maps()[section]
    boxes = [NEAR, [0.75, 0.75, 0.25, 0.5, 0.0]]
    for count in range(3):
        _, loss = delta_and_loss(head, raw, targets_of(*boxes[:count]), LossContext(NET))
        assert int(loss.parts["count"]) == count
        assert float(loss.parts["iou"]) == (0.5 if count else 0.0)
        # Only [yolo] adds a mean to its cost; ``network_loss`` sets layer and section.
        assert float(loss.mean) == (0.75 * 0.5 if count and section == "yolo" else 0.0)
        assert (loss.layer, loss.section) == (-1, "")


@pytest.mark.parametrize(
    ("boxes", "classes", "mean"), [([], 0.0, 0.0), ([NEAR], 0.0625, 0.75 * 0.5)]
)
def test_yolo_cost_of_few_positives(boxes: list[Any], classes: float, mean: float) -> None:
    """Four cells with an objectness of 0.5; a positive adds its class and its missed overlap."""
    head = exact_head(iou_loss="iou")
    _, loss = delta_and_loss(head, exact_map(head), targets_of(*boxes), LossContext(NET))
    assert float(loss.parts["objectness"]) == 4 * 0.25
    assert float(loss.parts["classes"]) == classes
    assert float(loss.mean) == mean
    assert float(loss.value) == 1 + classes + mean


# ---- boxes of YOLO v1 ----------------------------------------------------------------------------


def learning_boxes(num: int, coordinates: list[float], row: list[float], **options: Any) -> Tensor:
    """The boxes of the first cell whose coordinates learn from one ground truth box."""
    head = Detection(flat(4 * (1 + num * 5)), side=2, num=num, loss=DetectionLossOptions(**options))
    raw = torch.zeros(1, head.in_shape.size, dtype=torch.float64)
    raw[0, 4 * (1 + num) :] = torch.tensor(coordinates * 4)
    delta, _ = delta_and_loss(head, raw, targets_of(row), LossContext(NET))
    return torch.from_numpy(delta)[0, 4 * (1 + num) :].view(4, num, 4)[0].any(1).nonzero().flatten()


def test_nearest_box_learns_where_none_overlaps() -> None:
    """Not the box with the smallest coordinates."""
    coordinates = [0.1, 0.1, 0.05, 0.05, 0.6, 0.6, 0.05, 0.05]
    assert learning_boxes(2, coordinates, [0.4, 0.4, 0.05, 0.05, 0.0]).tolist() == [1]


def test_forced_box_of_a_single_one() -> None:
    """``forced`` gives small objects to the second box; Darknet then writes past a single one."""
    for num, height, expected in ((1, 0.4, 0), (2, 0.4, 1), (3, 0.4, 1), (2, 0.5, 0)):
        found = learning_boxes(num, [0.1] * 4 * num, [0.2, 0.2, 0.2, height, 0.0], forced=True)
        assert found.tolist() == [expected]


@pytest.mark.parametrize(
    ("x", "width", "height", "learns"),
    [
        (0.2, 0.005, 0.005, True),
        (0.001, 0.005, 0.005, True),
        (0.2, 0.0049, 0.3, False),
        (0.2, 0.3, 0.0049, False),
    ],
)
def test_smallest_box(x: float, width: float, height: float, learns: bool) -> None:
    """Either side of a smaller one leaves it out (data.c:210)."""
    for row in ([x, 0.2, width, height, 0.0], [0.2, x, width, height, 0.0]):
        assert len(learning_boxes(1, [0.1] * 4, row)) == learns


# ---- the gradient of an overlap ------------------------------------------------------------------

SIDES_IN_LINE = [
    [0.5625, 0.5, 0.375, 0.5],
    [0.4375, 0.5, 0.375, 0.5],
    [0.5, 0.5625, 0.5, 0.375],
    [0.5, 0.4375, 0.5, 0.375],
    [0.53125, 0.53125, 0.1875, 0.1875],
    [0.75, 0.5, 0.25, 0.125],
    [0.25, 0.5, 0.25, 0.125],
    [0.5, 0.75, 0.125, 0.25],
]
"""Boxes that share one or two sides with (0.5, 0.5, 0.25, 0.25)."""


@pytest.mark.parametrize("kind", ["iou", "giou", "diou", "ciou"])
def test_overlap_gradient_of_boxes_with_common_sides(kind: str) -> None:
    """A side in line with the other box's bounds neither the intersection nor what is around."""
    box = [0.5, 0.5, 0.25, 0.25]
    truth = torch.tensor(SIDES_IN_LINE, dtype=torch.float64)
    for first, second in (
        (truth.new_tensor([box]).expand_as(truth), truth),
        (truth, truth * 0 + truth.new_tensor(box)),
    ):
        expected = [
            dx_box_iou(tuple(p), tuple(t), kind)
            for p, t in zip(first.tolist(), second.tolist(), strict=True)
        ]
        np.testing.assert_allclose(
            overlap_gradient(kind, first, second).numpy(), expected, rtol=1e-12, atol=1e-12
        )


def test_overlap_gradient_of_a_box_without_width() -> None:
    """Where left and right are one number, both have the derivative of the right (box.c, dx_box_iou)."""
    thin = torch.tensor([[0.5, 0.5, 1e-30, 0.25], [0.5, 0.5, 0.25, 1e-30]], dtype=torch.float64)
    truth = thin.new_tensor([[0.5, 0.5, 0.25, 0.25]]).expand_as(thin)
    # U = 0.25^2, dI = 0.25 at the right side, dU = 0: 4 for each side
    assert overlap_gradient("iou", thin, truth).tolist() == [[8, 0, 0, 0], [0, 8, 0, 0]]
    nothing = thin * torch.tensor([[1, 1, 0, 1], [1, 1, 1, 0]])
    assert not overlap_gradient("iou", thin, nothing).any()


# ---- classifiers, targets and networks -----------------------------------------------------------


def test_cost_where_nothing_is_missed() -> None:
    """Darknet's L1 has no zero: its delta is -1 (l1_cpu)."""
    for kind, expected in (("sse", 0), ("smooth", 0), ("L1", -1)):
        delta, loss = delta_and_loss(
            Cost(flat(1), kind=kind), torch.ones(1, 1), Targets(shares=torch.ones(1, 1))
        )
        assert delta.tolist() == [[expected]] and float(loss.value) == 0


def test_classes_that_a_head_does_not_have() -> None:
    """They are left out, those below 0 too."""
    head = exact_head(classes=2)
    raw = exact_map(head)
    none, _ = delta_and_loss(head, raw, NONE, LossContext(NET))
    for number, learns in ((-1.0, False), (0.0, True), (1.0, True), (2.0, False)):
        delta, _ = delta_and_loss(head, raw, targets_of([*NEAR[:4], number]), LossContext(NET))
        assert (delta != none).any() == learns


def test_class_numbers_out_of_range() -> None:
    """The first ones below and above."""
    for labels, words in (([-1, 4], "-1 to 4"), ([0, 5], "0 to 5")):
        with pytest.raises(InputError, match=f"expected class numbers from 0 to 4, got {words}"):
            Targets.of_labels(torch.tensor(labels), 5)


def test_cost_of_no_head() -> None:
    assert float(LossReport(torch.zeros(()), ()).cost) == 0


def test_results_are_fixed() -> None:
    """What is shared by several losses or processes is replaced, not changed."""
    context = LossContext(NET)
    assert (context.seen, context.loss_scale, context.between) == (0, 1.0, None)
    zero = torch.zeros(())
    for item in (Targets(), context, HeadLoss(zero), LossReport(zero, ())):
        with pytest.raises(FrozenInstanceError):
            setattr(item, fields(item)[0].name, None)


NET_CFG = "[net]\nwidth=4\nheight=1\nchannels=1\n"


@pytest.mark.parametrize(
    ("cfg", "sources"),
    [
        ("[softmax]\n[softmax]\n", [0]),
        ("[softmax]\n[cost]\n", [-1, -1]),
        ("[cost]\n", [-1]),
        ("[cost]\n[softmax]\n", [-1, 0]),
    ],
)
def test_maps_of_softmax_and_cost(cfg: str, sources: list[int]) -> None:
    """A cost after a softmax learns from the scores before it; another softmax does not."""
    network = build_network(NET_CFG + cfg)
    assert loss_sources(network) == sources
    maps = loss_inputs(network, torch.rand(2, 1, 1, 4))
    targets = Targets.of_labels(torch.tensor([1, 3]), 4)
    assert float(network_loss(network, maps, targets, seen=1).total) > 0


def test_maps_of_wide_and_high_images() -> None:
    """Width and height are not exchanged, and not those of the cfg."""
    network = build_network(
        "[net]\nwidth=64\nheight=64\nchannels=3\n"
        "[convolutional]\nfilters=6\nsize=1\nstride=32\nactivation=linear\n"
        "[yolo]\nmask=0\nnum=1\nanchors=8,8\nclasses=1\n"
    )
    for width, height in ((96, 32), (32, 96)):
        (raw,) = LossMaps(network)(torch.rand(1, 3, height, width))
        assert raw.shape == (1, 6, height // 32, width // 32)
