"""Post-processing: Darknet's suppression number by number, thresholds, the way back to the image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from darknet_builder import boxes
from darknet_builder.boxes import Candidates, nms_by_class, nms_by_objectness, survivors
from darknet_builder.errors import InputError
from darknet_builder.images import Placement
from darknet_builder.network import build_network
from darknet_builder.postprocess import NmsRule, nms_rule, postprocess
from tests.conftest import GOLDEN
from tests.toy_detector import CFG

SQUARE = Placement((32, 32), (32, 32), (32, 32))


def check_nms(path: Path) -> int:
    """Every recorded case, exactly; returns how many."""
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
    """Rows of x, y, w, h, objectness, classes -> what is left of the classes."""
    box, objectness, scores = rows[:, :4], rows[:, 4], rows[:, 5:]
    if kind == "obj":
        return nms_by_objectness(box, objectness, scores, threshold)
    # Darknet drops boxes without objectness first (box.c:850); here the threshold has done that.
    scores = torch.where(objectness[:, None] == 0, torch.zeros_like(scores), scores)
    return nms_by_class(box, scores, threshold, kind=kind, beta=beta)


def test_nms_is_darknets() -> None:
    """All kinds, three thresholds."""
    assert check_nms(GOLDEN / "postprocess" / "nms.npz") == 45


@pytest.mark.pack
def test_every_recorded_nms(pack: Path) -> None:
    """The same of any pack."""
    assert check_nms(pack / "postprocess" / "nms.npz")


@pytest.mark.parametrize("kind", boxes.NMS_KINDS)
def test_strips_change_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many boxes are compared at once."""
    some = torch.rand(150, 4, generator=torch.Generator().manual_seed(3)) * torch.tensor([1, 1, .4, .4])
    whole = survivors(some, .3, kind=kind)
    assert 10 < whole.sum() < 140
    for strip in (1, 7, 149):
        monkeypatch.setattr(boxes, "_STRIP", strip)
        assert torch.equal(survivors(some, .3, kind=kind), whole)


def test_unknown_kind() -> None:
    """With the nearest known one."""
    with pytest.raises(InputError) as raised:
        survivors(torch.rand(2, 4), .5, kind="greedynm")
    assert str(raised.value) == ("unknown NMS kind 'greedynm'; expected one of default, greedynms, diounms, "
                                 "cornersnms; did you mean 'greedynms'?")


# ---- the whole ----------------------------------------------------------------------------------------


def head(*rows: tuple[float, ...], batch: int = 1) -> Candidates:
    """Candidates from rows of x, y, w, h, objectness, scores; the same for each image of the batch."""
    values = torch.tensor(rows).expand(batch, -1, -1)
    return Candidates(values[..., :4], values[..., 4], values[..., 5:])


def test_thresholds_are_strict() -> None:
    """yolo_layer.c:1087: objectness > thresh, then class by class prob > thresh."""
    candidates = head((.5, .5, .1, .1, .25, .25, .9), (.2, .2, .1, .1, .26, .25, .2), (.8, .8, .1, .1, .9, .25, .26))
    found, = postprocess([candidates], [SQUARE], threshold=.25, nms=.45)
    assert found.class_ids.tolist() == [1]
    assert found.boxes_cxcywh[0].tolist() == pytest.approx([.8, .8, .1, .1])
    assert found.objectness.tolist() == pytest.approx([.9])


def test_a_box_may_count_for_two_classes() -> None:
    """Each class suppresses for itself, and the best comes first."""
    candidates = head((.5, .5, .2, .2, .9, .6, .7), (.51, .5, .2, .2, .9, .8, 0.), (.51, .51, .2, .2, .8, 0., .3))
    found, = postprocess([candidates], [SQUARE], threshold=.25, nms=.45)
    assert found.class_ids.tolist() == [0, 1]
    assert found.scores.tolist() == pytest.approx([.8, .7])
    everything, = postprocess([candidates], [SQUARE], threshold=.25, nms=1)
    assert everything.scores.tolist() == pytest.approx([.8, .7, .6, .3])


def test_heads_are_taken_together_and_images_apart() -> None:
    """Two heads, two images with placements of their own."""
    wide = Placement.plan((64, 32), (32, 32), "letterbox")
    one, two = head((.5, .5, .2, .2, .9, .9), batch=2), head((.5, .52, .2, .2, .9, .8), batch=2)
    found = postprocess([one, two], [SQUARE, wide], threshold=.25, nms=.45)
    assert [len(image.scores) for image in found] == [1, 1]
    assert found[0].boxes_cxcywh[0].tolist() == pytest.approx([.5, .5, .2, .2])
    assert found[1].boxes_cxcywh[0].tolist() == pytest.approx([.5, .5, .2, .4])


def test_suppression_comes_after_the_way_back() -> None:
    """The distance between centres counts in the image's own proportions, so greedynms depends on the letterbox."""
    candidates = head((.5, .47, .5, .25, .9, .9), (.5, .53, .5, .25, .9, .8))
    tall = Placement.plan((128, 32), (32, 32), "letterbox")
    rule = NmsRule("greedynms")
    square, = postprocess([candidates], [SQUARE], threshold=.25, nms=.52, rule=rule)
    letterboxed, = postprocess([candidates], [tall], threshold=.25, nms=.52, rule=rule)
    assert (len(square.scores), len(letterboxed.scores)) == (1, 2)


def test_nothing_found() -> None:
    """Empty tensors of the right shapes."""
    found, = postprocess([head((.5, .5, .1, .1, .1, .1))], [SQUARE], threshold=.25, nms=.45)
    assert (found.boxes_cxcywh.shape, found.scores.shape, found.class_ids.shape) == ((0, 4), (0,), (0,))


def test_boxes_without_end_are_none() -> None:
    """An untrained network has them."""
    candidates = head((.5, .5, float("inf"), .1, .9, .9), (.5, float("nan"), .1, .1, .9, .9), (.5, .5, .1, .1, .9, .8))
    found, = postprocess([candidates], [SQUARE], threshold=.25, nms=.45)
    assert found.scores.tolist() == pytest.approx([.8])


def test_heads_of_different_classes() -> None:
    """Cannot be taken together."""
    with pytest.raises(InputError, match="^the heads have different numbers of classes: 1, 2$"):
        postprocess([head((0, 0, 0, 0, 1, 1)), head((0, 0, 0, 0, 1, 1, 1))], [SQUARE], threshold=.25, nms=.45)


# ---- which rule holds ---------------------------------------------------------------------------------


def test_the_last_heads_rule_holds_for_all() -> None:
    """nms_kind and beta_nms."""
    other = CFG.split("[local_avgpool]")[1].replace("[yolo]", "[yolo]\nnms_kind=diounms\nbeta_nms=.7")
    again = "[route]\nlayers=-3\n[local_avgpool]" + other
    cfg = CFG + "[upsample]\nstride=8\n[convolutional]\nfilters=3\n" + again.replace("layers=-3", "layers=-1")
    network = build_network(cfg)
    assert [item.nms_kind for item in network.heads] == ["default", "diounms"]
    assert nms_rule(network) == NmsRule("diounms", .7)


def test_a_network_without_heads() -> None:
    """Finds no boxes."""
    with pytest.raises(InputError) as raised:
        nms_rule(build_network(CFG.split("[yolo]")[0]))
    assert str(raised.value) == ("the network has no detection head ([yolo], [Gaussian_yolo], [region] or "
                                 "[detection]): it finds no boxes")
