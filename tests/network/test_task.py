"""Properties of a network and its layers: classes, names, resizing, frames, and the attributes of
sections."""

from __future__ import annotations

from pathlib import Path

import pytest

from darknet_builder import layers as _layers  # noqa: F401  (registers every section)
from darknet_builder.errors import DataError, InputError
from darknet_builder.images.fits import FITS, RESIZE_MODES, check_resize
from darknet_builder.layers.base import Head, registered_sections, tensor_kind
from darknet_builder.network.build import build_network
from darknet_builder.network.network import Network
from darknet_builder.network.task import (
    class_names,
    default_resize,
    find_tree,
    is_classifier,
    known_names,
    num_classes,
)

NET = "[net]\nwidth=32\nheight=32\nchannels=3\n"
DETECTOR = (
    NET + "[conv]\nfilters=14\nactivation=linear\n[yolo]\nclasses=2\nnum=2\nanchors=1,2,3,4\n"
)
MASKED = (
    NET
    + "[conv]\nfilters=11\nactivation=linear\n[Gaussian_yolo]\nclasses=2\nnum=3\nmask=1\nanchors=1,2,3,4,5,6\n"
)
REGION = (
    NET + "[conv]\nfilters=14\nactivation=linear\n[region]\nclasses=2\nnum=2\nanchors=1,2,3,4\n"
)
OLD = (
    NET
    + "[connected]\noutput=28\nactivation=linear\n[detection]\nclasses=2\nside=2\nnum=1\nsqrt=1\ncoords=4\n"
)
CLASSIFIER = NET + "[conv]\nfilters=3\n[avgpool]\n[softmax]\n"
VECTOR = "[net]\ninputs=4\n[connected]\noutput=3\n"
FRAMES = "[net]\ninputs=4\n[rnn]\noutput=3\nhidden=2\n"


def network_of(cfg: str, dialect: str = "alexeyab") -> Network:
    """From text, in eval mode."""
    return build_network(cfg, dialect=dialect).eval()


def sections_with(attribute: str) -> set[str]:
    """Main names of the sections for which an attribute of the class is true."""
    return {layer.section for layer in registered_sections().values() if getattr(layer, attribute)}


# ---- sections ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attribute", "sections"),
    [
        ("is_cost", {"cost", "contrastive"}),
        ("has_loss", {"yolo", "Gaussian_yolo", "region", "detection", "softmax", "cost"}),
        ("is_recurrent", {"rnn", "gru", "lstm", "crnn", "conv_lstm"}),
        ("averaged", {"convolutional"}),
        ("is_convolution", {"convolutional"}),
        ("is_view", {"route"}),
        ("can_overwrite", {"shortcut", "dropout", "activation", "empty"}),
        ("shares_buffer", {"dropout"}),
        ("file_options", {"region", "softmax"}),
    ],
)
def test_attributes_of_sections(attribute: str, sections: set[str]) -> None:
    """As they were before they were attributes."""
    assert sections_with(attribute) == sections


def test_a_shortcut_alone_does_not_decay() -> None:
    """shortcut_layer.c:310 has no decay."""
    assert set(registered_sections()) - {"shortcut"} == {
        name for name, layer in registered_sections().items() if layer.decays
    }


@pytest.mark.parametrize(
    ("cfg", "num", "unit", "decimals", "values", "mask"),
    [
        (DETECTOR, 2, "pixel", 0, 7, [0, 1]),
        (MASKED, 1, "pixel", 0, 11, [1]),
        (REGION, 2, "cell", 2, 7, None),
    ],
)
def test_anchors_of_heads(
    cfg: str, num: int, unit: str, decimals: int, values: int, mask: list[int] | None
) -> None:
    """How many, in which unit, and what each takes of the map."""
    (head,) = network_of(cfg).heads
    assert (head.num_anchors, head.anchor_unit, head.anchor_decimals) == (num, unit, decimals)
    assert (head.values_per_anchor, head.objectness_channel, head.mask) == (
        values,
        values - 3,
        mask,
    )
    assert head.num_anchors * head.values_per_anchor == head.in_shape.channels


def test_a_head_without_anchors() -> None:
    """[detection] has none, so nobody asks for their unit."""
    (head,) = network_of(OLD).heads
    assert (head.num_anchors, head.anchor_unit, head.mask) == (0, None, None)
    assert not head.takes_raw and not head.walks_tree and head.tree is None


def test_new_coords_takes_bounded_numbers() -> None:
    """The layer before such a head applies the logistic."""
    assert network_of(DETECTOR).heads[0].takes_raw
    assert not network_of(DETECTOR + "new_coords=1\n").heads[0].takes_raw


def test_every_head_says_something_of_training_images() -> None:
    """Also one that somebody writes without a word of it."""
    assert network_of(OLD + "jitter=.5\n").heads[0].augment.jitter == 0.5
    assert (Head.augment.jitter, Head.augment.random, Head.report_map) == (0.2, 0, None)


