"""Classifiers: Darknet's crop in plain loops, the order of classes, hierarchies, the command and
its mistakes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import generator
import numpy as np
import pytest
import torch

from darknet_builder import Classifier, build_network
from darknet_builder.cli.program import main
from darknet_builder.engines.optimized import OptimizedNetwork
from darknet_builder.errors import DarknetError, ImageError
from darknet_builder.images.crop import fit_image
from darknet_builder.images.resize import to_input
from darknet_builder.network.network import Network
from darknet_builder.prediction.classifier import ClassScore
from darknet_builder.weights.loader import load_weights, save_weights
from tests.conftest import read_fixture

ROOT = Path(__file__).parents[2]
CFG = """[net]
width=8
height=8
channels=3

[convolutional]
filters=3
size=1
activation=linear

[avgpool]

[softmax]
groups=1

[cost]
type=sse
"""
"""Scores red, green and blue."""
TREE = "animal -1\nplant -1\ndog 0\ncat 0\ntree 1\npuppy 2\nhound 2\n"


def colour_network(cfg: str = CFG) -> Network:
    """Each class is as likely as there is of its colour."""
    network = build_network(cfg, initialize=False).eval()
    with torch.no_grad():
        weight, bias = (
            network.get_parameter("layers.0.conv.weight"),
            network.get_parameter("layers.0.conv.bias"),
        )
        weight.copy_(3 * torch.eye(len(weight), 3)[:, :, None, None])
        bias.zero_()
    return network


def plain(blue: int, green: int, red: int, size: tuple[int, int] = (10, 12)) -> np.ndarray:
    """An image of one colour."""
    return np.full((*size, 3), (blue, green, red), np.uint8)


def image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


# ---- fitting -------------------------------------------------------------------------------------


def crop_in_loops(image: np.ndarray, net_size: tuple[int, int]) -> np.ndarray:
    """resize_min and crop_image, with C's integers."""
    height, width = image.shape[:2]
    smallest = net_size[0]
    if width < height:
        size = (smallest, int(height * smallest / width))
    else:
        size = (int(width * smallest / height), smallest)
    resized = to_input(image, size)[0].numpy()
    left, top = (int((length - wanted) / 2) for length, wanted in zip(size, net_size, strict=True))
    cropped = np.zeros((3, net_size[1], net_size[0]), np.float32)
    for row in range(net_size[1]):
        for column in range(net_size[0]):
            y, x = min(max(row + top, 0), size[1] - 1), min(max(column + left, 0), size[0] - 1)
            cropped[:, row, column] = resized[:, y, x]
    return cropped


@pytest.mark.parametrize(
    ("shape", "net_size"),
    [
        ((20, 33), (8, 8)),
        ((33, 20), (8, 8)),
        ((21, 21), (8, 8)),
        ((8, 8), (8, 8)),
        ((5, 30), (8, 8)),
        ((31, 10), (9, 9)),
        ((20, 30), (8, 14)),  # the input is higher than wide: rows beyond the edges are repeated
        ((20, 30), (8, 13)),
        ((30, 20), (14, 8)),
        ((3, 4), (16, 16)),
    ],
)
def test_crop_as_in_plain_loops(shape: tuple[int, int], net_size: tuple[int, int]) -> None:
    picture = image(*shape)
    assert np.array_equal(fit_image(picture, net_size).numpy(), crop_in_loops(picture, net_size))


def test_crop_takes_the_middle() -> None:
    """Of an image twice as wide as high, the outer quarters are left out."""
    picture = plain(0, 0, 0, (16, 32))
    picture[:, 8:24] = 255
    cropped = fit_image(picture, (8, 8))
    assert cropped[:, :, 1:7].min() == 1
    assert fit_image(picture, (8, 8), "stretch").min() == 0


def test_other_ways_are_those_of_detectors() -> None:
    picture = image(20, 33)
    for fit in ("letterbox", "stretch"):
        assert torch.equal(fit_image(picture, (8, 8), fit), to_input(picture, (8, 8), fit)[0])


