"""The networks of ``cfg/`` are Darknet's: same layers, same numbers, same options, and true
comments."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from darknet_builder.cfg.block import Block
from darknet_builder.cfg.parser import parse_cfg
from darknet_builder.layers.base import Layer
from darknet_builder.network.build import build_network
from darknet_builder.network.network import Network
from darknet_builder.weights.loader import load_weights
from darknet_builder.weights.official import official_files
from tests.conftest import GOLDEN, read_fixture
from tests.helpers.parity import Fixture, check_outputs, check_structure, check_weights_file

CFGS = Path(__file__).parents[2] / "cfg"
NETWORKS = GOLDEN / "networks"
STRUCTURES: dict[str, dict[str, Any]] = json.loads((NETWORKS / "structures.json").read_text())
"""cfg -> what Darknet recorded of its layers (``type channels height width outputs``), and what
Darknet's own cfg says: each layer's ``wiring``, and the options of ``[net]`` and of the heads."""
FOLDERS = {"alexeyab": "networks", "pjreddie": "networks-pjreddie"}
OTHER_NAMES = {"Gaussian_yolov3": "Gaussian_yolov3_BDD"}
HEADS = ("yolo", "Gaussian_yolo", "region", "detection", "softmax", "cost")
UNUSED = ("batch", "subdivisions", "max_epochs")
"""The first two have a test of their own; the third changes nothing."""
SECTIONS = {"gaussian_yolo": "Gaussian_yolo", "reorg_old": "reorg"}
"""Darknet's names of layer types where they are not its sections' names."""
OTHER_DIALECT = ("yolov2", "yolov3", "yolov3-tiny")
"""The cfgs of AlexeyAB's Darknet that pjreddie's was recorded with too. pjreddie's own darknet19
ends without a [cost]: another network."""
CARRIED = sorted(path.stem for path in NETWORKS.glob("*.npz"))


def cfg_of(name: str) -> Path:
    return CFGS / f"{name}.cfg"


def header_of(name: str) -> list[str]:
    """The comment before ``[net]``."""
    return cfg_of(name).read_text().split("\n\n")[0].splitlines()


def options_of(layer: Layer) -> dict[str, Any]:
    """What a layer was built with: its own attributes, without PyTorch's."""
    return {key: value for key, value in vars(layer).items() if not key.startswith("_")}


def packed(pack: Path, name: str, dialect: str) -> Fixture:
    """Our cfg with what the pack recorded of Darknet's."""
    meta, arrays = read_fixture(pack / FOLDERS[dialect] / f"{OTHER_NAMES.get(name, name)}.npz")
    return Fixture(meta, arrays, cfg_of(name), dialect)


def their_cfg(pack: Path, request: pytest.FixtureRequest, name: str) -> Path:
    """Darknet's own cfg."""
    cfgs = request.config.getoption("--pack-cfgs") or pack.resolve().parent / "cfgs"
    return Path(cfgs / STRUCTURES[name]["dialect"] / f"{OTHER_NAMES.get(name, name)}.cfg")


def plain_options(block: Block) -> dict[str, Any]:
    """The options of a section, numbers as numbers: ``.1,.1`` is ``0.1,0.10``."""
    return {
        key: [_number(word) for word in value.split(",")]
        for key, value in sorted(block.items())
        if key not in UNUSED
    }


def _number(word: str) -> float | str:
    try:
        return float(word)
    except ValueError:
        return word


def important_options(blocks: list[Block]) -> list[dict[str, Any]]:
    """Those of ``[net]`` and of every head."""
    return [plain_options(block) for block in blocks if block.name in ("net", *HEADS)]


def wiring(blocks: list[Block]) -> list[str]:
    """Kernel, groups, activation and absolute sources of every layer: what shapes alone do not
    show."""
    lines = []
    for index, block in enumerate(blocks[1:]):
        numbers = block.get("layers", block.get("from", "-1")).split(",")
        sources = ",".join(str(int(number) + index * (int(number) < 0)) for number in numbers)
        words = [block.get(key, "1") for key in ("size", "stride", "groups", "group_id")]
        lines.append(" ".join([*words, block.get("activation", "-"), sources]))
    return lines


def check_all(fixture: Fixture, folder: Path) -> None:
    network = fixture.build()
    check_structure(fixture, network)
    check_weights_file(fixture, network, folder)
    check_outputs(fixture, network)


# ---- what Darknet recorded -----------------------------------------------------------------------


