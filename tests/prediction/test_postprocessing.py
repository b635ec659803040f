"""Post-processing: Darknet's suppression in every number, thresholds, mapping back to the image."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from darknet_builder.boxes import overlap as boxes
from darknet_builder.boxes import pairs
from darknet_builder.boxes.candidates import Candidates, ScoredBoxes
from darknet_builder.boxes.nms import NMS_KINDS, best_of_groups, nms_by_class, survivors
from darknet_builder.errors import InputError
from darknet_builder.images.resize import Placement
from darknet_builder.network.build import build_network
from darknet_builder.prediction.postprocessing import (
    NmsRule,
    by_image,
    concatenate_rows,
    find_objects,
    nms_rule,
    postprocess,
)
from tests.conftest import GOLDEN
from tests.helpers.scored_boxes import scored_boxes
from tests.helpers.toy_detector import CFG
from tests.helpers.unit_networks import UNIT_CFGS

Overlap = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
SQUARE = Placement((32, 32), (32, 32), (32, 32))


def check_nms(path: Path) -> int:
    """Check every recorded case exactly; return the number of cases."""
    count = 0
    with np.load(path) as recorded:
        for name in recorded.files:
            case, *rest = name.split("/")
            if rest[-1] != "probabilities":
                continue
            kind, threshold, beta, _ = rest
            rows = torch.from_numpy(recorded[f"{case}/input"])
            found = suppress(rows, kind, float(threshold), float(beta))
            assert np.array_equal(found.numpy(), recorded[name]), name
            count += 1
    return count


def suppress(rows: torch.Tensor, kind: str, threshold: float, beta: float) -> torch.Tensor:
    """Return the scores that are left of rows x, y, w, h, objectness, classes."""
    box, objectness, scores = rows[:, :4], rows[:, 4], rows[:, 5:]
    if kind == "obj":
        return suppress_by_objectness(box, objectness, scores, threshold)
    # Darknet drops boxes without objectness first (box.c:850); here the threshold has done that.
    scores = torch.where(objectness[:, None] == 0, torch.zeros_like(scores), scores)
    return nms_by_class(box, scores, threshold, kind=kind, beta=beta)


def suppress_by_objectness(
    box: torch.Tensor, objectness: torch.Tensor, scores: torch.Tensor, threshold: float
) -> torch.Tensor:
    """Darknet's ``do_nms_obj``: all classes together, best objectness first (box.c:805)."""
    rows = objectness.nonzero().flatten()
    rows = rows[objectness[rows].argsort(descending=True, stable=True)]
    rows = rows[survivors(box[rows], threshold)]
    kept = torch.zeros_like(scores)
    kept[rows] = scores[rows]
    return kept


def test_nms_is_darknets() -> None:
    """All kinds and three thresholds are equal."""
    assert check_nms(GOLDEN / "postprocess" / "nms.npz") == 45


@pytest.mark.pack
def test_every_recorded_nms(pack: Path) -> None:
    """The cases of any pack are equal."""
    assert check_nms(pack / "postprocess" / "nms.npz")


