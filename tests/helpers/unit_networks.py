"""Small networks that reach every option of every section, one section a line.

Their outputs are recorded from Darknet in ``golden/layers/<name>.npz``; weights and inputs come
from ``golden/generator.py``.
"""

from __future__ import annotations

_BN_LEAKY = "size=3 stride=1 pad=1 batch_normalize=1 activation=leaky"


def _net(width: int, height: int) -> str:
    return f"net batch=1 subdivisions=1 width={width} height={height} channels=3"


def _conv(filters: int, options: str = "", base: str = _BN_LEAKY) -> str:
    """One convolution; ``options`` come first, so they win over the base."""
    return f"convolutional filters={filters} {options} {base}"


def _activated(name: str) -> str:
    return f"convolutional filters=4 size=3 stride=1 pad=1 batch_normalize=1 activation={name}"


_NAMES = [
    "logistic",
    "loggy",
    "relu",
    "relu6",
    "elu",
    "selu",
    "gelu",
    "relie",
    "ramp",
    "linear",
    "tanh",
    "plse",
    "leaky",
    "stair",
    "hardtan",
    "lhtan",
    "swish",
    "mish",
    "hard_mish",
]
_HEAD = (
    "anchors=4,5,8,10,13,16,23,29,43,31,30,60 classes=3 num=6 jitter=.3 ignore_thresh=.7"
    " truth_thresh=1"
)
_SHRINK = "size=3 stride=2 pad=1 batch_normalize=1 activation=leaky"
_ONE = "size=1 stride=1 pad=1 batch_normalize=1 activation=leaky"


def _weighted_shortcut(weights_type: str, normalization: str) -> list[str]:
    return [
        _net(32, 24),
        _conv(8),
        _conv(8),
        _conv(8),
        (
            f"shortcut from=-2,-3 activation=leaky weights_type={weights_type}"
            f" weights_normalization={normalization}"
        ),
        _conv(4),
    ]