def test_every_network_that_people_ask_for_is_here() -> None:
    assert set(STRUCTURES) == {
        "Gaussian_yolov3",
        "darknet19",
        "darknet53",
        "yolo-fastest-1.1",
        "yolov1-tiny",
        "yolov2",
        "yolov2-tiny",
        "yolov3",
        "yolov3-spp",
        "yolov3-tiny",
        "yolov4",
        "yolov4-csp",
        "yolov4-tiny",
        "yolov4-tiny-3l",
        "yolov7",
        "yolov7-tiny",
    }
    assert all(cfg_of(name).is_file() for name in STRUCTURES)


@pytest.mark.parametrize("name", STRUCTURES)
def test_structure(name: str) -> None:
    """Types, shapes, parameters and BFLOPs of every layer, at the size that was recorded."""
    row = STRUCTURES[name]
    keys = ("out_c", "out_h", "out_w", "outputs")
    layers = [dict(zip(keys, map(int, line.split()[1:]), strict=True)) for line in row["layers"]]
    fixture = Fixture(row | {"layers": layers}, {}, cfg_of(name), row["dialect"])
    network = fixture.build()
    check_structure(fixture, network)
    types = [line.split()[0] for line in row["layers"]]
    assert [layer.section for layer in network.sequence()] == [
        SECTIONS.get(word, word) for word in types
    ]


@pytest.mark.parametrize("name", STRUCTURES)
def test_options_of_net_and_heads(name: str) -> None:
    """Anchors, masks, suppression, losses, augmentation and schedule; outputs would not show a
    wrong anchor."""
    assert important_options(parse_cfg(cfg_of(name))) == STRUCTURES[name]["options"]


@pytest.mark.parametrize("name", STRUCTURES)
def test_wiring(name: str) -> None:
    """Every layer reads what Darknet's reads, and activates as it does."""
    assert wiring(parse_cfg(cfg_of(name))) == STRUCTURES[name]["wiring"]


@pytest.mark.parametrize("name", CARRIED)
def test_carried_network(name: str, tmp_path: Path) -> None:
    """Every layer's output of the small ones, and their weights file byte for byte."""
    meta, arrays = read_fixture(NETWORKS / f"{name}.npz")
    check_all(Fixture(meta, arrays, cfg_of(name), STRUCTURES[name]["dialect"]), tmp_path)


@pytest.mark.pack
@pytest.mark.parametrize("name", OTHER_DIALECT)
def test_the_other_dialect(name: str, pack: Path, tmp_path: Path) -> None:
    """The same as pjreddie's Darknet computes it.

    The outputs of AlexeyAB's Darknet are compared with those of its own cfgs (``test_parity``), to
    which the carried ones are equal in all that the package reads.
    """
    check_all(packed(pack, name, "pjreddie"), tmp_path)


@pytest.mark.pack
@pytest.mark.parametrize("name", STRUCTURES)
def test_options_are_those_of_darknets_cfg(
    name: str, pack: Path, request: pytest.FixtureRequest
) -> None:
    """Anchors, masks, suppression, losses, augmentation, learning rates: everything that the
    package reads."""
    dialect = STRUCTURES[name]["dialect"]
    ours = build_network(cfg_of(name), dialect=dialect, initialize=False)
    theirs = build_network(their_cfg(pack, request, name), dialect=dialect, initialize=False)
    for index, (layer, other) in enumerate(zip(ours.sequence(), theirs.sequence(), strict=True)):
        assert (repr(layer), options_of(layer)) == (repr(other), options_of(other)), index
    same = vars(ours.options) | {
        "batch": theirs.options.batch,
        "subdivisions": theirs.options.subdivisions,
    }
    assert same == vars(theirs.options)


@pytest.mark.pack
@pytest.mark.parametrize("name", STRUCTURES)
def test_batch_is_the_one_for_training(
    name: str, pack: Path, request: pytest.FixtureRequest
) -> None:
    """Some of Darknet's cfgs say batch=1, with the batch to train with in a comment: ours say the
    latter."""
    net = their_cfg(pack, request, name).read_text().split("\n[convolutional]")[0]
    for key in ("batch", "subdivisions"):
        values = [int(value) for value in re.findall(rf"(?m)^#?\s*{key}\s*=\s*(\d+)", net)]
        assert int(parse_cfg(cfg_of(name))[0][key]) == max(values), key