def test_grey_networks() -> None:
    assert fit_image(image(9, 14), (8, 8), channels=1).shape == (1, 8, 8)


def test_too_thin() -> None:
    with pytest.raises(
        ImageError, match="^900x8 pixels are too thin to crop; use the fit stretch or letterbox$"
    ):
        fit_image(image(8, 900), (8, 8))
    assert fit_image(image(8, 900), (8, 8), "stretch").shape == (3, 8, 8)


# ---- classes -------------------------------------------------------------------------------------


def test_the_likeliest_first() -> None:
    classifier = Classifier(colour_network(), names=["red", "green", "blue"])
    found = classifier(plain(255, 0, 51))
    assert [row.name for row in found] == ["blue", "red", "green"]
    expected = torch.tensor([0.6, 0, 3]).softmax(0)[[2, 0, 1]].tolist()
    assert [row.score for row in found] == pytest.approx(expected, abs=1e-6)
    assert [row.class_id for row in found] == [2, 0, 1]
    assert found[0].parent is None


def test_top_and_equal_scores() -> None:
    """Of equal scores the lower number comes first."""
    classifier = Classifier(colour_network(), top=2)
    assert [row.name for row in classifier(plain(9, 9, 9))] == ["class 0", "class 1"]
    assert Classifier(colour_network(), top=99).top == 3


def test_lists_and_files(tmp_path: Path) -> None:
    classifier = Classifier(colour_network(), top=1, batch=2)
    pictures = [plain(255, 0, 0), plain(0, 255, 0), plain(0, 0, 255)]
    cv2.imwrite(str(tmp_path / "red.png"), pictures[2])
    found = classifier([*pictures, tmp_path / "red.png", str(tmp_path / "red.png")])
    assert [rows[0].class_id for rows in found] == [2, 1, 0, 0, 0]
    assert classifier(tmp_path / "red.png") == classifier(pictures[2])
    assert classifier([]) == []


def test_without_softmax_and_cost() -> None:
    """Raw scores of the last layer."""
    classifier = Classifier(colour_network(CFG[: CFG.index("[softmax]")]), top=1)
    assert classifier(plain(0, 255, 0)) == [ClassScore(1, "class 1", 3.0)]


def test_a_whole_model_from_files(tmp_path: Path) -> None:
    save_weights(colour_network(), tmp_path / "net.weights")
    (tmp_path / "net.names").write_text("red\ngreen\nblue\n")
    classifier = Classifier(CFG, tmp_path / "net.weights", tmp_path / "net.names", top=1)
    assert classifier(plain(0, 255, 0))[0].name == "green"


# ---- hierarchies ---------------------------------------------------------------------------------


@pytest.fixture
def tree_network(tmp_path: Path) -> Any:
    """A function that builds a classifier over TREE, whose logits are given, in a dialect."""
    (tmp_path / "my.tree").write_text(TREE)
    cfg = CFG.replace("filters=3", "filters=7").replace("groups=1", "tree=my.tree")
    (tmp_path / "net.cfg").write_text(cfg)

    def build(logits: list[float], dialect: str) -> Network:
        network = build_network(tmp_path / "net.cfg", dialect=dialect, initialize=False).eval()
        with torch.no_grad():
            network.get_parameter("layers.0.conv.weight").zero_()
            network.get_parameter("layers.0.conv.bias").copy_(torch.tensor(logits))
        return network

    return build


LOGITS = [2.0, 1.0, 0.5, -0.5, 3.0, 1.5, 0.25]


def absolute() -> list[float]:
    """hierarchy_predictions by hand: softmax among siblings, times the parent's."""

    def share(index: int, *siblings: int) -> float:
        return float(np.exp(LOGITS[index]) / sum(np.exp(LOGITS[other]) for other in siblings))

    animal, plant = share(0, 0, 1), share(1, 0, 1)
    dog = animal * share(2, 2, 3)
    return [
        animal,
        plant,
        dog,
        animal * share(3, 2, 3),
        plant,
        dog * share(5, 5, 6),
        dog * share(6, 5, 6),
    ]


