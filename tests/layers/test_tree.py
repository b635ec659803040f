"""Hierarchies of classes: their files, their arithmetic, and what region and v1 heads report, in
Darknet's loops."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from darknet_builder import build_network
from darknet_builder.boxes.candidates import Candidates
from darknet_builder.cfg.block import Block
from darknet_builder.errors import CfgError, CfgWarning
from darknet_builder.images.resize import Placement
from darknet_builder.layers import tree as tree_module
from darknet_builder.layers.heads.detection import Detection
from darknet_builder.layers.heads.region import Region
from darknet_builder.layers.tree import Tree, read_tree
from darknet_builder.network.network import Network
from darknet_builder.prediction.postprocessing import by_image, postprocess
from darknet_builder.shapes import flat
from tests.helpers.scored_boxes import score_table

TREE = "animal -1\nplant -1\ndog 0\ncat 0\ntree 1\nflower 1\npuppy 2\nhound 2\n"
PARENTS = (-1, -1, 0, 0, 1, 1, 2, 2)
GROUPS = ((0, 1), (2, 3), (4, 5), (6, 7))
CLASSES, ANCHORS, SIZE = 8, 2, (3, 2)
CFG = """[net]
width=3
height=2
channels=26

[region]
anchors=1,2,3,4
num=2
classes=8
{options}
"""
WHOLE = Placement(SIZE, SIZE, SIZE)


def network_with(folder: Path, options: str, dialect: str = "alexeyab") -> Network:
    """A network that is a region head alone."""
    (folder / "my.tree").write_text(TREE)
    (folder / "my.map").write_text("6\n3\n")
    (folder / "net.cfg").write_text(CFG.format(options=options))
    return build_network(folder / "net.cfg", dialect=dialect).eval()


def raw_map(seed: int = 0) -> Tensor:
    """Values that make some objects and some paths likely."""
    return 3 * torch.randn(
        1, ANCHORS * (5 + CLASSES), SIZE[1], SIZE[0], generator=torch.Generator().manual_seed(seed)
    )


# ---- Darknet's loops -----------------------------------------------------------------------------


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def softmax(values: list[float]) -> list[float]:
    powers = [math.exp(value - max(values)) for value in values]
    return [power / sum(powers) for power in powers]


def path_probabilities(logits: list[float]) -> list[float]:
    """Softmax in each group, then hierarchy_predictions."""
    found = [0.0] * CLASSES
    for group in GROUPS:
        for index, share in zip(group, softmax([logits[index] for index in group]), strict=True):
            found[index] = share
    for index, parent in enumerate(PARENTS):
        if parent >= 0:
            found[index] *= found[parent]
    return found


def top_prediction(probabilities: list[float], threshold: float) -> int:
    """hierarchy_top_prediction (tree.c:57)."""
    children = {PARENTS[group[0]]: group for group in GROUPS}
    likely, group = 1.0, GROUPS[0]
    while True:
        best = max(group, key=lambda index: probabilities[index])
        if likely * probabilities[best] > threshold:
            likely *= probabilities[best]
            if best not in children:
                return best
            group = children[best]
        elif group == GROUPS[0]:
            return best
        else:
            return PARENTS[group[0]]


def reported(logits: list[float], scale: float, threshold: float, kind: str) -> list[float]:
    """The probabilities of one place: get_region_boxes (A) and get_region_detections (P)."""
    if kind == "flat":
        scores = [scale * share for share in softmax(logits)]
        return [score if score > threshold else 0.0 for score in scores]
    absolute = path_probabilities(logits)
    if kind == "map":
        scores = [scale * absolute[index] for index in (6, 3)]
        return [score if score > threshold else 0.0 for score in scores]
    found = [0.0] * CLASSES
    if scale > threshold:
        if kind == "pjreddie":
            found[top_prediction(absolute, 0.5)] = scale
        else:
            for index in reversed(range(CLASSES)):
                if absolute[index] > 0.5:
                    found[index] = absolute[index]
                    break
    return found


CASES = [
    ("alexeyab", "softmax=1", "flat"),
    ("pjreddie", "softmax=1", "flat"),
    ("alexeyab", "softmax=1\ntree=my.tree", "alexeyab"),
    ("pjreddie", "softmax=1\ntree=my.tree", "pjreddie"),
    ("alexeyab", "softmax=1\ntree=my.tree\nmap=my.map", "alexeyab"),
    ("alexeyab", "softmax=1\ntree=my.tree", "map"),
    ("pjreddie", "softmax=1\ntree=my.tree", "map"),
]


@pytest.mark.parametrize(("dialect", "options", "kind"), CASES)
@pytest.mark.parametrize("threshold", [0.02, 0.4])
def test_what_a_region_head_reports(
    tmp_path: Path, dialect: str, options: str, kind: str, threshold: float
) -> None:
    """Every place of four maps: flat, down the path, and the classes that a map names."""
    network = network_with(tmp_path, options, dialect)
    head = network.heads[0]
    assert isinstance(head, Region)
    if kind == "map":
        head.report_map = [6, 3]
    count = 0
    for seed in range(4):
        raw = raw_map(seed)
        values = raw.reshape(ANCHORS, 5 + CLASSES, -1)
        wanted = [
            reported(
                values[anchor, 5:, place].tolist(),
                sigmoid(float(values[anchor, 4, place])),
                threshold,
                kind,
            )
            for anchor in range(ANCHORS)
            for place in range(6)
        ]
        entry = by_image([head.decode_above(raw, SIZE, threshold)], [WHOLE])[0]
        found = score_table(entry).tolist()
        kept = [row for row in wanted if any(row)]
        assert len(found) == len(kept)
        assert np.allclose(found, kept, atol=1e-6)
        count += len(kept)
    assert count and head.reported_classes == (2 if kind == "map" else CLASSES)


def test_map_in_the_cfg_is_for_the_loss_alone(tmp_path: Path) -> None:
    """``detector test`` of yolo9000 names all classes; a ``.data`` file's map= makes ``detector
    valid`` name some."""
    head = network_with(tmp_path, "softmax=1\ntree=my.tree\nmap=my.map").heads[0]
    assert isinstance(head, Region)
    assert (head.class_map, head.report_map, head.reported_classes) == ([6, 3], None, 8)


def test_classfix_makes_doubtful_objects_none(tmp_path: Path) -> None:
    """get_region_boxes takes an objectness below one half as 0, and leaves one half."""
    doubtful = raw_map()
    doubtful[0, 4, 0, 0] = 0
    plain = network_with(tmp_path, "softmax=1").heads[0].decode(doubtful, SIZE)
    fixed = network_with(tmp_path, "softmax=1\nclassfix=-1").heads[0].decode(doubtful, SIZE)
    objectness = doubtful.reshape(ANCHORS, 5 + CLASSES, -1)[:, 4].flatten().sigmoid()
    assert bool((objectness < 0.5).any()) and bool((objectness == 0.5).any())
    assert torch.equal(
        fixed.scores[0, objectness < 0.5], torch.zeros_like(fixed.scores[0, objectness < 0.5])
    )
    assert torch.equal(fixed.scores[0, objectness >= 0.5], plain.scores[0, objectness >= 0.5])


# ---- YOLO v1 -------------------------------------------------------------------------------------


def test_only_the_product_meets_the_threshold_in_v1() -> None:
    """Class scores may be above 1 there, so that a doubtful box can be reported."""
    head = Detection(flat(1 * (2 + 5)), side=1, num=1, classes=2)
    #                    classes   confidence  x   y   w   h
    raw = torch.tensor([[1.5, 0.1, 0.19, 0.5, 0.5, 0.4, 0.4]])
    found = postprocess([head.decode(raw, (448, 448))], [WHOLE], threshold=0.2, nms=0.45)[0]
    assert found.class_ids.tolist() == [0]
    assert found.scores.tolist() == pytest.approx([0.285])
    nothing = torch.tensor([[1.5, 0.1, 0, 0.5, 0.5, 0.4, 0.4]])
    assert not len(
        postprocess([head.decode(nothing, (448, 448))], [WHOLE], threshold=0, nms=0.45)[0].scores
    )


def test_two_products_of_v1_below_zero() -> None:
    """Both factors may be negative: Darknet looks at the product alone."""
    head = Detection(flat(1 * (1 + 5)), side=1, num=1, classes=1)
    candidates: Candidates = head.decode(
        torch.tensor([[-1.0, -0.5, 0.5, 0.5, 0.4, 0.4]]), (448, 448)
    )
    assert postprocess([candidates], [WHOLE], threshold=0.2, nms=0.45)[0].scores.tolist() == [0.5]


# ---- the tree ------------------------------------------------------------------------------------


@pytest.fixture
def tree() -> Tree:
    """TREE, read."""
    return Tree(tuple(line.split()[0] for line in TREE.splitlines()), PARENTS)


def test_groups_are_siblings(tree: Tree) -> None:
    assert tree.group_sizes == [2, 2, 2, 2]


@pytest.mark.parametrize("seed", range(3))
def test_probabilities_down_the_path(tree: Tree, seed: int) -> None:
    logits = torch.randn(5, CLASSES, generator=torch.Generator().manual_seed(seed))
    found = tree.multiply_down(tree.softmax(logits, 1))
    assert np.allclose(found, [path_probabilities(row) for row in logits.tolist()], atol=1e-6)
    assert torch.allclose(
        found[:, [3, 4, 5, 6, 7]].sum(1), torch.ones(5)
    )  # the leaves share the whole


@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.5, 0.9])
def test_the_best_path_while_it_is_likely(tree: Tree, threshold: float) -> None:
    logits = 2 * torch.randn(40, CLASSES, generator=torch.Generator().manual_seed(1))
    absolute = tree.multiply_down(tree.softmax(logits, 1))
    assert tree.top_class(absolute, threshold).tolist() == [
        top_prediction(row, threshold) for row in absolute.tolist()
    ]


def test_a_hierarchy_threshold_of_its_own(tmp_path: Path) -> None:
    """-hier: a lower one leads further down."""
    head: Any = network_with(tmp_path, "softmax=1\ntree=my.tree", "pjreddie").heads[0]
    depths = []
    for threshold in (0.9, 0.5, 0.05):
        head.hierarchy_threshold = threshold
        places = [head.decode(raw_map(seed), SIZE).scores[0].argmax(1) for seed in range(4)]
        depths.append(sum(_depth(int(index)) for index in torch.cat(places)))
    assert depths[0] < depths[1] < depths[2]


def _depth(index: int) -> int:
    return 0 if PARENTS[index] < 0 else 1 + _depth(PARENTS[index])


# ---- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "{0}/bad.tree is empty; expected lines of 'name parent'"),
        ("animal -1\ndog\n", "{0}/bad.tree:2: cannot parse 'dog'; expected 'name parent'"),
        (
            "animal -1\n\ndog zero\n",
            "{0}/bad.tree:3: cannot parse 'dog zero'; expected 'name parent'",
        ),
        ("animal -1\ndog 1\n", "{0}/bad.tree:2: parent 1 must be -1 or a line before this one"),
        ("animal -1\ndog -2\n", "{0}/bad.tree:2: parent -2 must be -1 or a line before this one"),
    ],
)
def test_trees_that_are_malformed(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "bad.tree").write_text(text)
    with pytest.raises(CfgError) as caught:
        network_with(tmp_path, "tree=bad.tree")
    assert (
        str(caught.value)
        == f"{tmp_path}/net.cfg:10: [region] tree=bad.tree: {expected.format(tmp_path)}"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("6\nx\n", "{0}/bad.map:2: 'x' is not a class number below 8"),
        ("6\n\n8\n", "{0}/bad.map:3: '8' is not a class number below 8"),
        ("-1\n", "{0}/bad.map:1: '-1' is not a class number below 8"),
    ],
)
def test_maps_that_are_malformed(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "bad.map").write_text(text)
    with pytest.raises(CfgError) as caught:
        network_with(tmp_path, "map=bad.map")
    assert (
        str(caught.value)
        == f"{tmp_path}/net.cfg:10: [region] map=bad.map: {expected.format(tmp_path)}"
    )


@pytest.mark.parametrize(
    ("text", "depth"),
    [("a -1\nb -1\nc -1\n", 1), ("a -1\nb 0\nc 1\n", 3), ("a -1\nb 0\nc -1\n", 2)],
)
def test_the_largest_tree(
    text: str, depth: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Classes times depth are limited, because a table of that size is made."""
    (tmp_path / "a.tree").write_text(text)
    block = Block("region", {"tree": "a.tree"})
    monkeypatch.setattr(tree_module, "_MOST_FACTORS", 3 * depth)
    assert read_tree(block, str(tmp_path)) is not None
    monkeypatch.setattr(tree_module, "_MOST_FACTORS", 3 * depth - 1)
    with pytest.raises(CfgError, match="a.tree:[23]: the tree is too large and too deep"):
        read_tree(block, str(tmp_path))


