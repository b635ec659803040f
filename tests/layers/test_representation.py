"""``print(network)`` shows what each layer is: the options of its section, by Darknet's names."""

from __future__ import annotations

from pathlib import Path

import pytest

from darknet_builder import build_network
from darknet_builder.layers.base import Layer, format_options, registered_sections
from darknet_builder.layers.reorg import ReorgExtra
from darknet_builder.layers.route import Route
from darknet_builder.layers.shortcut import Shortcut, StridedShortcut
from darknet_builder.shapes import Shape
from tests.helpers.unit_networks import expand

IMAGE = "net width=32 height=24 channels=3"
CONV = "convolutional filters=8 size=3 pad=1 activation=leaky"
ANCHORS = "anchors=4,5,8,10,13,16,23,29,43,31,30,60 num=6 classes=3"

Case = tuple[list[str], str]
"""The sections of a cfg, one a line, and the text that its last layer shows."""

ALEXEYAB: dict[str, list[Case]] = {
    "activation": [([IMAGE, "activation activation=mish"], "Activation(activation=mish)")],
    "avgpool": [([IMAGE, "avgpool"], "Avgpool()")],
    "batchnorm": [([IMAGE, "batchnorm"], "Batchnorm()")],
    "connected": [([IMAGE, "connected output=10"], "Connected(output=10, activation=logistic)")],
    "contrastive": [
        (
            [
                IMAGE,
                "convolutional filters=48",
                f"yolo {ANCHORS}",
                "route layers=0",
                "contrastive classes=5 temperature=.5 yolo_layer=1",
            ],
            "Contrastive(classes=5, temperature=0.5, yolo_layer=1)",
        )
    ],
    "conv_lstm": [
        ([IMAGE, "conv_lstm output=4 pad=1"], "ConvLstm(output=4)"),
        (
            [
                IMAGE,
                (
                    "conv_lstm output=3 pad=1 peephole=1 bottleneck=1 shortcut=1"
                    " lstm_activation=relu state_constrain=16"
                ),
            ],
            (
                "ConvLstm(output=3, peephole=1, bottleneck=1, shortcut=1, "
                "lstm_activation=relu, state_constrain=16)"
            ),
        ),
    ],
    "convolutional": [
        (
            [
                IMAGE,
                "convolutional filters=8 size=3 stride=2 pad=1 batch_normalize=1 activation=leaky",
            ],
            "Convolutional(filters=8, size=3, stride=2, activation=leaky)",
        ),
        (
            [
                IMAGE,
                (
                    "convolutional filters=4 size=3 stride_x=2 stride_y=1 "
                    "activation=linear flipped=1 binary=1"
                ),
            ],
            (
                "Convolutional(filters=4, size=3, stride_x=2, stride_y=1, "
                "activation=linear, flipped=1, binary=1)"
            ),
        ),
        (
            [IMAGE, "convolutional filters=4 size=3 stride=2 pad=1 antialiasing=1 xnor=1"],
            (
                "Convolutional(filters=4, size=3, stride=2, activation=logistic, "
                "antialiasing=1, xnor=1)"
            ),
        ),
        (
            [IMAGE, CONV, CONV, f"{CONV} share_index=-1"],
            "Convolutional(filters=8, size=3, stride=1, activation=leaky, share_index=1)",
        ),
    ],
    "cost": [
        ([IMAGE, "cost"], "Cost(type=sse)"),
        ([IMAGE, "cost type=smooth scale=2"], "Cost(type=smooth, scale=2)"),
    ],
    "crnn": [
        ([IMAGE, "crnn output=4 hidden=6 pad=1"], "Crnn(output=4, hidden=6)"),
        (
            [IMAGE, "crnn output=4 hidden=6 pad=1 shortcut=1"],
            "Crnn(output=4, hidden=6, shortcut=1)",
        ),
    ],
    "crop": [
        ([IMAGE, "crop crop_width=28 crop_height=20"], "Crop(crop_width=28, crop_height=20)"),
        (
            [IMAGE, "crop crop_width=28 crop_height=20 flip=1 noadjust=1"],
            "Crop(crop_width=28, crop_height=20, flip=1, noadjust=1)",
        ),
    ],
    "detection": [
        (
            [IMAGE, "connected output=52", "detection side=2 num=2 classes=3 coords=4"],
            "Detection(side=2, num=2, classes=3)",
        ),
        (
            [
                IMAGE,
                "connected output=52",
                "detection side=2 num=2 classes=3 coords=4 softmax=1 sqrt=1",
            ],
            "Detection(side=2, num=2, classes=3, softmax=1, sqrt=1)",
        ),
    ],
    "dropout": [([IMAGE, "dropout probability=.5"], "Dropout(probability=0.5)")],
    "empty": [([IMAGE, "empty"], "Empty()")],
    "Gaussian_yolo": [
        (
            [IMAGE, "convolutional filters=36", f"Gaussian_yolo mask=0,1,2 {ANCHORS}"],
            "GaussianYolo(mask=[0, 1, 2], classes=3)",
        ),
        (
            [
                IMAGE,
                "convolutional filters=12",
                f"Gaussian_yolo mask=5 {ANCHORS} scale_x_y=1.05 yolo_point=left_top",
            ],
            "GaussianYolo(mask=[5], classes=3, scale_x_y=1.05, yolo_point=left_top)",
        ),
    ],
    "gru": [([IMAGE, "gru output=5"], "Gru(output=5)")],
    "history": [([IMAGE, "history history_size=2"], "History(history_size=2)")],
    "implicit": [
        ([IMAGE, "implicit filters=6"], "Implicit(filters=6)"),
        (
            [IMAGE, "implicit filters=6 atoms=2 mean=1 std=.02"],
            "Implicit(filters=6, atoms=2, mean=1, std=0.02)",
        ),
    ],
    "local": [
        (
            [IMAGE, "local filters=3 size=3 stride=2"],
            "Local(filters=3, size=3, stride=2, activation=logistic)",
        ),
        (
            [IMAGE, "local filters=3 size=3 pad=1 activation=relu"],
            "Local(filters=3, size=3, stride=1, pad=1, activation=relu)",
        ),
    ],
    "local_avgpool": [([IMAGE, "local_avgpool size=3 stride=2"], "LocalAvgpool(size=3, stride=2)")],
    "lstm": [([IMAGE, "lstm output=5"], "Lstm(output=5)")],
    "maxpool": [
        ([IMAGE, "maxpool size=2 stride=2"], "Maxpool(size=2, stride=2)"),
        (
            [IMAGE, "maxpool size=3 stride_x=2 stride_y=1 padding=0"],
            "Maxpool(size=3, stride_x=2, stride_y=1, padding=0)",
        ),
        (
            [IMAGE, "maxpool size=2 stride=2 antialiasing=2"],
            "Maxpool(size=2, stride=2, antialiasing=2)",
        ),
        (
            [IMAGE, CONV, "maxpool maxpool_depth=1 out_channels=4"],
            "DepthMaxpool(maxpool_depth=1, out_channels=4)",
        ),
    ],
    "normalization": [
        ([IMAGE, "normalization size=3"], "Normalization(size=3, alpha=0.0001, beta=0.75, kappa=1)")
    ],
    "region": [
        (
            [IMAGE, "convolutional filters=16", "region anchors=1,2,3,4 num=2 classes=3"],
            "Region(num=2, classes=3)",
        ),
        (
            [IMAGE, "convolutional filters=16", "region anchors=1,2,3,4 num=2 classes=3 softmax=1"],
            "Region(num=2, classes=3, softmax=1)",
        ),
    ],
    "reorg": [([IMAGE, CONV, "reorg stride=2"], "Reorg(stride=2)")],
    "reorg3d": [
        (
            [IMAGE, CONV, CONV.replace("8", "16"), "reorg3d stride=2 reverse=1"],
            "Reorg3d(stride=2, reverse=1)",
        )
    ],
    "rnn": [([IMAGE, "rnn output=4 hidden=6"], "Rnn(output=4, hidden=6)")],
    "route": [
        ([IMAGE, CONV, CONV, "route layers=-1,0"], "Route(layers=[1, 0])"),
        (
            [IMAGE, CONV, "route layers=-1 groups=2 group_id=1"],
            "Route(layers=[0], groups=2, group_id=1)",
        ),
        ([IMAGE, CONV, "route layers=-1 groups=2"], "Route(layers=[0], groups=2, group_id=0)"),
    ],
    "sam": [([IMAGE, CONV, CONV, "sam from=-2"], "Sam(from=0)")],
    "scale_channels": [
        ([IMAGE, CONV, "avgpool", "scale_channels from=-2"], "ScaleChannels(from=0)"),
        (
            [IMAGE, CONV, "convolutional", "scale_channels from=0 scale_wh=1 activation=relu"],
            "ScaleChannels(from=0, activation=relu, scale_wh=1)",
        ),
    ],
    "shortcut": [
        ([IMAGE, CONV, CONV, "shortcut from=-2 activation=linear"], "Shortcut(from=[0])"),
        (
            [
                IMAGE,
                CONV,
                CONV,
                CONV,
                (
                    "shortcut from=-2,-3 activation=leaky weights_type=per_channel "
                    "weights_normalization=softmax"
                ),
            ],
            (
                "Shortcut(from=[1, 0], activation=leaky, weights_type=per_channel, "
                "weights_normalization=softmax)"
            ),
        ),
    ],
    "softmax": [
        ([IMAGE, "softmax"], "Softmax()"),
        (
            [IMAGE, "softmax groups=2 temperature=2 spatial=1"],
            "Softmax(groups=2, temperature=2, spatial=1)",
        ),
    ],
    "upsample": [
        ([IMAGE, "upsample stride=2"], "Upsample(stride=2)"),
        ([IMAGE, "upsample stride=-2 scale=.5"], "Upsample(stride=-2, scale=0.5)"),
    ],
    "yolo": [
        (
            [IMAGE, "convolutional filters=24", f"yolo mask=3,4,5 {ANCHORS}"],
            "Yolo(mask=[3, 4, 5], classes=3)",
        ),
        (
            [
                IMAGE,
                "convolutional filters=8",
                f"yolo mask=0 {ANCHORS} scale_x_y=2 new_coords=1 nms_kind=diounms beta_nms=.7",
            ],
            "Yolo(mask=[0], classes=3, scale_x_y=2, nms_kind=diounms, beta_nms=0.7, new_coords=1)",
        ),
    ],
}
PJREDDIE: dict[str, list[Case]] = {
    "deconvolutional": [
        (
            [IMAGE, "deconvolutional filters=4 size=2 stride=2"],
            "Deconvolutional(filters=4, size=2, stride=2, activation=logistic)",
        )
    ],
    "gru": [([IMAGE, "gru output=5 tanh=1"], "Gru(output=5, tanh=1)")],
    "iseg": [
        ([IMAGE, "convolutional filters=9", "iseg classes=5 ids=4"], "Iseg(classes=5, ids=4)")
    ],
    "l2norm": [([IMAGE, "l2norm"], "L2Norm()")],
    "logistic": [([IMAGE, "logistic"], "Logistic()")],
    "reorg": [([IMAGE, "reorg extra=7"], "ReorgExtra(extra=7)")],
    "shortcut": [
        ([IMAGE, CONV, "maxpool size=2 stride=2", "shortcut from=0"], "StridedShortcut(from=[0])"),
        (
            [IMAGE, CONV, CONV, "shortcut from=0 alpha=.5 beta=2 activation=relu"],
            "StridedShortcut(from=[0], alpha=0.5, beta=2, activation=relu)",
        ),
    ],
}
CASES = [
    pytest.param(dialect, sections, text, id=f"{dialect}-{name}-{number}")
    for dialect, table in (("alexeyab", ALEXEYAB), ("pjreddie", PJREDDIE))
    for name, cases in table.items()
    for number, (sections, text) in enumerate(cases)
]