@pytest.mark.parametrize("kind", NMS_KINDS)
def test_how_many_pairs_are_compared_at_once_changes_nothing(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit of pairs in memory does not change the result."""
    some = torch.rand(150, 4, generator=torch.Generator().manual_seed(3)) * torch.tensor(
        [1, 1, 0.4, 0.4]
    )
    whole = survivors(some, 0.3, kind=kind)
    assert 10 < whole.sum() < 140
    for limit in (1, 200, 5000):
        monkeypatch.setattr(pairs, "_MAX_PAIRS", limit)
        assert torch.equal(survivors(some, 0.3, kind=kind), whole)


def test_many_boxes_need_little_memory() -> None:
    """The 18 million overlaps of 6000 boxes are never in memory together."""
    some = torch.rand(6000, 4, generator=torch.Generator().manual_seed(3)) * torch.tensor(
        [1, 1, 0.05, 0.05]
    )
    tracemalloc.start()
    try:
        kept = survivors(some, 0.45)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 1000 < kept.sum() < 6000
    assert peak < 64 * 2**20


def plain_suppression(
    rows: np.ndarray,
    scores: np.ndarray,
    groups: np.ndarray,
    threshold: float,
    overlap: Overlap,
) -> list[bool]:
    """Suppress box by box."""
    keep = [True] * len(rows)
    order = sorted(range(len(rows)), key=lambda row: -scores[row])
    for place, row in enumerate(order):
        for other in order[place + 1 :] if keep[row] else ():
            if (
                groups[row] == groups[other]
                and float(overlap(torch.from_numpy(rows[row]), torch.from_numpy(rows[other])))
                > threshold
            ):
                keep[other] = False
    return keep


@pytest.mark.parametrize(
    ("kind", "overlap"),
    [
        ("default", boxes.iou),
        ("cornersnms", boxes.iou),
        ("greedynms", partial(boxes.diou, beta=0.6)),
        ("diounms", partial(boxes.diou, beta=0.9)),
    ],
)
@pytest.mark.parametrize("threshold", [0.0, 0.3, 1.0])
def test_groups_are_suppressed_each_for_itself(
    kind: str, overlap: Overlap, threshold: float
) -> None:
    """Of equal scores the first wins, and boxes without area overlap none."""
    random = np.random.default_rng(1)
    rows = np.concatenate((random.random((120, 2)), random.random((120, 2)) * 0.5), 1).astype(
        np.float32
    )
    rows[5:9] = rows[5]
    rows[10:14, 2:] = 0
    scores = (random.integers(1, 20, 120) / 20).astype(np.float32)
    groups = random.integers(0, 5, 120)
    groups[5:14] = 2
    keep = best_of_groups(rows, scores, groups, threshold, kind=kind, beta=0.9)
    assert keep.tolist() == (
        [True] * 120
        if threshold == 1
        else plain_suppression(rows, scores, groups, threshold, overlap)
    )
    assert keep.all() == (threshold == 1)


def test_unknown_kind() -> None:
    """The error has the nearest valid name."""
    with pytest.raises(InputError) as raised:
        survivors(torch.rand(2, 4), 0.5, kind="greedynm")
    assert (
        str(raised.value)
        == "unknown NMS kind 'greedynm'; expected one of default, greedynms, diounms, "
        "cornersnms; did you mean 'greedynms'?"
    )


# ---- the whole -----------------------------------------------------------------------------------


def head(*rows: tuple[float, ...], batch: int = 1) -> Candidates:
    """Return candidates from rows x, y, w, h, objectness, scores, the same for each image."""
    values = torch.tensor(rows).expand(batch, -1, -1)
    return Candidates(values[..., :4], values[..., 4], values[..., 5:])


def test_thresholds_are_strict() -> None:
    """yolo_layer.c:1087: objectness > thresh, then class by class prob > thresh."""
    candidates = head(
        (0.5, 0.5, 0.1, 0.1, 0.25, 0.25, 0.9),
        (0.2, 0.2, 0.1, 0.1, 0.26, 0.25, 0.2),
        (0.8, 0.8, 0.1, 0.1, 0.9, 0.25, 0.26),
    )
    (found,) = postprocess([candidates], [SQUARE], threshold=0.25, nms=0.45)
    assert found.class_ids.tolist() == [1]
    assert found.boxes_cxcywh[0].tolist() == pytest.approx([0.8, 0.8, 0.1, 0.1])
    assert found.objectness.tolist() == pytest.approx([0.9])


def test_a_box_may_count_for_two_classes() -> None:
    """Each class suppresses for itself, and the best comes first."""
    candidates = head(
        (0.5, 0.5, 0.2, 0.2, 0.9, 0.6, 0.7),
        (0.51, 0.5, 0.2, 0.2, 0.9, 0.8, 0.0),
        (0.51, 0.51, 0.2, 0.2, 0.8, 0.0, 0.3),
    )
    (found,) = postprocess([candidates], [SQUARE], threshold=0.25, nms=0.45)
    assert found.class_ids.tolist() == [0, 1]
    assert found.scores.tolist() == pytest.approx([0.8, 0.7])
    (everything,) = postprocess([candidates], [SQUARE], threshold=0.25, nms=1)
    assert everything.scores.tolist() == pytest.approx([0.8, 0.7, 0.6, 0.3])


def test_heads_are_taken_together_and_images_apart() -> None:
    """Two heads, two images with placements of their own."""
    wide = Placement.plan((64, 32), (32, 32), "letterbox")
    one, two = (
        head((0.5, 0.5, 0.2, 0.2, 0.9, 0.9), batch=2),
        head((0.5, 0.52, 0.2, 0.2, 0.9, 0.8), batch=2),
    )
    found = postprocess([one, two], [SQUARE, wide], threshold=0.25, nms=0.45)
    assert [len(image.scores) for image in found] == [1, 1]
    assert found[0].boxes_cxcywh[0].tolist() == pytest.approx([0.5, 0.5, 0.2, 0.2])
    assert found[1].boxes_cxcywh[0].tolist() == pytest.approx([0.5, 0.5, 0.2, 0.4])


def test_suppression_comes_after_the_way_back() -> None:
    """The distance between centres counts in the image's own proportions, so greedynms depends on
    the letterbox."""
    candidates = head((0.5, 0.47, 0.5, 0.25, 0.9, 0.9), (0.5, 0.53, 0.5, 0.25, 0.9, 0.8))
    tall = Placement.plan((128, 32), (32, 32), "letterbox")
    rule = NmsRule("greedynms")
    (square,) = postprocess([candidates], [SQUARE], threshold=0.25, nms=0.52, rule=rule)
    (letterboxed,) = postprocess([candidates], [tall], threshold=0.25, nms=0.52, rule=rule)
    assert (len(square.scores), len(letterboxed.scores)) == (1, 2)


def test_nothing_found() -> None:
    """Empty arrays have the right shapes."""
    (found,) = postprocess(
        [head((0.5, 0.5, 0.1, 0.1, 0.1, 0.1))], [SQUARE], threshold=0.25, nms=0.45
    )
    assert (found.boxes_cxcywh.shape, found.scores.shape, found.class_ids.shape) == (
        (0, 4),
        (0,),
        (0,),
    )


def test_boxes_without_end_are_none() -> None:
    """Non-finite boxes of an untrained network are dropped."""
    candidates = head(
        (0.5, 0.5, float("inf"), 0.1, 0.9, 0.9),
        (0.5, float("nan"), 0.1, 0.1, 0.9, 0.9),
        (0.5, 0.5, 0.1, 0.1, 0.9, 0.8),
    )
    (found,) = postprocess([candidates], [SQUARE], threshold=0.25, nms=0.45)
    assert found.scores.tolist() == pytest.approx([0.8])
    candidates = head((0.5, 0.5, 0.1, 0.1, 0.9, float("inf")), (0.5, 0.5, 0.1, 0.1, 0.9, 0.8))
    (found,) = postprocess([candidates], [SQUARE], threshold=0.25, nms=0.45)
    assert found.scores.tolist() == pytest.approx([0.8])


def test_rows_are_taken_by_index_or_by_boolean() -> None:
    """From boxes of either memory order, every field, whose own memory the result does not share."""
    boxes = np.arange(12, dtype=np.float32).reshape(3, 4)
    ids, numbers = np.arange(3), np.arange(3, dtype=np.float32)
    for order in (boxes, np.asfortranarray(boxes)):
        rows = ScoredBoxes(ids, ids * 2, order, numbers + 0.25, ids + 5, numbers + 0.5, 80)
        for chosen in (np.array([0, 2]), np.array([True, False, True])):
            found = rows.take(chosen)
            assert found.image_ids.tolist() == [0, 2] and found.box_ids.tolist() == [0, 4]
            assert found.boxes_cxcywh.tolist() == boxes[[0, 2]].tolist()
            assert found.objectness.tolist() == [0.25, 2.25]
            assert found.class_ids.tolist() == [5, 7] and found.scores.tolist() == [0.5, 2.5]
            assert found.num_classes == 80
            assert not np.shares_memory(found.boxes_cxcywh, order)


def test_heads_of_different_classes() -> None:
    """Such heads cannot be combined."""
    with pytest.raises(InputError, match="^the heads have different numbers of classes: 1, 2$"):
        postprocess(
            [head((0, 0, 0, 0, 1, 1)), head((0, 0, 0, 0, 1, 1, 1))],
            [SQUARE],
            threshold=0.25,
            nms=0.45,
        )


def test_equal_scores_stand_in_the_order_of_heads_and_places() -> None:
    """The sort is stable."""
    one, two = (
        head((0.1, 0.1, 0.1, 0.1, 0.5, 0.5, 0.5), (0.3, 0.3, 0.1, 0.1, 0.5, 0, 0.5)),
        head((0.6, 0.6, 0.1, 0.1, 0.5, 0.5, 0.7)),
    )
    (found,) = postprocess([one, two], [SQUARE], threshold=0.25, nms=0.45)
    assert found.class_ids.tolist() == [1, 0, 1, 1, 0]
    assert found.boxes_cxcywh[:, 0].tolist() == pytest.approx([0.6, 0.1, 0.1, 0.3, 0.6])


def test_before_suppression_an_image_has_all_rows_above_the_threshold() -> None:
    """Head after head and place after place; the ids tell which rows are one box."""
    one, two = (
        head((0.1, 0.1, 0.1, 0.1, 0.5, 0.5, 0.1), (0.2, 0.2, 0.1, 0.1, 0.5, 0.1, 0.1), batch=2),
        head((0.6, 0.6, 0.1, 0.1, 0.5, 0.5, 0.7), (0.7, 0.7, 0.1, 0.1, 0.5, 0.1, 0.6), batch=2),
    )
    for index, entry in enumerate(by_image([one.above(0.25), two.above(0.25)], [SQUARE, SQUARE])):
        assert entry.image_ids.tolist() == [index] * 4 and entry.num_classes == 2
        assert (np.diff(entry.box_ids) != 0).tolist() == [True, False, True] and (
            np.diff(entry.box_ids) >= 0
        ).all()
        assert entry.boxes_cxcywh[:, 0].tolist() == pytest.approx([0.1, 0.6, 0.6, 0.7])
        assert entry.class_ids.tolist() == [0, 0, 1, 1]
        assert entry.scores.tolist() == pytest.approx([0.5, 0.5, 0.7, 0.6])
        assert entry.objectness.tolist() == [0.5] * 4


@pytest.mark.parametrize("mode", ["stretch", "letterbox"])
def test_a_batch_of_maps_is_what_its_images_are(mode: str) -> None:
    """Suppressed all at once, each with a placement of its own."""
    network = build_network(CFG)
    maps = (
        torch.randn(
            3,
            *network.heads[0].out_shape.batched(1)[1:],
            generator=torch.Generator().manual_seed(4),
        )
        * 3
    )
    placements = [
        Placement.plan(size, network.input_size, mode) for size in ((32, 32), (20, 60), (90, 30))
    ]
    together = find_objects(network, [maps], placements, threshold=0.05, nms=0.3)
    for index, (placement, found) in enumerate(zip(placements, together, strict=True)):
        (alone,) = find_objects(
            network, [maps[index : index + 1]], [placement], threshold=0.05, nms=0.3
        )
        (slow,) = postprocess(
            [network.heads[0].decode(maps[index : index + 1], network.input_size)],
            [placement],
            threshold=0.05,
            nms=0.3,
        )
        assert len(found.scores) > 3
        for name in ("boxes_cxcywh", "scores", "class_ids", "objectness"):
            assert np.array_equal(getattr(found, name), getattr(alone, name))
            assert np.allclose(getattr(found, name), getattr(slow, name), rtol=1e-5)


# ---- which rule holds ----------------------------------------------------------------------------


def test_the_last_heads_rule_holds_for_all() -> None:
    """nms_kind and beta_nms."""
    end = CFG[CFG.index("[local_avgpool]") :]
    between = "[upsample]\nstride=8\n[convolutional]\nfilters=3\n"
    rules = [NmsRule("default"), NmsRule("diounms", 0.7), NmsRule("cornersnms", 0.8)]
    cfg = CFG
    for rule in rules[1:]:
        options = f"[yolo]\nnms_kind={rule.kind}\nbeta_nms={rule.beta}"
        cfg += between + end.replace("[yolo]", options)
        network = build_network(cfg)
        assert nms_rule(network) == rule
    assert [item.nms_kind for item in network.heads] == [rule.kind for rule in rules]
    with pytest.raises(FrozenInstanceError):
        rules[0].beta = 0.5  # type: ignore[misc]


def test_a_network_without_heads() -> None:
    """Finds no boxes."""
    with pytest.raises(InputError) as raised:
        nms_rule(build_network(CFG.split("[yolo]")[0]))
    assert (
        str(raised.value)
        == "the network has no detection head ([yolo], [Gaussian_yolo], [region] or "
        "[detection]): it finds no boxes"
    )


def test_box_ids_of_heads_do_not_collide() -> None:
    """A box with several classes has one id in several rows; two boxes never share one."""
    boxes = np.full((3, 4), 0.5, np.float32)
    scores = np.array([[0.5, 0.5], [0.5, 0], [0, 0.5]], np.float32)
    head, empty = scored_boxes(boxes, scores), scored_boxes(boxes[:0], scores[:0])
    joined = concatenate_rows([empty, head, head, empty, head])
    assert joined.box_ids.tolist() == [0, 0, 1, 2, 3, 3, 4, 5, 6, 6, 7, 8]


def test_classes_of_several_images_are_apart() -> None:
    """The same box as another class in another image is not suppressed."""
    rows = torch.tensor([[0.5, 0.5, 0.2, 0.2, 1]]).expand(3, 1, 5)
    scores = torch.tensor([[[0, 0.9]], [[0.3, 0]], [[0.8, 0.7]]])
    candidates = Candidates(rows[..., :4], rows[..., 4], scores)
    found = postprocess([candidates], [SQUARE] * 3, threshold=0.25, nms=0.45)
    assert [image.class_ids.tolist() for image in found] == [[1], [0], [0, 1]]


def test_heads_that_compute_differently_are_decoded_one_by_one() -> None:
    """One of them has ``new_coords=1``; each needs a map."""
    network = build_network(UNIT_CFGS["yolo-heads"])
    size, random = network.input_size, torch.Generator().manual_seed(2)
    maps = [
        torch.rand(item.out_shape.batched(1), generator=random) * 2 - 1 for item in network.heads
    ]
    (found,) = find_objects(network, maps, [SQUARE], threshold=0.3, nms=0.45)
    decoded = [item.decode(raw, size) for item, raw in zip(network.heads, maps, strict=True)]
    (slow,) = postprocess(decoded, [SQUARE], threshold=0.3, nms=0.45)
    assert 10 < len(found) < sum(len(item.above(0.3)) for item in decoded)
    assert found.class_ids.tolist() == slow.class_ids.tolist()
    assert np.allclose(found.boxes_cxcywh, slow.boxes_cxcywh, rtol=1e-5)
    with pytest.raises(ValueError, match="shorter"):
        find_objects(network, maps[:1], [SQUARE], threshold=0.3, nms=0.45)
