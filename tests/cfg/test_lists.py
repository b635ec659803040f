"""Lists as Darknet reads them: every commas-and-one-more numbers, of which an empty one is 0.

The numbers on the right were printed by AlexeyAB's Darknet from the structures that it parsed.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest

from darknet_builder import Network, build_network
from darknet_builder.cfg.net_options import NetOptions
from darknet_builder.cfg.parser import parse_cfg
from darknet_builder.errors import CfgError, CfgWarning

DATA = Path(__file__).parents[1] / "data"
NET = "[net]\nwidth=32\nheight=32\nchannels=3\n"


def conv(filters: int) -> str:
    """One convolution."""
    return f"[convolutional]\nfilters={filters}\nsize=1\nactivation=linear\n"


def head(options: str, filters: int, section: str = "yolo", classes: int = 1) -> str:
    """A network with one head."""
    return f"{NET}{conv(filters)}[{section}]\nclasses={classes}\n{options}\n"


def built(text: str) -> tuple[Network, list[str]]:
    """The network, and what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        network = build_network(text)
    return network, [str(warning.message) for warning in caught]


@pytest.mark.parametrize(
    ("options", "filters", "section", "mask", "anchors", "said"),
    [
        (
            "mask=0,1,2\nnum=6\nanchors=10,13,16,30,33,23",
            18,
            "yolo",
            [0, 1, 2],
            [10, 13, 16, 30, 33, 23, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5],
            (
                "num=6 needs 12 numbers, but 6 are given: pairs (10,13) (16,30) (33,23); Darknet"
                " uses 0.5 for each missing number"
            ),
        ),
        (
            "mask=0,1,2\nnum=6\nanchors=10,13,16,30,33,23,",
            18,
            "yolo",
            [0, 1, 2],
            [10, 13, 16, 30, 33, 23, 0, 0.5, 0.5, 0.5, 0.5, 0.5],
            "num=6 needs 12 numbers, but 6 are given: ",
        ),
        (
            "mask=0,1,2\nnum=3\nanchors=10,13,16,30,33,23,",
            18,
            "yolo",
            [0, 1, 2],
            [10, 13, 16, 30, 33, 23],
            "item 7 of the list is empty; Darknet reads it as 0: 10,13,16,30,33,23,0",
        ),
        (
            "mask=0,1\nnum=3\nanchors=10,13, 61,45    61,45",
            12,
            "yolo",
            [0, 1],
            [10, 13, 61, 4561, 45, 0.5],
            "Darknet drops blanks, so '45    61' is read as 4561; is a comma missing?",
        ),
        (
            "mask=1,2\nnum=3\nanchors=10,,16,30,33,23",
            12,
            "yolo",
            [1, 2],
            [10, 0, 16, 30, 33, 23],
            "item 2 of the list is empty; Darknet reads it as 0: 10,0,16,30,33,23",
        ),
        (
            "mask=0,1,2#,4\nnum=3\nanchors=10,13,16,30,33,23#,7",
            18,
            "yolo",
            [0, 1, 2],
            [10, 13, 16, 30, 33, 23],
            "",
        ),
        (
            "mask=0,1,\nnum=3\nanchors=10,13,16,30,33,23",
            18,
            "yolo",
            [0, 1, 0],
            [10, 13, 16, 30, 33, 23],
            "item 3 of the list is empty; Darknet reads it as 0: 0,1,0",
        ),
        ("num=3\nanchors=1,2,3,4#,5,6", 18, "region", None, [1, 2, 3, 4, 5, 6], ""),
        (
            "mask=0\nnum=3\nanchors=1,2,3,4",
            10,
            "Gaussian_yolo",
            [0],
            [1, 2, 3, 4, 0.5, 0.5],
            "num=3 needs 6 numbers, but 4 are given",
        ),
        ("mask=0\nnum=3\nanchors=1,2,3,4#,5,6", 10, "Gaussian_yolo", [0], [1, 2, 3, 4, 5, 6], ""),
    ],
)
def test_anchors_and_masks(
    options: str, filters: int, section: str, mask: Any, anchors: list[float], said: str
) -> None:
    """What Darknet holds after parsing, and a line that says what was read."""
    network, told = built(head(options, filters, section))
    layer = network.heads[0]
    assert [number for pair in layer.anchors for number in pair] == anchors  # type: ignore[attr-defined]
    assert getattr(layer, "mask", None) == mask
    assert any(said in line for line in told) if said else not told