_SECTIONS: dict[str, list[str]] = {
    "activations-conv": [_net(32, 24), *map(_activated, _NAMES)],
    "activations-layer": [
        _net(32, 24),
        *(
            line
            for name in _NAMES
            for line in (_activated("linear"), f"activation activation={name}")
        ),
    ],
    "attention": [
        _net(32, 24),
        _conv(8),
        "avgpool",
        "convolutional filters=4 size=1 stride=1 pad=1 batch_normalize=1 activation=swish",
        "convolutional filters=8 size=1 stride=1 pad=1 batch_normalize=1 activation=logistic",
        "scale_channels from=0 activation=linear",
        "convolutional filters=1 size=1 stride=1 pad=1 batch_normalize=1 activation=logistic",
        "scale_channels from=0 scale_wh=1 activation=leaky",
        "convolutional filters=8 size=3 stride=1 pad=1 batch_normalize=1 activation=logistic",
        "sam from=-2 activation=linear",
        _conv(4),
    ],
    "avgpool": [
        _net(33, 25),
        _conv(8),
        "local_avgpool size=3 stride=2",
        _conv(8),
        "local_avgpool size=2 stride=1",
        _conv(8),
        "avgpool",
        "connected output=10 activation=linear",
        "softmax groups=2",
    ],
    "conv-antialiasing": [
        _net(32, 24),
        _conv(8),
        _conv(8, "antialiasing=1", _SHRINK),
        _conv(8, "antialiasing=2", _SHRINK),
        _conv(4),
        "maxpool size=2 stride=2 antialiasing=1",
    ],
    "conv-lstm": [
        _net(16, 12),
        _conv(8),
        "conv_lstm batch_normalize=1 size=3 pad=1 output=8 groups=2 peephole=0 activation=leaky",
        _conv(8),
        "conv_lstm batch_normalize=1 size=3 pad=1 output=6 groups=1 peephole=1 activation=linear",
        _conv(4),
    ],
    "conv-options": [
        _net(33, 25),
        _conv(8),
        _conv(8, "groups=4"),
        _conv(8, "dilation=2"),
        _conv(8, "", _ONE),
        "convolutional filters=8 size=5 stride=2 pad=1 batch_normalize=1 activation=leaky",
        (
            "convolutional filters=8 size=3 stride=1 pad=0 padding=2 batch_normalize=1"
            " activation=leaky"
        ),
        "convolutional filters=12 size=3 stride=1 pad=0 batch_normalize=1 activation=leaky",
        (
            "convolutional filters=8 size=3 stride_x=2 stride_y=1 pad=1 batch_normalize=1"
            " activation=leaky"
        ),
        "convolutional filters=6 size=2 stride=1 pad=0 activation=leaky",
        "convolutional filters=8 size=4 stride=2 pad=1 batch_normalize=1 activation=leaky",
    ],
    "conv-share": [
        _net(32, 24),
        _conv(8),
        _conv(8),
        _conv(8, "share_index=1"),
        "route layers=-1,-3",
        _conv(4),
    ],
    "conv-share-geometry": [
        _net(32, 24),
        _conv(8),
        _conv(8),
        _conv(8, "share_index=1 dilation=2"),
        _conv(8, "share_index=1 dilation=3 activation=linear"),
        _conv(8, "share_index=-3 stride=2"),
        _conv(8, "share_index=2 stride_x=1 stride_y=2 pad=0 padding=2"),
        _conv(8, "share_index=1 stride=2 antialiasing=1"),
        _conv(8, "antialiasing=2", _SHRINK),
        _conv(8, "share_index=-1"),
        _conv(4),
    ],
    "crnn": [
        _net(16, 12),
        _conv(8),
        "crnn batch_normalize=1 size=3 pad=1 output=8 hidden=12 activation=leaky",
        _conv(4),
    ],
    "dropout-crop": [
        _net(32, 32),
        "crop crop_width=28 crop_height=28 flip=0 angle=0 saturation=1 exposure=1",
        _conv(8),
        "dropout probability=.5",
        _conv(8),
        "connected output=20 batch_normalize=1 activation=leaky",
        "dropout probability=.3",
        "connected output=6 activation=linear",
        "softmax temperature=2",
    ],
    "implicit": [
        _net(32, 24),
        _conv(8),
        "implicit filters=8 atoms=1",
        "scale_channels from=0 activation=linear",
        _conv(4),
    ],
    "local": [
        _net(16, 12),
        _conv(4),
        "local filters=3 size=3 stride=1 pad=1 activation=leaky",
        "local filters=4 size=3 stride=2 pad=0 activation=relu",
    ],
    "lrn-batchnorm": [
        _net(32, 24),
        "convolutional filters=8 size=3 stride=1 pad=1 batch_normalize=1 activation=relu",
        "normalization size=5 alpha=.0001 beta=.75 kappa=1",
        _conv(8),
        "normalization size=3 alpha=.5 beta=.6 kappa=2",
        "batchnorm",
        _conv(4),
    ],
    "maxpool": [
        _net(33, 25),
        _conv(8),
        "maxpool size=3 stride=2",
        _conv(8),
        "maxpool size=2 stride=1",
        "maxpool size=2 stride=2 padding=0",
        "maxpool size=5 stride=1",
        _conv(8),
        "maxpool size=3 stride_x=2 stride_y=1",
        _conv(8),
        "maxpool maxpool_depth=1 out_channels=4 stride=1 size=1",
        _conv(4),
    ],
    "norm-channels": [
        _net(32, 24),
        *(
            f"convolutional filters=8 size=3 stride=1 pad=1 batch_normalize=1 activation={n}"
            for n in (
                "normalize_channels",
                "normalize_channels_softmax",
                "normalize_channels_softmax_maxval",
            )
        ),
        _conv(4),
    ],
    "recurrent": [
        "net batch=1 subdivisions=1 inputs=20",
        "rnn batch_normalize=1 output=16 hidden=24 activation=leaky",
        "gru batch_normalize=1 output=12",
        "lstm batch_normalize=1 output=14",
        "rnn output=10 hidden=12 activation=tanh logistic=1",
        "connected output=8 activation=linear",
        "softmax",
    ],
    "region": [
        _net(64, 96),
        _conv(16, "", _SHRINK),
        "convolutional filters=16 size=5 stride=4 pad=1 batch_normalize=1 activation=leaky",
        "convolutional filters=24 size=1 stride=1 pad=1 activation=linear",
        (
            "region anchors=0.57,0.68,1.87,2.06,3.34,5.47 classes=3 coords=4 num=3 softmax=1"
            " bias_match=1"
        ),
    ],
    "reorg": [
        _net(32, 24),
        _conv(8),
        "reorg stride=2",
        _conv(8, "", _ONE),
        "reorg3d stride=2",
        _conv(16, "", _ONE),
        "reorg3d stride=2 reverse=1",
        _conv(16, "", _ONE),
        "reorg stride=2 reverse=1",
        _conv(4),
    ],
    "route": [
        _net(32, 24),
        _conv(8),
        _conv(12),
        "route layers=0 groups=2 group_id=1",
        _conv(8),
        "route layers=-1,1 groups=4 group_id=2",
        "route layers=0,1,-1",
        _conv(4),
    ],
    "shortcut": [
        _net(32, 24),
        _conv(8),
        _conv(8),
        _conv(8),
        "shortcut from=-2 activation=leaky",
        _conv(6, "", _ONE),
        "shortcut from=-3 activation=linear",
        _conv(12, "", _ONE),
        "shortcut from=0 activation=linear",
        _conv(12),
        _conv(12),
        "shortcut from=-2,-3 activation=linear",
    ],
    "shortcut-per_channel-relu": _weighted_shortcut("per_channel", "relu"),
    "shortcut-per_channel-softmax": _weighted_shortcut("per_channel", "softmax"),
    "shortcut-per_feature-relu": _weighted_shortcut("per_feature", "relu"),
    "shortcut-per_feature-softmax": _weighted_shortcut("per_feature", "softmax"),
    "upsample": [
        _net(32, 24),
        _conv(8),
        "upsample stride=2",
        _conv(8),
        "upsample stride=3 scale=.5",
        _conv(4),
        "upsample stride=-2",
    ],
    "vectors": [
        _net(16, 12),
        _conv(6),
        "connected output=12 activation=leaky",
        _conv(8),
        "avgpool",
        "connected output=6 activation=logistic",
        "scale_channels from=0",
        "connected output=10 activation=leaky",
        "maxpool size=2 stride=1",
        "connected output=9 activation=tanh",
        "batchnorm",
        "connected output=8 activation=relu",
        "local filters=4 size=1 activation=leaky",
        "connected output=7 batch_normalize=1 activation=leaky",
        "route layers=-1,-2",
        _conv(8),
        "connected output=8 activation=leaky",
        "shortcut from=-2 activation=leaky",
        "connected output=5 activation=leaky",
        "route layers=-1,-2",
        "dropout probability=.5",
        "upsample stride=3",
        _conv(4),
        "connected output=8 activation=leaky",
        "normalization size=3",
        "connected output=8 activation=leaky",
        "shortcut from=-2 activation=linear weights_type=per_channel weights_normalization=softmax",
        "connected output=8 activation=leaky",
        "sam from=-2",
        "connected output=8 activation=leaky",
        "reorg stride=1",
        "connected output=8 activation=leaky",
        "activation activation=leaky",
        "route layers=-1 groups=2 group_id=1",
        "shortcut from=-2 activation=leaky",
        "connected output=24 activation=linear",
        f"yolo mask=3,4,5 {_HEAD} scale_x_y=1.1",
    ],
    "vectors-recurrent": [
        _net(16, 12),
        _conv(6),
        "lstm output=8",
        "crnn size=1 output=6 hidden=5 activation=leaky",
        "rnn output=8 hidden=3 activation=tanh",
        _conv(4),
        "connected output=6 activation=leaky",
        "conv_lstm size=1 output=5 activation=leaky",
        "connected output=4 activation=linear",
    ],
    "yolo-heads": [
        _net(64, 96),
        *[_conv(16, "", _SHRINK)] * 3,
        "convolutional filters=24 size=1 stride=1 pad=1 activation=linear",
        f"yolo mask=3,4,5 {_HEAD} scale_x_y=1.2",
        "route layers=-3",
        "convolutional filters=24 size=1 stride=1 pad=1 activation=logistic",
        f"yolo mask=0,1,2 {_HEAD} scale_x_y=2.0 new_coords=1 nms_kind=greedynms beta_nms=.6",
    ],
}


def expand(lines: list[str]) -> str:
    """One section a line -> cfg text."""
    sections = []
    for line in lines:
        name, *options = line.split()
        first_wins = dict(reversed([option.split("=", 1) for option in options]))
        sections.append(
            "\n".join([f"[{name}]", *(f"{key}={value}" for key, value in first_wins.items())])
        )
    return "\n\n".join(sections) + "\n"


UNIT_CFGS = {name: expand(lines) for name, lines in _SECTIONS.items()}