def test_the_limit_of_trees(tmp_path: Path) -> None:
    """A chain of 4096 classes has 2^24 factors."""
    chain = [f"class {parent}\n" for parent in range(-1, 4096)]
    for count in (4096, 4097):
        (tmp_path / "a.tree").write_text("".join(chain[:count]))
        block = Block("region", {"tree": "a.tree"})
        if count == 4096:
            assert read_tree(block, str(tmp_path)) is not None
            continue
        with pytest.raises(CfgError, match="a.tree:4097: the tree is too large and too deep"):
            read_tree(block, str(tmp_path))


def test_files_that_are_missing(tmp_path: Path) -> None:
    for option in ("tree", "map"):
        with pytest.raises(CfgError) as caught:
            network_with(tmp_path, f"{option}=no.file")
        assert (
            str(caught.value)
            == f"{tmp_path}/net.cfg:10: [region] {option}=no.file: no such file; looked for"
            f" {tmp_path}/no.file and {tmp_path.parent}/no.file and no.file"
        )


@pytest.mark.parametrize("reasons", [(5, "Input/output error"), ("odd",)])
def test_files_that_cannot_be_read(
    reasons: tuple[Any, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(path: Path) -> bytes:
        raise OSError(*reasons)

    monkeypatch.setattr(tree_module, "read_bounded", read)
    with pytest.raises(CfgError, match=f"my.tree: cannot be read: {reasons[-1]}$"):
        network_with(tmp_path, "tree=my.tree")


def test_a_blank_line_of_a_map(tmp_path: Path) -> None:
    """It is class 0, in Darknet too (utils.c:71)."""
    (tmp_path / "blank.map").write_text("6\n\n3\n")
    with pytest.warns(CfgWarning, match=r"blank.map:2: blank line; Darknet reads it as class 0"):
        head = network_with(tmp_path, "tree=my.tree\nmap=blank.map").heads[0]
    assert isinstance(head, Region) and head.class_map == [6, 0, 3]


def test_a_probability_at_the_threshold() -> None:
    """The path ends where the product is not larger (tree.c:84)."""
    tree = Tree(("a", "b", "c"), (-1, 0, 0))
    row = torch.tensor([1.0, 0.5, 0.25])
    assert [tree._walk(row, threshold) for threshold in (0.5, 0.49)] == [0, 1]


def test_a_tree_of_another_size(tmp_path: Path) -> None:
    (tmp_path / "small.tree").write_text("animal -1\n")
    with pytest.raises(CfgError, match=r"net.cfg:6: \[region\]: classes=8, but the tree has 1$"):
        network_with(tmp_path, "tree=small.tree")


@pytest.mark.pack
@pytest.mark.filterwarnings(
    "ignore::darknet_builder.errors.CfgWarning"
)  # the cfg says batch= twice
def test_the_tree_of_yolo9000(shared: Path) -> None:
    """9,418 classes; all of COCO's 80 are among them."""
    network = build_network(
        shared / "cfgs" / "alexeyab" / "yolo9000.cfg", width=32, height=32, initialize=False
    )
    head = network.heads[-1]
    assert isinstance(head, Region) and head.tree is not None and head.class_map is not None
    assert (head.tree.size, len(head.class_map), head.reported_classes) == (9418, 80, 9418)