def test_a_hierarchy_in_alexeyabs_way(tree_network: Any) -> None:
    """Every class with the probability of its whole path."""
    found = Classifier(tree_network(LOGITS, "alexeyab"), top=7)(plain(0, 0, 0))
    assert [row.score for row in found] == pytest.approx(sorted(absolute(), reverse=True), abs=1e-6)
    assert found[0] == ClassScore(0, "animal", found[0].score, "Root")
    assert {row.name: row.parent for row in found}["hound"] == "dog"


def test_a_hierarchy_in_pjreddies_way(tree_network: Any) -> None:
    """Only classes without children; the image is letterboxed."""
    classifier = Classifier(tree_network(LOGITS, "pjreddie"), top=5)
    found = classifier(plain(0, 0, 0))
    assert classifier.fit == "letterbox"
    probabilities = absolute()
    assert [(row.class_id, row.score) for row in found[:4]] == [
        (index, pytest.approx(probabilities[index], abs=1e-6))
        for index in sorted((3, 4, 5, 6), key=lambda index: -probabilities[index])
    ]
    assert found[4].score == 0


def test_other_names_for_a_hierarchy(tree_network: Any) -> None:
    found = Classifier(tree_network(LOGITS, "alexeyab"), names=list("abcdefg"), top=1)(
        plain(0, 0, 0)
    )
    assert (found[0].name, found[0].parent) == ("a", "Root")


# ---- recorded networks ---------------------------------------------------------------------------


@pytest.mark.pack
@pytest.mark.parametrize(
    ("dialect", "name"),
    [
        ("alexeyab", "cifar"),
        ("alexeyab", "darknet19"),
        ("pjreddie", "darknet9000"),
        ("alexeyab", "efficientnet_b0"),
    ],
)
@pytest.mark.filterwarnings(
    "ignore::darknet_builder.errors.CfgWarning"
)  # efficientnet_b0.cfg says momentum twice
def test_recorded_classifiers(shared: Path, tmp_path: Path, dialect: str, name: str) -> None:
    """The scores are those that Darknet's last layer gave for the recorded input.

    All are built in AlexeyAB's dialect, in which classes with children keep their scores.
    """
    folder = "networks" if dialect == "alexeyab" else "networks-pjreddie"
    meta, arrays = read_fixture(shared / "parity" / folder / f"{name}.npz")
    generator.write_weights(
        tmp_path / "net.weights", [segment[1:] for segment in meta["segments"]], meta["seed"]
    )
    network = build_network(
        shared / "cfgs" / dialect / f"{name}.cfg",
        width=meta["width"],
        height=meta["height"],
        dialect="alexeyab",
        initialize=False,
    )
    load_weights(network, tmp_path / "net.weights")
    x = torch.from_numpy(
        generator.input_image(
            meta["seed"] + 1, (1, meta["channels"], meta["height"], meta["width"])
        )
    )
    classifier = Classifier(network)
    layer = max(index for index, row in enumerate(meta["layers"]) if row["type"] == "softmax")
    outputs = meta["layers"][layer]["outputs"]
    places = generator.sample_positions(meta["seed"] + 2 + layer, outputs, 1024)
    scores = classifier.scores(x)[0].numpy()
    assert scores.shape == (outputs,)
    recorded = arrays[f"0/{layer}/values"]
    if classifier.tree is not None:
        return _check_tree(classifier, scores, places, recorded)
    assert (
        np.abs(scores[places] - recorded).max()
        <= 1e-3 / outputs**0.5 * float(arrays[f"0/{layer}/norm"]) + 1e-5
    )
    best = classifier.rank(x)[0]
    assert [row.score for row in best] == sorted(scores, reverse=True)[:5]


