"""Options of sections: their defaults, their limits, and what follows from them."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import pytest
import torch

from darknet_builder.cfg.block import Block
from darknet_builder.errors import CfgError
from darknet_builder.layers.base import AugmentOptions, CommonOptions, Head, Layer
from darknet_builder.layers.heads.anchor_head import MOST_ANCHORS, AnchorOptions, YoloLossOptions
from darknet_builder.layers.heads.detection import Detection, DetectionLossOptions
from darknet_builder.layers.heads.region import RegionLossOptions
from darknet_builder.network.build import build_network

DATA = "[net]\nwidth=8\nheight=8\nchannels=16\n"
PJREDDIE = {"deconvolutional", "iseg"}
HEAD_INPUT = "[convolutional]\nfilters={filters}\nactivation=linear\n"


def build(section: str, options: dict[str, Any], before: str = "") -> Layer:
    """The layer of a section on 16 channels of 8 x 8."""
    lines = "".join(f"{key}={value}\n" for key, value in options.items())
    dialect = "pjreddie" if section in PJREDDIE else "alexeyab"
    text = f"{DATA}{before}[{section}]\n{lines}"
    return build_network(text, dialect=dialect).sequence()[-1]


# ---- limits --------------------------------------------------------------------------------------

LIMITS: list[tuple[str, str, int, dict[str, Any]]] = [
    ("convolutional", "filters", 1, {}),
    ("convolutional", "size", 1, {}),
    ("convolutional", "stride", 1, {}),
    ("convolutional", "padding", 0, {}),
    ("convolutional", "groups", 1, {}),
    ("convolutional", "dilation", 1, {"size": 3, "pad": 1}),
    ("convolutional", "antialiasing", 0, {}),
    ("deconvolutional", "filters", 1, {}),
    ("deconvolutional", "size", 1, {}),
    ("deconvolutional", "stride", 1, {}),
    ("deconvolutional", "padding", 0, {}),
    ("maxpool", "size", 1, {}),
    ("maxpool", "stride", 1, {}),
    ("maxpool", "stride_x", 1, {"size": 2, "stride": 2}),
    ("maxpool", "stride_y", 1, {"size": 2, "stride": 2}),
    ("maxpool", "padding", 0, {}),
    ("maxpool", "antialiasing", 0, {}),
    ("maxpool", "out_channels", 1, {"maxpool_depth": 1}),
    ("local_avgpool", "size", 1, {}),
    ("local", "filters", 1, {}),
    ("local", "size", 1, {}),
    ("local", "stride", 1, {}),
    ("local", "pad", 0, {}),
    ("connected", "output", 1, {}),
    ("softmax", "groups", 1, {}),
    ("crop", "crop_height", 1, {}),
    ("crop", "crop_width", 1, {}),
    ("normalization", "size", 1, {}),
    ("implicit", "filters", 1, {}),
    ("implicit", "atoms", 1, {}),
    ("reorg", "stride", 1, {}),
    ("reorg", "extra", 0, {}),
    ("reorg3d", "stride", 1, {}),
    ("detection", "side", 1, {"coords": 4, "classes": 1019}),
    ("dropout", "probability", 0, {}),
    ("history", "history_size", 1, {}),
    ("rnn", "output", 1, {}),
    ("rnn", "hidden", 1, {}),
    ("gru", "output", 1, {}),
    ("lstm", "output", 1, {}),
    ("crnn", "output", 1, {"size": 1}),
    ("crnn", "hidden", 1, {"size": 1}),
    ("crnn", "size", 1, {}),
    ("crnn", "stride", 1, {"size": 1}),
    ("crnn", "padding", 0, {"size": 1}),
    ("crnn", "groups", 1, {"size": 1}),
    ("conv_lstm", "output", 1, {"size": 1}),
    ("route", "groups", 1, {"layers": -1}),
    ("iseg", "ids", 0, {"classes": 16}),
    ("iseg", "classes", 1, {"ids": 15}),
]
"""Section, option, the smallest value that it takes, and what else the section needs."""


def _source(section: str) -> str:
    return HEAD_INPUT.format(filters=16) if section == "route" else ""


@pytest.mark.parametrize(("section", "key", "minimum", "others"), LIMITS)
def test_the_smallest_value(section: str, key: str, minimum: int, others: dict[str, Any]) -> None:
    """It is taken, and the number below it is refused."""
    build(section, {**others, key: minimum}, _source(section))
    with pytest.raises(CfgError, match=rf"{key}=.*expected {minimum} or more"):
        build(section, {**others, key: minimum - 1}, _source(section))


HEADS: dict[str, tuple[int, dict[str, Any]]] = {
    "yolo": (6, {"anchors": "1,2", "classes": 1}),
    "Gaussian_yolo": (10, {"anchors": "1,2", "classes": 1}),
    "region": (6, {"anchors": "1,2", "classes": 1}),
    "detection": (6, {"side": 1, "coords": 4}),
}
"""The values before each head, and its options for one class and one anchor or box."""


@pytest.mark.parametrize("key", ["classes", "num", "max"])
@pytest.mark.parametrize("section", HEADS)
def test_limits_of_heads(section: str, key: str) -> None:
    """One class, one anchor and one box an image are enough; none is refused."""
    filters, options = HEADS[section]
    before = HEAD_INPUT.format(filters=filters)
    if section == "detection":
        before = f"[connected]\noutput={filters}\n"
    head = build(section, {**options, key: 1}, before)
    assert isinstance(head, Head) and head.classes == 1
    with pytest.raises(CfgError, match=rf"{key}=0.*expected 1 or more"):
        build(section, {**options, key: 0}, before)
    if key == "num":
        with pytest.raises(CfgError, match=f"expected {MOST_ANCHORS} or less"):
            build(section, {**options, key: MOST_ANCHORS + 1}, before)


def test_a_probability_of_dropout() -> None:
    build("dropout", {"probability": 0.999})
    with pytest.raises(CfgError, match="expected a probability below 1"):
        build("dropout", {"probability": 1})


@pytest.mark.parametrize(("stride", "shape"), [(1, (8, 8)), (-1, (8, 8)), (-8, (1, 1))])
def test_strides_of_upsample(stride: int, shape: tuple[int, int]) -> None:
    layer = build("upsample", {"stride": stride})
    assert (layer.out_shape.height, layer.out_shape.width) == shape
    assert f"stride={stride}" in repr(layer)


def test_a_stride_of_upsample_that_is_refused() -> None:
    with pytest.raises(CfgError, match="expected a stride other than 0"):
        build("upsample", {"stride": 0})
    with pytest.raises(CfgError, match="nothing would be left"):
        build("upsample", {"stride": -9})


# ---- defaults ------------------------------------------------------------------------------------

YOLO_LOSS = {
    "ignore_thresh": 0.5, "truth_thresh": 1.0, "iou_thresh": 1.0, "iou_thresh_kind": "iou",
    "iou_loss": "mse", "iou_normalizer": 0.75, "obj_normalizer": 1.0, "cls_normalizer": 1.0,
    "delta_normalizer": 1.0, "uc_normalizer": 1.0, "max_delta": math.inf, "label_smooth_eps": 0.0,
    "objectness_smooth": False, "focal_loss": False, "counters_per_class": (), "max_boxes": 200,
}  # fmt: skip
SCALES = {"coord_scale": 1.0, "object_scale": 1.0, "noobject_scale": 1.0, "class_scale": 1.0}
REGION_LOSS = {
    "thresh": 0.5, **SCALES, "rescore": False, "bias_match": False, "classfix": 0,
    "focal_loss": False, "max_boxes": 200,
}  # fmt: skip
DETECTION_LOSS = {**SCALES, "rescore": False, "forced": False, "max_boxes": 200}
COMMON = {
    "learning_rate": 1.0, "clip": 0.0, "onlyforward": False, "stopbackward": 0, "dont_update": 0,
    "burnin_update": 0, "train_only_bn": False, "dontload": False, "dontloadscales": False,
}  # fmt: skip
AUGMENT = {"jitter": 0.2, "resize": 1.0, "random": 0.0}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (YoloLossOptions, YOLO_LOSS),
        (RegionLossOptions, REGION_LOSS),
        (DetectionLossOptions, DETECTION_LOSS),
        (CommonOptions, COMMON),
        (AugmentOptions, AUGMENT),
    ],
)
def test_defaults_of_options(kind: Any, expected: dict[str, Any]) -> None:
    """Darknet's (parser.c), both in a cfg and in Python."""
    more = (20,) if kind is YoloLossOptions else ()
    assert asdict(kind()) == expected and kind.from_block(Block("yolo"), *more) == kind()