@pytest.mark.parametrize(
    ("options", "filters", "section", "text"),
    [
        (
            "mask=3,4,5\nnum=6\nanchors=10,13,16,30,33,23",
            18,
            "yolo",
            (
                "num=6 needs 12 numbers, but 6 are given: pairs (10,13) (16,30) (33,23); the head"
                " uses anchor 3, which is incomplete"
            ),
        ),
        (
            "mask=2\nnum=3\nanchors=10,13,16,30,33",
            6,
            "yolo",
            "the head uses anchor 2, which is incomplete",
        ),
        (
            "mask=2\nnum=3\nanchors=10,13, 61,45    61,45",
            6,
            "yolo",
            "5 are given: pairs (10,13) (61,4561); the head uses anchor 2, which is incomplete",
        ),
        (
            "mask=0\nnum=3\nanchors=10,,16,30,33,23",
            6,
            "yolo",
            "the head uses anchor 0, which is incomplete",
        ),
        (
            "num=3\nanchors=1,2,3,4",
            18,
            "region",
            "pairs (1,2) (3,4); the head uses anchor 2, which is incomplete",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::darknet_builder.errors.CfgWarning")
def test_a_missing_anchor_that_is_used(options: str, filters: int, section: str, text: str) -> None:
    """Boxes of half a pixel, or of none, are not what anyone trained."""
    with pytest.raises(CfgError, match=re.escape(text)):
        build_network(head(options, filters, section))


def test_a_cfg_with_fewer_anchors() -> None:
    """num=6, three anchors, mask 0,1,2."""
    with pytest.warns(CfgWarning, match="num=6 needs 12 numbers, but 6 are given"):
        network = build_network(DATA / "fewer-anchors.cfg")
    assert network.heads[0].masked_anchors == [(10, 13), (16, 30), (33, 23)]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("section", "sources", "said"),
    [
        (
            "[route]\nlayers=-1,-2,",
            (2, 1, 0),
            "item 3 of the list is empty; Darknet reads it as 0: -1,-2,0",
        ),
        (
            "[route]\nlayers=-1,,-2",
            (2, 0, 1),
            "item 2 of the list is empty; Darknet reads it as 0: -1,0,-2",
        ),
        (
            "[shortcut]\nfrom=-2,",
            (2, 1, 0),
            "item 2 of the list is empty; Darknet reads it as 0: -2,0",
        ),
        ("[route]\nlayers=-1,-2#,0", (2, 1, 0), ""),
        ("[route]\nlayers=-1,-2 # both", (2, 1), ""),
    ],
)
def test_layers(section: str, sources: tuple[int, ...], said: str) -> None:
    """An empty item is layer 0; ``#`` does not end these lists."""
    network, told = built(NET + conv(3) * 3 + section + "\n")
    assert network.layers[3].sources == sources
    assert any(said in line for line in told) if said else not told


@pytest.mark.parametrize(
    ("options", "steps", "scales"),
    [
        ("steps=100,200,\nscales=.1,.2,", (100, 200, 0), (0.1, 0.2, 0)),
        ("steps=100,200#,3\nscales=.1,.2,.3", (100, 200), (0.1, 0.2)),
        ("steps=100,200\nscales=.1,,.2", (100, 200), (0.1, 0)),
    ],
)
@pytest.mark.filterwarnings("ignore::darknet_builder.errors.CfgWarning")
def test_steps_and_scales(options: str, steps: tuple[int, ...], scales: tuple[float, ...]) -> None:
    """As many scales as steps are read."""
    schedule = NetOptions.from_block(parse_cfg(f"{NET}policy=steps\n{options}\n")[0]).schedule
    assert schedule.steps == steps and schedule.scales[: len(steps)] == scales


@pytest.mark.filterwarnings("ignore::darknet_builder.errors.CfgWarning")
def test_a_step_without_a_scale() -> None:
    """Darknet reads the third scale from address 1."""
    with pytest.raises(CfgError, match="needs as many scales as steps: 3 steps and 2 scales"):
        NetOptions.from_block(parse_cfg(f"{NET}policy=steps\nsteps=100,200,\nscales=.1,.2\n")[0])


def test_counters() -> None:
    """An empty counter is 0, and counts as 1 (parser.c:431)."""
    network, told = built(head("mask=0\nnum=1\nanchors=1,2\ncounters_per_class=4,,2", 8, classes=3))
    assert network.heads[0].loss.counters_per_class == (4, 0, 2)  # type: ignore[attr-defined]
    assert ["item 2 of the list is empty" in line for line in told] == [True]


def test_a_blank_line_in_a_map(tmp_path: Path) -> None:
    """Darknet's ``read_map`` takes it for class 0, and does not leave it out (utils.c:71)."""
    (tmp_path / "coco.map").write_text("2\n\n1\n\n")
    text = head("num=1\nanchors=1,2\nmap=coco.map", 8, "region", classes=3)
    (tmp_path / "a.cfg").write_text(text)
    with pytest.warns(CfgWarning, match=r"coco\.map:2: blank line; Darknet reads it as class 0"):
        network = build_network(tmp_path / "a.cfg")
    assert network.heads[0].class_map == [2, 0, 1]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("steps=400 450", "'400 450' is read as 400450"),
        ("width=3 2", "'3 2' is read as 32"),
        ("angle=1 # 2 3", ""),
        ("steps=400, 450", ""),
        ("steps=400 , 450", ""),
        ("hue=.1 ", ""),
        ("hue = .1", ""),
    ],
)
def test_numbers_that_grow_together(line: str, said: str) -> None:
    """Only blanks between two numbers join them."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        parse_cfg(f"[net]\n{line}\n")
    assert [said in str(warning.message) for warning in caught] == [True] * bool(said)