def _check_tree(
    classifier: Classifier, scores: np.ndarray, places: np.ndarray, recorded: np.ndarray
) -> None:
    """Darknet's shares are among siblings; down the path they are multiplied."""
    assert classifier.tree is not None
    for place, share in zip(places, recorded, strict=True):
        parent = classifier.tree.parents[place]
        above = 1.0 if parent < 0 else scores[parent]
        assert scores[place] == pytest.approx(share * above, abs=1e-4)


# ---- what a user may get wrong -------------------------------------------------------------------


def mistake(*arguments: Any, **options: Any) -> str:
    with pytest.raises(DarknetError) as caught:
        Classifier(*arguments, **options)
    return str(caught.value)


def test_networks_that_are_no_classifiers() -> None:
    net = "[net]\nwidth=8\nheight=8\nchannels=3\n\n"
    assert (
        mistake(
            net + "[convolutional]\nfilters=18\n\n[yolo]\nclasses=1\nnum=3\nanchors=1,1,2,2,3,3\n"
        )
        == "the network ends in [yolo]: it is a detector, not a classifier (use the command"
        " detect)"
    )
    assert (
        mistake(net + "[convolutional]\nfilters=4\n")
        == "the network has no detection head, and ends in a map of 8 x 8 x 4, not in one score for"
        " each class; end it with [avgpool] and [softmax]"
    )
    assert (
        mistake("[net]\ninputs=7\n\n[softmax]\n")
        == "the network takes a vector of 7 values, not an image"
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"top": 0}, "top=0: expected 1 or more"),
        ({"batch": 0}, "batch=0: expected 1 or more"),
        (
            {"fit": "crops"},
            "fit='crops' is unknown; expected crop, stretch or letterbox; did you mean 'crop'?",
        ),
        ({"names": ["a", "b"]}, "names: got 2 names, but the network gives 3 scores"),
        ({}, "weights: expected the path of a .weights file"),
    ],
)
def test_options_that_are_wrong(options: dict[str, Any], expected: str) -> None:
    assert mistake(CFG, **options) == expected


def test_a_network_takes_no_weights() -> None:
    assert (
        mistake(colour_network(), "x.weights")
        == "a Network is already built and loaded; it cannot be given weights, width or height"
    )


# ---- the command ---------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A classifier of colours, its names, and two images."""
    save_weights(colour_network(), tmp_path / "net.weights")
    (tmp_path / "net.cfg").write_text(CFG)
    (tmp_path / "net.names").write_text("red\ngreen\nblue\n")
    (tmp_path / "shots").mkdir()
    cv2.imwrite(str(tmp_path / "shots" / "a.png"), plain(255, 0, 51))
    cv2.imwrite(str(tmp_path / "shots" / "b.png"), plain(0, 255, 0))
    return tmp_path


def words(folder: Path, *more: str) -> list[str]:
    return [
        "classify",
        *more,
        "--cfg",
        str(folder / "net.cfg"),
        "--weights",
        str(folder / "net.weights"),
        "--names",
        str(folder / "net.names"),
    ]