def test_defaults_of_anchors() -> None:
    common = AnchorOptions.from_block(Block("yolo", {"anchors": "1,2"}))
    assert (common.scale_x_y, common.nms_kind, common.beta_nms) == (1.0, "default", 0.6)
    assert (common.classes, common.mask, common.anchors) == (20, [0], [(1.0, 2.0)])
    assert AnchorOptions([(1.0, 2.0)], [0], 20) == common


DEFAULTS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("convolutional", {}, {
        "filters": 1, "size": 1, "stride": (1, 1), "padding": 0, "dilation": 1, "groups": 1,
        "activation_name": "logistic", "norm": None, "blur": None, "flipped": False, "xnor": False,
        "binary": False, "share_index": None,
    }),
    ("maxpool", {}, {"size": 1, "stride": (1, 1), "padding": 0, "blur": None}),
    ("maxpool", {"stride": 3}, {"size": 3, "stride": (3, 3), "padding": 2}),
    ("local_avgpool", {"size": 4}, {"size": 4, "stride": (1, 1), "padding": 3}),
    ("local", {}, {"size": 1, "stride": 1, "padding": 0, "activation_name": "logistic"}),
    ("connected", {}, {"activation_name": "logistic", "norm": None}),
    ("softmax", {}, {"groups": 1, "temperature": 1.0, "spatial": False, "tree": None}),
    ("normalization", {}, {"size": 5, "alpha": 1e-4, "beta": 0.75, "kappa": 1.0}),
    ("dropout", {}, {"probability": 0.2}),
    ("crop", {}, {"flip": False, "adjust": True}),
    ("cost", {}, {"kind": "sse", "scale": 1.0}),
    ("implicit", {}, {"mean": 0.0, "std": 0.2}),
    ("upsample", {}, {"factor": 2, "reverse": False, "scale": 1.0}),
    ("reorg", {}, {"stride": 1, "reverse": False}),
    ("reorg3d", {}, {"stride": 1, "reverse": False}),
    ("history", {}, {"size": 4, "time_steps": 1}),
    ("rnn", {}, {"shortcut": False, "time_steps": 1}),
    ("conv_lstm", {"size": 1}, {
        "bottleneck": False, "shortcut": False, "activation_name": "tanh", "state_constrain": 32,
    }),
    ("deconvolutional", {}, {"size": 1, "stride": 1, "activation_name": "logistic", "norm": None}),
    ("convolutional", {"xnor": 1, "bin_output": 1}, {"activation_name": "linear"}),
    ("convolutional", {"bin_output": 1, "activation": "leaky"}, {"activation_name": "leaky"}),
    ("convolutional", {"stride": 2, "stride_x": 1}, {"stride": (2, 1)}),
]  # fmt: skip
"""Section, its options, and attributes of the layer."""


