"""Anchors that fit a data set, and cfgs changed for one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from darknet_builder.cfg.parser import parse_cfg
from darknet_builder.cli import program as cli
from darknet_builder.data.anchors import find_anchors, overlaps
from darknet_builder.errors import DarknetError, DataError
from darknet_builder.inspection.adapt import Adaptation, adapt_cfg
from darknet_builder.network.build import build_network
from tests.helpers.training_folder import TINY_CFG, make_folder

TWO_HEADS = """\
# a comment
[net]
width=64
height=64
channels=3
policy=steps
max_batches = 500
steps=400,450   # falls here
scales=.1,.1

[convolutional]
filters=8
size=3
stride=8
pad=1

[convolutional]
filters=21
size=1

; coarse
[yolo]
mask = 3,4,5
anchors = 1,2, 3,4, 5,6, 7,8, 9,10, 11,12
num=6
classes=2

[route]
layers=0

[upsample]
stride=2

[convolutional]
filters=21
size=1

[yolo]
mask = 0,1,2
anchors = 1,2, 3,4, 5,6, 7,8, 9,10, 11,12
num=6
classes=2
"""


def test_clusters_are_found() -> None:
    """Three clouds of sizes: their means, by rising area."""
    random = np.random.default_rng(0)
    clouds = [
        np.array(centre) + random.uniform(-1, 1, (50, 2))
        for centre in ((80, 30), (10, 12), (30, 60))
    ]
    anchors = find_anchors(np.concatenate(clouds), 3)
    means = [cloud.mean(0).tolist() for cloud in clouds]
    expected = sorted(means, key=lambda size: size[0] * size[1])
    assert np.allclose(anchors.sizes, expected)
    assert anchors.average_iou > 0.9
    assert anchors.text() == ", ".join(f"{width:.0f},{height:.0f}" for width, height in expected)


def test_average_iou_of_one_anchor() -> None:
    """By hand: the mean of (10, 10) and (20, 20) is (15, 15)."""
    anchors = find_anchors(np.array([[10.0, 10.0], [20.0, 20.0]]), 1)
    assert anchors.average_iou == pytest.approx((100 / 225 + 225 / 400) / 2)
    assert overlaps(np.array([[10.0, 10.0]]), np.array([[5.0, 20.0]])).item() == pytest.approx(
        50 / 150
    )


def test_same_seed_same_anchors() -> None:
    """Darknet's differ from call to call."""
    sizes = np.random.default_rng(1).uniform(5, 100, (300, 2))
    assert np.array_equal(
        find_anchors(sizes, 6, seed=3).sizes, find_anchors(sizes, 6, seed=3).sizes
    )
    assert (
        find_anchors(sizes, 9).average_iou
        > find_anchors(sizes, 6).average_iou
        > find_anchors(sizes, 2).average_iou
    )


def test_too_few_boxes() -> None:
    """Equal boxes count once."""
    with pytest.raises(
        DataError, match="expected boxes of 3 different sizes for 3 anchors, found 2"
    ):
        find_anchors(np.array([[1.0, 2.0], [1.0, 2.0], [3.0, 4.0]]), 3)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """cfg text that the cfg takes."""
    data = make_folder(tmp_path)
    assert cli.main(["anchors", "--data", str(data), "--cfg", str(tmp_path / "tiny.cfg")]) == 0
    comment, option = capsys.readouterr().out.splitlines()
    assert comment.startswith("# ") and "boxes of 10 images, average IoU" in comment
    assert option.startswith("anchors = ") and len(option.split(",")) == 6
    assert cli.main(["anchors", "--data", str(data)]) == 2
    assert "give --cfg FILE, or all of --num, --width and --height" in capsys.readouterr().err


# ---- adapt-cfg -----------------------------------------------------------------------------------


def _adapt(adaptation: Adaptation, text: str = TWO_HEADS) -> str:
    return adapt_cfg(text, parse_cfg(text), adaptation).text()


def test_only_what_must_change() -> None:
    """Classes, filters, steps; comments and blanks stay, line for line."""
    text = _adapt(Adaptation(5))
    changed = {
        (old, new)
        for old, new in zip(TWO_HEADS.split("\n"), text.split("\n"), strict=True)
        if old != new
    }
    assert changed == {
        ("filters=21", "filters=30"),
        ("classes=2", "classes=5"),
        ("max_batches = 500", "max_batches = 10000"),
        ("steps=400,450   # falls here", "steps=8000,9000 # falls here"),
    }
    assert [head.classes for head in build_network(text).heads] == [5, 5]