def last_layer(cfg: str, dialect: str = "alexeyab") -> Layer:
    return build_network(cfg, dialect=dialect, initialize=False).sequence()[-1]


def test_the_table_has_every_section() -> None:
    assert ALEXEYAB.keys() | PJREDDIE.keys() == {
        layer.section for layer in registered_sections().values()
    }


@pytest.mark.parametrize(("dialect", "sections", "text"), CASES)
def test_what_a_layer_shows(dialect: str, sections: list[str], text: str) -> None:
    layer = last_layer(expand(sections), dialect)
    assert f"{type(layer).__name__}({layer.extra_repr()})" == text
    if not list(layer.children()):
        assert repr(layer) == text


def test_a_convolution_beside_its_parts() -> None:
    """Padding and groups stand in the line of the part that has them."""
    layer = last_layer(
        expand(
            [
                IMAGE,
                (
                    "convolutional filters=6 size=3 stride=2 pad=1 groups=3 activation=leaky "
                    "antialiasing=1"
                ),
            ]
        )
    )
    assert repr(layer).splitlines() == [
        "Convolutional(",
        "  filters=6, size=3, stride=2, activation=leaky, antialiasing=1",
        "  (conv): Convolution(3, 6, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), groups=3)",
        "  (activation): LeakyReLU(negative_slope=0.1)",
        "  (blur): Blur(size=3, stride=2, padding=1)",
        ")",
    ]