@pytest.mark.parametrize("backend", ["torch", "onnxruntime"])
def test_backends(backend: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same answers, by what was asked for; a Network that is given stays what it is."""
    pytest.importorskip(backend)
    argv = words(folder, str(folder / "shots"), "--top", "2")
    assert main(argv) == 0
    usual = capsys.readouterr().out
    assert main([*argv, "--backend", backend, "--precision", "float32"]) == 0
    assert capsys.readouterr().out == usual
    runner = Classifier(folder / "net.cfg", folder / "net.weights", backend=backend).runner
    assert isinstance(runner, OptimizedNetwork) and runner.backend == backend
    network = colour_network()
    assert Classifier(network).runner is network


def test_what_auto_chose_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(folder, str(folder / "shots"), "--backend", "auto")) == 0
    assert capsys.readouterr().out.startswith("the network runs on ")


def test_list(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(folder, str(folder / "shots"), "--top", "2")) == 0
    assert capsys.readouterr() == (
        (
            f"{folder}/shots/a.png\n   0.8768  blue\n   0.0795  red\n"
            f"{folder}/shots/b.png\n   0.9094  green\n   0.0453  red\n"
        ),
        "",
    )


def test_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(
            words(
                folder, str(folder / "shots" / "a.png"), "--top", "1", "--json", "-", "--batch", "4"
            )
        )
        == 0
    )
    data = json.loads(capsys.readouterr().out)
    assert data == {
        "cfg": str(folder / "net.cfg"),
        "weights": str(folder / "net.weights"),
        "fit": "crop",
        "not_readable": 0,
        "images": [
            {
                "file": f"{folder}/shots/a.png",
                "classes": [
                    {"class_id": 2, "name": "blue", "score": pytest.approx(0.8768, abs=1e-4)}
                ],
            }
        ],
    }
    assert (
        main(
            words(
                folder,
                str(folder / "shots" / "a.png"),
                "--top",
                "1",
                "--json",
                str(folder / "x.json"),
                "--quiet",
            )
        )
        == 0
    )
    assert (capsys.readouterr().out, json.loads((folder / "x.json").read_text())) == ("", data)


def test_images_that_cannot_be_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are told and counted; the rest goes on, with exit status 1."""
    (folder / "shots" / "c.png").write_bytes(b"no image")
    cv2.imwrite(str(folder / "shots" / "d.png"), image(1, 200))
    (folder / "shots" / "notes.txt").write_text("not looked at")
    assert main(words(folder, str(folder / "shots"), "--top", "1", "--batch", "3")) == 1
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 4
    assert (
        captured.err == f"skipped: {folder}/shots/c.png: not an image that OpenCV can read\n"
        f"skipped: {folder}/shots/d.png: 200x1 pixels are too thin to crop; "
        "use the fit stretch or letterbox\n"
    )
    assert main(words(folder, str(folder / "shots" / "c.png"), "--json", "-")) == 1
    assert json.loads(capsys.readouterr().out)["not_readable"] == 1


def test_hierarchies_say_what_is_above(
    tree_network: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_weights(tree_network(LOGITS, "alexeyab"), tmp_path / "net.weights")
    cv2.imwrite(str(tmp_path / "a.png"), plain(0, 0, 0))
    assert (
        main(
            [
                "classify",
                str(tmp_path / "a.png"),
                "--cfg",
                str(tmp_path / "net.cfg"),
                "--weights",
                str(tmp_path / "net.weights"),
                "--top",
                "3",
            ]
        )
        == 0
    )
    assert capsys.readouterr().out.splitlines()[1:] == [
        "   0.7311  animal  (Root)",
        "   0.5344  dog  (animal)",
        "   0.4154  puppy  (dog)",
    ]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["{0}/no.png"], "{0}/no.png: no such file or folder"),
        (["{0}/shots/a.png", "--top", "0"], "--top 0: expected 1 or more"),
        (
            ["{0}/shots/a.png", "--json", "{0}/no/x.json"],
            "{0}/no/x.json: there is no folder {0}/no",
        ),
    ],
)
def test_mistakes_are_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], more: Sequence[str], expected: str
) -> None:
    assert main(words(folder, *(word.format(folder) for word in more))) == 2
    assert capsys.readouterr() == ("", f"darknet-builder: error: {expected.format(folder)}\n")


def test_names_that_do_not_fit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "net.names").write_text("red\n")
    assert main(words(folder, str(folder / "shots"))) == 2
    assert (
        capsys.readouterr().err
        == f"darknet-builder: error: {folder}/net.names: has 1 names, but the network gives 3"
        " scores\n"
    )


@pytest.mark.slow
def test_the_script_is_the_command(folder: Path) -> None:
    result = subprocess.run(
        [
            sys.executable,
            "scripts/classify.py",
            *words(folder, str(folder / "shots"))[1:],
            "--top",
            "1",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.splitlines()[1::2] == ["   0.8768  blue", "   0.9094  green"]
