"""Classifiers: the order of classes, hierarchies, recorded networks, mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import generator
import numpy as np
import pytest
import torch

from darknet_builder import Classifier, build_network
from darknet_builder.errors import DarknetError, InputError
from darknet_builder.prediction.classifier import ClassScore
from darknet_builder.weights.loader import load_weights, save_weights
from tests.conftest import read_fixture
from tests.helpers.colour_classifier import CFG, LOGITS, colour_network, hierarchy, plain

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


def test_bytes_and_rgb(tmp_path: Path) -> None:
    """The same as for the file."""
    classifier = Classifier(colour_network(), top=1)
    red = plain(0, 0, 255)
    cv2.imwrite(str(tmp_path / "red.png"), red)
    data, expected = (tmp_path / "red.png").read_bytes(), classifier(tmp_path / "red.png")
    assert classifier(data) == classifier(red[..., ::-1], channels="rgb") == expected
    assert classifier([data, red[..., ::-1]], channels="rgb") == [expected] * 2
    with pytest.raises(InputError, match="got a int$"):
        classifier(3)  # type: ignore[call-overload]


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


def test_a_hierarchy_in_alexeyabs_way(tmp_path: Path) -> None:
    """Every class with the probability of its whole path."""
    found = Classifier(hierarchy(tmp_path, LOGITS, "alexeyab"), top=7)(plain(0, 0, 0))
    assert [row.score for row in found] == pytest.approx(sorted(absolute(), reverse=True), abs=1e-6)
    assert found[0] == ClassScore(0, "animal", found[0].score, "Root")
    assert {row.name: row.parent for row in found}["hound"] == "dog"


def test_a_hierarchy_in_pjreddies_way(tmp_path: Path) -> None:
    """Only classes without children; the image is letterboxed."""
    classifier = Classifier(hierarchy(tmp_path, LOGITS, "pjreddie"), top=5)
    found = classifier(plain(0, 0, 0))
    assert classifier.fit == "letterbox"
    probabilities = absolute()
    leaves = sorted((3, 4, 5, 6), key=lambda index: -probabilities[index])
    assert [row.class_id for row in found[:4]] == leaves
    expected = [probabilities[index] for index in leaves]
    assert [row.score for row in found[:4]] == pytest.approx(expected, abs=1e-6)
    assert found[4].score == 0


def test_other_names_for_a_hierarchy(tmp_path: Path) -> None:
    found = Classifier(hierarchy(tmp_path, LOGITS, "alexeyab"), names=list("abcdefg"), top=1)(
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
