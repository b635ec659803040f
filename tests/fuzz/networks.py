"""Random valid cfgs, together with the shape that each of their layers must have.

The shapes are counted here from Darknet's C formulas, apart from the package's own rule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from hypothesis import strategies as st

from darknet_builder import Network, build_network

Size = tuple[int, int, int]
"""(C, H, W)"""
_MAX_LAYERS = 8
_MAX_VALUES = 4096
"""Values of one output; keeps the networks quick."""
# Without plse, stair and relie: where they jump, a rounding error becomes a large difference.
_ACTIVATIONS = "linear leaky relu relu6 elu selu gelu logistic loggy tanh hardtan lhtan swish mish"
_ANCHORS = "4,5, 8,10, 13,16"
_NUM_ANCHORS = 3


@dataclass
class RandomNetwork:
    """A cfg in the making.

    Attributes:
        lines: lines of the cfg.
        shapes: the shape of each layer so far.
        now: the shape that the next layer reads.
    """

    lines: list[str]
    now: Size
    shapes: list[Size] = field(default_factory=list)

    def add(self, section: str, shape: Size, **options: object) -> None:
        """Append a section whose layer has a given shape."""
        self.lines.append(f"[{section}]")
        self.lines += [f"{key}={value}" for key, value in options.items()]
        self.shapes.append(shape)
        self.now = shape

    @property
    def text(self) -> str:
        """Return the cfg."""
        return "\n".join(self.lines) + "\n"

    def __repr__(self) -> str:
        return f"RandomNetwork({self.text!r})"

    def build(self, seed: int = 0) -> Network:
        """Build the network in eval mode; batch norm gets statistics as after a training."""
        torch.manual_seed(seed)
        network = build_network(self.text).eval()
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                assert module.running_mean is not None and module.running_var is not None
                module.running_mean.uniform_(-0.5, 0.5)
                module.running_var.uniform_(0.5, 2)
        return network


@st.composite
def networks(draw: st.DrawFn, *, with_head: bool | None = None) -> RandomNetwork:
    """Draw a network.

    Args:
        draw: Hypothesis' own.
        with_head: whether it ends with a detection head; None draws this as well.
    """
    width, height = draw(st.integers(2, 12)) * 2, draw(st.integers(2, 12)) * 2
    channels = draw(st.sampled_from([1, 3, 4]))
    net = ["[net]", f"width={width}", f"height={height}", f"channels={channels}"]
    network = RandomNetwork(net, (channels, height, width))
    for _ in range(draw(st.integers(1, _MAX_LAYERS))):
        draw(st.sampled_from(_SECTIONS))(draw, network)
    if draw(st.booleans()) if with_head is None else with_head:
        _head(draw, network)
    return network


def _convolutional(draw: st.DrawFn, network: RandomNetwork) -> None:
    c, h, w = network.now
    groups = draw(st.sampled_from([g for g in (1, 2, c) if c % g == 0]))
    filters = groups * draw(st.integers(1, max(1, 8 // groups)))
    size, stride = draw(st.sampled_from([1, 3, 5])), draw(st.sampled_from([1, 1, 2]))
    # parse_convolutional: pad=1 stands for size / 2.
    network.add(
        "convolutional",
        (
            filters,
            (h + size // 2 * 2 - size) // stride + 1,
            (w + size // 2 * 2 - size) // stride + 1,
        ),
        filters=filters,
        size=size,
        stride=stride,
        pad=1,
        groups=groups,
        batch_normalize=int(draw(st.booleans())),
        activation=draw(st.sampled_from(_ACTIVATIONS.split())),
    )


def _maxpool(draw: st.DrawFn, network: RandomNetwork) -> None:
    c, h, w = network.now
    size, stride = draw(st.sampled_from([2, 3, 5])), draw(st.sampled_from([1, 2]))
    # make_maxpool_layer: out = (in + padding - size) / stride + 1, with padding = size - 1.
    shape = (c, (h - 1) // stride + 1, (w - 1) // stride + 1)
    network.add("maxpool", shape, size=size, stride=stride)


def _upsample(draw: st.DrawFn, network: RandomNetwork) -> None:
    c, h, w = network.now
    if c * h * w * 4 <= _MAX_VALUES:
        network.add("upsample", (c, 2 * h, 2 * w), stride=2)


def _route(draw: st.DrawFn, network: RandomNetwork) -> None:
    """Concatenate earlier layers of one size, by relative or absolute number."""
    count = len(network.shapes)
    if not count:
        return
    first = draw(st.integers(0, count - 1))
    _, h, w = network.shapes[first]
    same = [index for index, shape in enumerate(network.shapes) if shape[1:] == (h, w)]
    chosen = [first, *draw(st.lists(st.sampled_from(same), max_size=2))]
    channels = [network.shapes[index][0] for index in chosen]
    groups = 2 if all(c % 2 == 0 for c in channels) and draw(st.booleans()) else 1
    if sum(channels) * h * w > _MAX_VALUES:
        return
    layers = [index - count if draw(st.booleans()) else index for index in chosen]
    options = {"groups": groups, "group_id": draw(st.integers(0, 1))} if groups > 1 else {}
    network.add(
        "route", (sum(channels) // groups, h, w), layers=",".join(map(str, layers)), **options
    )


def _shortcut(draw: st.DrawFn, network: RandomNetwork) -> None:
    same = [i for i, shape in enumerate(network.shapes[:-1]) if shape == network.now]
    if not same or network.shapes[-1] != network.now:
        return
    source = draw(st.sampled_from(same)) - len(network.shapes)
    activation = draw(st.sampled_from(["linear", "leaky", "mish"]))
    network.add("shortcut", network.now, **{"from": source}, activation=activation)


def _reorg(draw: st.DrawFn, network: RandomNetwork) -> None:
    c, h, w = network.now
    if h % 2 == 0 and w % 2 == 0 and c % 4 == 0:
        network.add("reorg", (c * 4, h // 2, w // 2), stride=2)


def _dropout(draw: st.DrawFn, network: RandomNetwork) -> None:
    network.add("dropout", network.now, probability=0.5)


def _batchnorm(draw: st.DrawFn, network: RandomNetwork) -> None:
    network.add("batchnorm", network.now)


def _activation(draw: st.DrawFn, network: RandomNetwork) -> None:
    activation = draw(st.sampled_from(_ACTIVATIONS.split()))
    network.add("activation", network.now, activation=activation)


def _squeeze(draw: st.DrawFn, network: RandomNetwork) -> None:
    """Add the block that scales channels by their mean: avgpool, convolution, scale_channels."""
    if not network.shapes:
        return
    c, h, w = network.now
    network.add("avgpool", (c, 1, 1))
    network.add("convolutional", (c, 1, 1), filters=c, activation="logistic")
    network.add("scale_channels", (c, h, w), **{"from": -3})


def _head(draw: st.DrawFn, network: RandomNetwork) -> None:
    """Add a 1 x 1 convolution and a [yolo] or [region] over it."""
    _, h, w = network.now
    classes = draw(st.integers(1, 3))
    filters = _NUM_ANCHORS * (5 + classes)
    network.add("convolutional", (filters, h, w), filters=filters, activation="linear")
    section = draw(st.sampled_from(["yolo", "region"]))
    network.add(section, (filters, h, w), classes=classes, num=_NUM_ANCHORS, anchors=_ANCHORS)


_SECTIONS: list[Callable[[st.DrawFn, RandomNetwork], None]] = [
    _convolutional,
    _convolutional,
    _convolutional,
    _maxpool,
    _upsample,
    _route,
    _shortcut,
    _reorg,
    _dropout,
    _batchnorm,
    _activation,
    _squeeze,
]