@pytest.mark.parametrize(("section", "options", "expected"), DEFAULTS)
def test_defaults(section: str, options: dict[str, Any], expected: dict[str, Any]) -> None:
    """What Darknet's parser takes where an option is not set."""
    layer = build(section, options)
    assert {key: getattr(layer, key) for key in expected} == expected


SHAPES: list[tuple[str, dict[str, Any], str]] = [
    ("convolutional", {}, "8 x 8 x 1"),
    ("convolutional", {"size": 3, "pad": 1, "stride_x": 2}, "4 x 8 x 1"),
    ("convolutional", {"size": 4, "pad": 1, "stride": 3}, "3 x 3 x 1"),
    ("convolutional", {"stride_x": 0, "stride": 2}, "4 x 4 x 1"),
    ("convolutional", {"size": 3, "padding": 5}, "16 x 16 x 1"),
    ("local", {}, "8 x 8 x 1"),
    ("connected", {}, "1"),
    ("softmax", {}, "1024"),
    ("crop", {}, "1 x 1 x 16"),
    ("implicit", {}, "1 x 1 x 128"),
    ("history", {}, "8 x 8 x 64"),
    ("rnn", {}, "1"),
    ("gru", {}, "1"),
    ("lstm", {}, "1"),
    ("crnn", {"size": 1}, "8 x 8 x 1"),
    ("conv_lstm", {"size": 1}, "8 x 8 x 1"),
    ("deconvolutional", {"size": 3, "stride": 2, "pad": 1}, "15 x 15 x 1"),
    ("deconvolutional", {"size": 4, "stride": 3, "padding": 2}, "21 x 21 x 1"),
    ("deconvolutional", {"size": 4, "pad": 1}, "7 x 7 x 1"),
    ("maxpool", {"maxpool_depth": 1}, "8 x 8 x 1"),
    ("maxpool", {"size": 3, "stride": 2, "antialiasing": 2}, "4 x 4 x 16"),
    ("upsample", {"stride": -3}, "2 x 2 x 16"),
]
"""Section, its options, and the shape after 16 channels of 8 x 8, by Darknet's formulas."""