@pytest.mark.pack
@pytest.mark.parametrize("name", STRUCTURES)
def test_what_is_carried_is_the_packs(
    name: str, pack: Path, request: pytest.FixtureRequest
) -> None:
    meta = packed(pack, name, STRUCTURES[name]["dialect"]).meta
    row = {key: meta[key] for key in ("name", "width", "height", "parameters", "bflops")}
    keys = ("type", "out_c", "out_h", "out_w", "outputs")
    assert STRUCTURES[name] == row | {
        "dialect": STRUCTURES[name]["dialect"],
        "wiring": wiring(parse_cfg(their_cfg(pack, request, name))),
        "options": important_options(parse_cfg(their_cfg(pack, request, name))),
        "layers": [" ".join(str(layer[key]) for key in keys) for layer in meta["layers"]],
    }


def test_published_weights_fit(shared: Path) -> None:
    network = build_network(cfg_of("yolo-fastest-1.1"), initialize=False)
    assert (
        load_weights(network, shared / "models/yolo-fastest-1.1.weights").num_floats
        == network.num_stored
    )


# ---- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("names", "count"), [("coco", 80), ("voc", 20), ("bdd", 10)])
def test_names(names: str, count: int) -> None:
    text = (CFGS / f"{names}.names").read_text()
    lines = text.splitlines()
    assert len(lines) == len(set(lines)) == count and text.endswith("\n") and all(lines)


@pytest.mark.parametrize("names", ["coco", "voc"])
def test_names_are_in_darknets_order(names: str, shared: Path) -> None:
    ours, theirs = CFGS / f"{names}.names", shared / f"models/{names}.names"
    assert ours.read_text().splitlines() == theirs.read_text().splitlines()


# ---- comments and layout -------------------------------------------------------------------------


@pytest.mark.parametrize("name", STRUCTURES)
def test_header_is_true(name: str) -> None:
    """Its classes, its names file, its size, and the weights that it points to."""
    network = build_network(cfg_of(name), initialize=False)
    text = " ".join(line.removeprefix("# ") for line in header_of(name))
    width, height = network.input_size
    assert (
        f"{width} x {height}: {network.num_stored:,} parameters, {network.bflops:.3f} BFLOPs."
        in text
    )
    classes = network.heads[0].classes if network.heads else network.sequence()[-1].out_shape.size
    assert f" {classes} classes of " in text
    for names in re.findall(r"\((\w+\.names)\)", text):
        assert len((CFGS / names).read_text().splitlines()) == classes
    pointed = re.findall(r"get-weights (\S+)", text)
    assert all(entry in official_files() for entry in pointed)
    if name in official_files():
        assert name in pointed, "official weights exist"


@pytest.mark.parametrize("name", STRUCTURES)
def test_stage_comments_are_true(name: str) -> None:
    """``# first-last, stride N: what``: stages follow each other without a gap; N is the stride of
    the last layer."""
    lines = cfg_of(name).read_text().splitlines()
    network = build_network(cfg_of(name), initialize=False)
    layer_at = {block.line: index for index, block in enumerate(network.blocks[1:])}
    expected = 0
    for number, line in enumerate(lines, start=1):
        match = re.fullmatch(r"# (\d+)(?:-(\d+))?(?:, stride (\d+))?: .+", line)
        if match is None or number < network.blocks[1].line - 1:
            continue
        first, last = int(match[1]), int(match[2] or match[1])
        assert layer_at[number + 1] == first == expected, line
        assert match[3] == stride_of(network, last), line
        expected = last + 1
    assert expected == len(network.layers)


def stride_of(network: Network, index: int) -> str | None:
    """Input pixels a place of a layer's map, as text; None for a vector."""
    shape = network.sequence()[index].out_shape
    return None if shape.flat or shape.width == 1 else str(network.input_size[0] // shape.width)


@pytest.mark.parametrize("name", STRUCTURES)
def test_layout(name: str) -> None:
    """One empty line between sections, blanks only in lists, options always in one order."""
    text = cfg_of(name).read_text()
    assert text.endswith("\n") and not re.search(r"[ \t]\n|\n\n\n|\n\n$|\t|\r", text)
    assert all(
        re.fullmatch(r"\[\w+\]|\w+=\S+(, \S+)*|# .{1,118}|", line) for line in text.split("\n")
    )
    orders = {block.name: list(block) for block in sorted(parse_cfg(cfg_of(name)), key=len)}
    for block in parse_cfg(cfg_of(name)):
        assert [key for key in orders[block.name] if key in block] == list(block), block.where()