@pytest.mark.parametrize(
    ("burn_in", "change"),
    [
        ("burn_in=4000", ["line 3: [net] burn_in=150, was 4000"]),
        ("burn_in=151", ["line 3: [net] burn_in=150, was 151"]),
        ("burn_in=150", []),
        ("burn_in=0", []),
        ("", []),
    ],
)
def test_burn_in_is_shorter_than_the_training(burn_in: str, change: list[str]) -> None:
    """A tenth of it at most."""
    text = TWO_HEADS.replace("[net]\n", f"[net]\n{burn_in}\n", 1)
    edited = adapt_cfg(text, parse_cfg(text), Adaptation(3, max_batches=1500))
    assert [line for line in edited.changes if "burn_in" in line] == change
    least = adapt_cfg(text, parse_cfg(text), Adaptation(3, max_batches=4))
    assert [line.split(",")[0] for line in least.changes if "burn_in" in line] == (
        ["line 3: [net] burn_in=1"] if parse_cfg(text)[0].get_int("burn_in", 0) else []
    )


def test_another_number_of_anchors() -> None:
    """Masks are shared out: the finest grid gets the smallest."""
    sizes = np.arange(1, 9).reshape(4, 2) * 10.0
    network = build_network(_adapt(Adaptation(2, sizes, 700)))
    coarse, fine = network.heads
    assert (coarse.mask, fine.mask) == ([2, 3], [0, 1])  # type: ignore[attr-defined]
    assert fine.masked_anchors == [(10, 20), (30, 40)]  # type: ignore[attr-defined]
    assert network.options.schedule.max_batches == 700 and network.options.schedule.steps == (
        560,
        630,
    )


def test_same_number_keeps_masks() -> None:
    """Whatever they are."""
    network = build_network(_adapt(Adaptation(2, np.arange(1, 13).reshape(6, 2) * 3.0)))
    assert [head.mask for head in network.heads] == [[3, 4, 5], [0, 1, 2]]  # type: ignore[attr-defined]


def test_absent_options_are_added() -> None:
    """classes= has a default."""
    text = TINY_CFG.replace("classes=8\n", "").replace("filters=39", "filters=75")
    assert [head.classes for head in build_network(_adapt(Adaptation(4), text)).heads] == [4]


def test_region() -> None:
    """Filters follow from all anchors, which are in cells."""
    text = (
        TWO_HEADS.split("; coarse")[0].replace("filters=21", "filters=14")
        + "[region]\nanchors=1,1,2,2\nnum=2\nclasses=2\nsoftmax=1\n"
    )
    network = build_network(_adapt(Adaptation(6, np.array([[1.5, 2.25], [3, 4]])), text))
    assert network.heads[0].classes == 6 and network.heads[0].anchors == [(1.5, 2.25), (3, 4)]  # type: ignore


@pytest.mark.parametrize(
    "adaptation, text, message",
    [
        (Adaptation(0), TWO_HEADS, "classes=0: expected 1 or more"),
        (Adaptation(2, np.ones((3, 2))), TWO_HEADS, "3 anchors cannot be shared evenly by 2 heads"),
        (
            Adaptation(2),
            TWO_HEADS.split("; coarse")[0],
            "no \\[yolo\\], \\[Gaussian_yolo\\], \\[region\\] or \\[detection\\] head",
        ),
        (
            Adaptation(3),
            TWO_HEADS.replace("classes=2\n", "classes=2\ncounters_per_class=1,2\n"),
            "counts the boxes of",
        ),
    ],
)
def test_mistakes(adaptation: Adaptation, text: str, message: str) -> None:
    """Each in one line."""
    with pytest.raises(DarknetError, match=message):
        _adapt(adaptation, text)


def test_adapt_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From a data set, with fitted anchors; a file that is there is not written over."""
    data = make_folder(tmp_path)
    source, target = tmp_path / "two.cfg", tmp_path / "new.cfg"
    source.write_text(TWO_HEADS)
    words = [
        "adapt-cfg",
        str(source),
        "--data",
        str(data),
        "--anchors",
        "fit",
        "--output",
        str(target),
    ]
    assert cli.main(words) == 0
    assert "line 18: [convolutional] filters=39, was 21" in capsys.readouterr().out
    assert [head.classes for head in build_network(target).heads] == [8, 8]
    assert cli.main(words) == 2
    assert "already exists; choose another file, or give --overwrite" in capsys.readouterr().err
    for wrong in ("1,2,3", "a,b", "0,1"):
        assert (
            cli.main(
                [
                    "adapt-cfg",
                    str(source),
                    "--classes",
                    "2",
                    "--anchors",
                    wrong,
                    "--output",
                    str(tmp_path / "x.cfg"),
                ]
            )
            == 2
        )
        assert f"--anchors {wrong}: expected" in capsys.readouterr().err