@pytest.mark.parametrize(("section", "options", "expected"), SHAPES)
def test_shapes(section: str, options: dict[str, Any], expected: str) -> None:
    assert str(build(section, options).out_shape) == expected


# ---- what does not fit ---------------------------------------------------------------------------

REFUSED: list[tuple[str, str]] = [
    ("[normalization]\nsize=32\n", "size=32 needs more than the 16 channels"),
    ("[route]\nlayers=0\n", "layer 0 does not exist: this is the first layer"),
    (HEAD_INPUT.format(filters=3) * 2 + "[route]\nlayers=2\n",
     "layer 2 does not exist: this is layer 2, so write 0 to 1, or -1 to -2"),
    (HEAD_INPUT.format(filters=3) * 2 + "[route]\nlayers=-3\n", "layer -3 does not exist"),
    (HEAD_INPUT.format(filters=3) + "[route]\nlayers=0\ngroups=2\n",
     "groups=2 does not divide the 3 channels"),
    (HEAD_INPUT.format(filters=4) + "[route]\nlayers=0\ngroups=2\ngroup_id=2\n",
     "group_id=2 does not exist among groups=2"),
    (HEAD_INPUT.format(filters=4) + "[route]\nlayers=0\ngroups=2\ngroup_id=-1\n",
     "group_id=-1 does not exist among groups=2"),
    ("[convolutional]\nsize=5\npadding=1\ndilation=2\n", "dilation=2 needs an odd size and pad=1"),
    (HEAD_INPUT.format(filters=12) + "[yolo]\nmask=0,2\nnum=2\nanchors=1,2,3,4\nclasses=1\n",
     "anchor 2 does not exist: there are 2"),
    (HEAD_INPUT.format(filters=6) + "[yolo]\nmask=-1\nnum=2\nanchors=1,2,3,4\nclasses=1\n",
     "anchor -1 does not exist: there are 2"),
    ("[convolutional]\nsize=4\npad=1\ndilation=2\n", "dilation=2 needs an odd size and pad=1"),
    ("[convolutional]\nfilters=6\ngroups=4\n", "groups=4 must divide both the 16 input"),
    ("[convolutional]\nsize=9\n", "a 9 x 9 kernel on 8 x 8 x 16 gives 0 x 0 x 1"),
    ("[maxpool]\nsize=9\npadding=0\n", "a 9 x 9 window on 8 x 8 x 16 gives 0 x 0 x 16"),
    ("[maxpool]\nmaxpool_depth=1\nout_channels=3\n", "out_channels=3 must divide the 16"),
    ("[activation]\nactivation=lekay\n", "activation=lekay"),
    ("[softmax]\ngroups=3\n", "groups=3 does not divide the 1024 inputs"),
    ("[crop]\ncrop_width=9\ncrop_height=8\n", "a crop of 9 x 8 is larger than the image of 8 x 8"),
    ("[crop]\ncrop_width=8\ncrop_height=9\n", "a crop of 8 x 9 is larger than the image of 8 x 8"),
    ("[reorg]\nstride=3\n", "stride=3 does not divide the width and height of 8 x 8 x 16"),
    ("[reorg]\nstride=8\n", "stride=8: its square must divide the 16 channels"),
    ("[local]\nsize=3\npad=2\n", "pad=2 with size=3"),
    ("[local]\nsize=2\npad=1\n", "pad=1 with size=2"),
    (HEAD_INPUT.format(filters=8) + "[reorg3d]\nstride=2\nreverse=1\n",
     "reverse=1 needs 2^4 to divide the 8 channels"),
    (HEAD_INPUT.format(filters=4) + "[avgpool]\n[sam]\nfrom=0\n",
     "layer 0 gives 8 x 8 x 4, the layer before 1 x 1 x 4: they must be of one shape"),
]  # fmt: skip
"""Sections on 16 channels of 8 x 8, and what is said of them."""


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_what_does_not_fit(text: str, message: str) -> None:
    with pytest.raises(CfgError) as caught:
        build_network(DATA + text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("[normalization]\nsize=31\n", 1024),  # 15 of 16 channels on each side
        ("[crop]\ncrop_width=8\ncrop_height=8\n", 1024),
        ("[reorg]\nstride=4\n", 1024),
        ("[convolutional]\nsize=8\n", 1),
        ("[convolutional]\nsize=5\npad=1\ndilation=2\n", 64),
        ("[convolutional]\nsize=1\npadding=1\ndilation=2\n", 100),  # it has no gaps to widen
        (
            "[convolutional]\nfilters=16\ngroups=2\n[convolutional]\nfilters=16\ngroups=2\n"
            "share_index=0\n",
            1024,
        ),
        ("[local]\nsize=3\npad=1\n", 64),
        ("[softmax]\ngroups=1024\n", 1024),
        (
            HEAD_INPUT.format(filters=3) + "[reorg3d]\nstride=2\n",
            192,
        ),  # any channels, unlike [reorg]
    ],
)
def test_what_just_fits(text: str, size: int) -> None:
    assert build_network(DATA + text).sequence()[-1].out_shape.size == size