@pytest.mark.parametrize(
    ("name", "kind"), [("weight", "weight"), ("input.norm.var", "var"), ("self.mean", "mean")]
)
def test_tensor_kind(name: str, kind: str) -> None:
    """The last part of a name."""
    assert tensor_kind(name) == kind


@pytest.mark.parametrize(("cfg", "expected"), [(FRAMES, True), (VECTOR, False), (DETECTOR, False)])
def test_is_recurrent(cfg: str, expected: bool) -> None:
    """One answer for engines, exports and detectors; the state is forgotten at any layer's
    ``reset_state``."""
    network = network_of(cfg)
    assert network.is_recurrent is expected
    network.reset_state()
    assert [layer.is_recurrent for layer in network.sequence()].count(True) == expected


# ---- the network's task --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cfg", "classes", "classifies"),
    [
        (DETECTOR, 2, False),
        (REGION, 2, False),
        (CLASSIFIER, 3, True),
        (VECTOR, 0, False),
        (NET + "[conv]\n", 0, False),
    ],
)
def test_classes(cfg: str, classes: int, classifies: bool) -> None:
    """Of detectors and classifiers; others have none."""
    network = network_of(cfg)
    assert (num_classes(network), is_classifier(network)) == (classes, classifies)
    assert class_names(network) == tuple(f"class {index}" for index in range(classes))
    assert known_names(network) == () and find_tree(network) is None


@pytest.mark.parametrize(
    ("cfg", "dialect", "expected"),
    [
        (DETECTOR, "alexeyab", "stretch"),
        (DETECTOR, "pjreddie", "letterbox"),
        (DETECTOR.replace("channels=3", "channels=3\nletter_box=1"), "alexeyab", "letterbox"),
        (CLASSIFIER, "alexeyab", "crop"),
        (CLASSIFIER, "pjreddie", "letterbox"),
        (CLASSIFIER.replace("channels=3", "channels=3\nletter_box=1"), "alexeyab", "crop"),
        (NET + "[conv]\n", "alexeyab", "stretch"),
    ],
)
def test_default_resize(cfg: str, dialect: str, expected: str) -> None:
    """The cfg's, the dialect's and the task's way."""
    assert default_resize(network_of(cfg, dialect)) == expected


def test_class_names(tmp_path: Path) -> None:
    """Those that are given, else the network's own where they fit, else numbers."""
    network = network_of(DETECTOR)
    network.names = ("cat", "dog")
    path = tmp_path / "my.names"
    path.write_text("a\nb\n")
    assert class_names(network) == known_names(network) == ("cat", "dog")
    assert class_names(network, ["x", "y"]) == ("x", "y")
    assert class_names(network, path) == class_names(network, str(path)) == ("a", "b")
    network.names = ("cat",)
    assert class_names(network) == ("class 0", "class 1")


@pytest.mark.parametrize(
    ("cfg", "known"),
    [
        (DETECTOR, "has 2 classes (classes= in the cfg)"),
        (CLASSIFIER, "gives 3 scores"),
    ],
)
def test_names_that_do_not_fit(cfg: str, known: str, tmp_path: Path) -> None:
    """How many there are, how many are needed, and the file where they come from one."""
    path = tmp_path / "one.names"
    path.write_text("a\n")
    for given, source in ((["a"], "names: got 1"), ([], "names: got 0"), (path, f"{path}: has 1")):
        with pytest.raises(DataError) as raised:
            class_names(network_of(cfg), given)
        assert str(raised.value) == f"{source} names, but the network {known}"


def test_a_classifier_s_tree_names_its_classes(tmp_path: Path) -> None:
    """Its names come after those that are given or the network's own."""
    (tmp_path / "my.tree").write_text("animal -1\nthing -1\ncat 0\n")
    cfg = tmp_path / "my.cfg"
    cfg.write_text(CLASSIFIER + "tree=my.tree\n")
    network = build_network(cfg)
    tree = find_tree(network)
    assert tree is not None and class_names(network) == tree.names == ("animal", "thing", "cat")
    network.names = ("a", "b", "c")
    assert class_names(network) == ("a", "b", "c")


def test_one_check_for_ways_to_fit() -> None:
    """Detectors cannot crop; the argument's name is in the error."""
    assert set(RESIZE_MODES) < set(FITS) and check_resize("crop", FITS) == "crop"
    with pytest.raises(
        InputError, match=r"^resize='crop' is unknown; expected stretch or letterbox$"
    ):
        check_resize("crop")
    with pytest.raises(
        InputError, match=r"^fit='crops' is unknown; expected crop, stretch or letterbox; "
    ):
        check_resize("crops", FITS, "fit")
