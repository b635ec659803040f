"""Networks as functions of one tensor, and vectorized arithmetic compared with plain loops."""

from __future__ import annotations

import math

import pytest
import torch

from darknet_builder.errors import InputError
from darknet_builder.export.traceable import Sizes, Traceable, describe, plan_sizes, why_not
from darknet_builder.layers.heads.anchor_head import anchor_boxes
from darknet_builder.layers.shortcut import StridedShortcut
from darknet_builder.layers.tree import Tree
from darknet_builder.network.build import build_network
from darknet_builder.shapes import Shape
from tests.helpers.unit_networks import UNIT_CFGS

TREE = Tree(("a", "b", "c", "aa", "ab", "ba", "aaa", "aab", "aac"), (-1, -1, -1, 0, 0, 1, 3, 3, 3))
"""Groups of 3, 2, 1 and 3."""


# ---- the parts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("squared", [False, True])
def test_boxes_of_cells(squared: bool) -> None:
    """Cell by cell: (i + x) / W, (j + y) / H, and e^w or (2 w)^2 times the anchor."""
    values = torch.randn(2, 3, 4, 5, 4, generator=torch.Generator().manual_seed(0))
    anchors, unit = [(10.0, 13.0), (30.0, 61.0), (116.0, 90.0)], (160, 128)
    boxes = anchor_boxes(values, anchors, unit, squared=squared).view(2, 3, 4, 5, 4)
    for b, a, j, i in torch.cartesian_prod(*map(torch.arange, values.shape[:4])).tolist():
        x, y, w, h = values[b, a, j, i].tolist()
        sizes = [4 * w * w, 4 * h * h] if squared else [math.exp(w), math.exp(h)]
        expected = [
            (i + x) / 5,
            (j + y) / 4,
            sizes[0] * anchors[a][0] / 160,
            sizes[1] * anchors[a][1] / 128,
        ]
        assert boxes[b, a, j, i].tolist() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_softmax_within_the_groups_of_a_tree() -> None:
    x = torch.randn(2, 18, 3, generator=torch.Generator().manual_seed(0))  # two trees in a row
    expected = torch.cat([part.softmax(1) for part in x.split([3, 2, 1, 3] * 2, 1)], 1)
    torch.testing.assert_close(TREE.softmax(x, 1), expected)
    torch.testing.assert_close(TREE.softmax(x.transpose(1, 2), -1), expected.transpose(1, 2))


def test_probabilities_down_a_tree() -> None:
    shares = torch.rand(2, 9, generator=torch.Generator().manual_seed(0))
    absolute = TREE.multiply_down(shares)
    for row, found in zip(shares.tolist(), absolute.tolist(), strict=True):
        for index, parent in enumerate(TREE.parents):
            expected = row[index] * (found[parent] if parent >= 0 else 1)
            assert found[index] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("in_shape", "other_shape", "beta"),
    [((8, 4, 6), (8, 4, 6), 1.0), ((8, 4, 6), (4, 8, 12), 0.5), ((4, 4, 6), (8, 8, 12), 1.0)],
)
def test_a_strided_shortcut_without_writing_in_place(
    in_shape: tuple[int, int, int], other_shape: tuple[int, int, int], beta: float
) -> None:
    """alpha=1 has a shorter path in the code; an alpha near 1 must give the same values."""
    random = torch.Generator().manual_seed(0)
    x, other = (
        torch.randn(2, *in_shape, generator=random),
        torch.randn(2, *other_shape, generator=random),
    )
    short, general = (
        StridedShortcut(Shape(*in_shape), Shape(*other_shape), alpha=alpha, beta=beta)
        for alpha in (1.0, 1 + 2**-40)
    )
    assert torch.equal(short(x, other), general(x, other))


# ---- the whole -----------------------------------------------------------------------------------


def test_levels() -> None:
    network = build_network(UNIT_CFGS["yolo-heads"]).eval()
    x = torch.rand(2, 3, 96, 64)
    with torch.no_grad():
        raw, decoded = Traceable(network, "raw"), Traceable(network, "decoded")
        assert (raw.input_name, raw.output_names) == ("images", ["raw_4", "raw_7"])
        assert all(map(torch.equal, raw(x), network(x)))
        assert (
            decoded.output_names
            == Traceable(network, "nms").output_names
            == ["boxes", "scores", "objectness"]
        )
        boxes, scores, objectness = decoded(x)
        heads = [
            head.decode(answer, (64, 96))
            for head, answer in zip(network.heads, network(x), strict=True)
        ]
        assert torch.equal(boxes, torch.cat([head.boxes_cxcywh for head in heads], 1))
        assert (scores.shape, objectness.shape) == ((2, 576, 3), (2, 576))
    flat = Traceable(build_network("[net]\ninputs=20\n[connected]\noutput=3\n"), "raw")
    assert (flat.input_name, flat.output_names) == ("inputs", ["output"])


def test_reasons() -> None:
    assert why_not(build_network(UNIT_CFGS["route"]), "raw") == ""
    text = UNIT_CFGS["yolo-heads"]
    uneven = _with_other_classes(text)
    assert (
        why_not(build_network(uneven), "decoded")
        == "its heads have different numbers of classes; export it with level raw"
    )
    with pytest.raises(
        InputError, match="^not exportable, because its heads have different numbers of classes"
    ):
        Traceable(build_network(uneven), "nms")


def _with_other_classes(text: str) -> str:
    """Change the second head to one class."""
    start = text.rindex("filters=24")
    return text[:start] + text[start:].replace("filters=24", "filters=18").replace(
        "classes=3", "classes=1"
    )


def test_sizes() -> None:
    network = build_network(UNIT_CFGS["yolo-heads"])
    assert plan_sizes(network, 3, False, False) == Sizes(3)
    assert plan_sizes(network, 1, True, True) == Sizes(1, True, True, 8)
    assert Sizes(1, any_batch=True).traced_batch == 2 and Sizes(1).traced_batch == 1
    assert Sizes(1).dimensions() is None and set(Sizes(1, True, True, 8).dimensions() or {}) == {
        0,
        2,
        3,
    }
    with pytest.raises(
        InputError, match="^the network takes a vector, not an image: it has no width and height"
    ):
        plan_sizes(build_network("[net]\ninputs=20\n[connected]\noutput=3\n"), 1, False, True)
    stiff = (
        "[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\nfilters=2\n[connected]\noutput=4\n"
    )
    with pytest.raises(InputError) as error:
        plan_sizes(build_network(stiff), 1, False, True)
    assert (
        str(error.value)
        == "not exportable for any size of image, because layer 1 [connected] has weights that "
        "fit one size only"
    )


def test_facts_of_a_vector() -> None:
    network = build_network("[net]\ninputs=20\n[connected]\noutput=3\n")
    assert describe(network, "raw", [], "stretch", Sizes()) == {
        "level": "raw",
        "dialect": "alexeyab",
        "input": "inputs",
        "input_shape": "[20]",
        "any_batch": "false",
        "any_size": "false",
        "size_step": "0",
    }