def test_an_image_of_one_pixel_times_a_vector() -> None:
    """The product has the form of what is multiplied."""
    text = f"{DATA}{HEAD_INPUT}[avgpool]\n[connected]\noutput=4\n[sam]\nfrom=-2\n"
    assert str(build_network(text.format(filters=4)).sequence()[-1].out_shape) == "1 x 1 x 4"


def test_reorg_with_extra() -> None:
    """Only pjreddie's appends zeros (pjreddie's reorg_layer.c:100)."""
    for dialect, options, shape in (
        ("alexeyab", "extra=3\nstride=2\n", "4 x 4 x 64"),
        ("pjreddie", "extra=3\nstride=2\n", "1027"),
        ("pjreddie", "stride=2\n", "4 x 4 x 64"),
    ):
        layer = build_network(f"{DATA}[reorg]\n{options}", dialect=dialect).sequence()[-1]
        assert str(layer.out_shape) == shape
        if shape == "1027":
            x = torch.rand(2, 16, 8, 8)
            assert torch.equal(layer(x), torch.cat((x.flatten(1), torch.zeros(2, 3)), 1))


@pytest.mark.filterwarnings("ignore::darknet_builder.errors.CfgWarning")
@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ("1,2,3", "num=3 needs 6 numbers, but 3 are given: pairs (1,2)"),
        ("1,2,,4,5", "num=3 needs 6 numbers, but 4 are given: pairs (1,2)"),
        ("1", "num=3 needs 6 numbers, but 1 are given: pairs none"),
    ],
)
def test_anchors_that_are_missing(numbers: str, words: str) -> None:
    """The message counts the numbers, and names the anchor that the head uses."""
    text = f"{DATA}{HEAD_INPUT}[yolo]\nmask=2\nnum=3\nanchors={numbers}\nclasses=1\n"
    with pytest.raises(CfgError) as caught:
        build_network(text.format(filters=6))
    assert f"{words}; the head uses anchor 2, which is incomplete" in str(caught.value)


@pytest.mark.filterwarnings("ignore::darknet_builder.errors.CfgWarning")
def test_the_first_anchor_that_is_incomplete() -> None:
    text = f"{DATA}{HEAD_INPUT}[yolo]\nmask=0,1\nnum=2\nanchors=1, ,3,4\nclasses=1\n"
    for numbers, index in (("1, ,3,4", 0), ("1, , ,4", 0), ("1,2, ,4", 1)):
        changed = text.format(filters=12).replace("1, ,3,4", numbers)
        with pytest.raises(CfgError, match=f"the head uses anchor {index}, which is incomplete"):
            build_network(changed)