@pytest.mark.parametrize(
    ("sections", "text"),
    [
        (["connected output=8", "softmax tree=toy.tree"], "tree=4 classes"),
        (
            ["convolutional filters=9", "region anchors=1,2 num=1 classes=4 tree=toy.tree"],
            "num=1, classes=4, tree=4 classes",
        ),
    ],
)
def test_the_hierarchy_of_classes(sections: list[str], text: str, tmp_path: Path) -> None:
    (tmp_path / "toy.tree").write_text("animal -1\nthing -1\ncat 0\ndog 0\n")
    (tmp_path / "net.cfg").write_text(expand([IMAGE, *sections]))
    assert last_layer(str(tmp_path / "net.cfg")).extra_repr() == text


def test_layers_made_without_a_cfg() -> None:
    """Such a layer has no sources yet, and shows none."""
    image = Shape(8, 6, 4)
    layers = [
        Route([image, image]),
        Shortcut([image, image], activation="mish"),
        StridedShortcut(image, image),
        ReorgExtra(image, extra=2),
    ]
    assert [layer.extra_repr() for layer in layers] == ["", "activation=mish", "", "extra=2"]


def test_how_values_are_written() -> None:
    options = {"a": 1, "b": True, "c": False, "d": None, "e": 0.25, "f": (1.0, 2), "g": "word"}
    assert format_options(options) == "a=1, b=1, e=0.25, f=[1, 2], g=word"
    assert format_options({"a": 1}, after="z=0") == "z=0, a=1"
    assert format_options({"a": None}, after="z=0") == "z=0"
    assert format_options({}) == ""