def test_a_number_after_the_last_anchor() -> None:
    """It has no partner, and is left out."""
    (head,) = build_network(f"{DATA}{YOLO}num=1\n".replace("1,2", "1,2,3").format(filters=6)).heads
    assert head.anchors == [(1.0, 2.0)]


def test_anchors_of_a_region_after_a_hash() -> None:
    """They count: only a [yolo] stops there (parser.c:363)."""
    before = HEAD_INPUT.format(filters=12)
    head = build("region", {"anchors": "1,2#,3,4", "num": 2, "classes": 1}, before)
    assert isinstance(head, Head) and list(head.anchors) == [(1.0, 2.0), (3.0, 4.0)]


def test_layers_after_a_hash() -> None:
    """parse_route reads on (parser.c:1100)."""
    text = f"{DATA}{HEAD_INPUT * 3}[route]\nlayers=-1,-2#,-3\n".format(filters=4)
    assert build_network(text).sequence()[-1].sources == (2, 1, 0)


def test_defaults_of_heads() -> None:
    """As many classes as Pascal VOC, for the heads of v2 to v4; cells of YOLOv1 (parser.c)."""
    region = build("region", {"anchors": "1,2"}, HEAD_INPUT.format(filters=25))
    assert isinstance(region, Head) and region.classes == 20
    detection = build("detection", {"coords": 4}, "[connected]\noutput=294\n")
    assert isinstance(detection, Detection) and detection.side == 7
    counted = build_network(f"{DATA}{YOLO}counters_per_class=5\n".format(filters=6)).heads[0]
    assert counted.loss == YoloLossOptions(counters_per_class=(5,))
    with pytest.raises(CfgError, match="has 2 numbers for classes=1"):
        build_network(f"{DATA}{YOLO}counters_per_class=5,6\n".format(filters=6))


def test_a_state_of_several_frames() -> None:
    """The limit of a conv_lstm grows with them (parser.c:332); hidden=1 unless it is set."""
    net = DATA + "time_steps=2\nbatch=2\n"
    (layer,) = build_network(f"{net}[conv_lstm]\nsize=1\n").sequence()
    assert layer.state_constrain == 64 and "state_constrain" not in repr(layer)
    (layer,) = build_network(f"{net}[conv_lstm]\nsize=1\nstate_constrain=32\n").sequence()
    assert layer.state_constrain == 32 and "state_constrain=32" in repr(layer)
    (layer,) = build_network(f"{DATA}[rnn]\noutput=3\n").sequence()
    assert layer.state_shapes["state"].size == 1


def test_shared_weights_of_one_filter() -> None:
    """``filters=1`` is the default of a layer that shares, too."""
    text = "[net]\nwidth=8\nheight=8\nchannels=1\n[convolutional]\n[convolutional]\n"
    first, second = build_network(f"{text}share_index=0\n").sequence()
    assert second.conv is first.conv


@pytest.mark.parametrize("section", ["yolo", "region", "detection"])
def test_options_of_training(section: str) -> None:
    filters, options = HEADS[section]
    more = {"jitter": 0.3, "resize": 1.5, "random": 1, "max": 7}
    before = f"[connected]\noutput={filters}\n"
    if section != "detection":
        before = HEAD_INPUT.format(filters=filters)
    head: Any = build(section, {**options, **more}, before)
    assert head.augment == AugmentOptions(0.3, 1.5, 1.0) and head.loss.max_boxes == 7


YOLO = HEAD_INPUT.format(filters=6) + "[yolo]\nanchors=1,2\nclasses=1\n"


def test_contrastive() -> None:
    """The numbers that only its loss reads, their defaults and limits."""
    text = f"{DATA}{YOLO}[contrastive]\nyolo_layer=1\n"
    layer = build_network(text).sequence()[-1]
    assert "classes=1000, yolo_layer=1" in repr(layer) and "temperature" not in repr(layer)
    layer = build_network(f"{text}classes=1\ntemperature=2\n").sequence()[-1]
    assert "classes=1, temperature=2, yolo_layer=1" in repr(layer)
    with pytest.raises(CfgError, match="classes=0.*expected 1 or more"):
        build_network(f"{text}classes=0\n")
    with pytest.raises(CfgError, match=r"layer 0 is a \[convolutional\]"):
        build_network(text.replace("yolo_layer=1", "yolo_layer=0"))
