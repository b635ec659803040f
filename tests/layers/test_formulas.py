"""Layers against Darknet's formulas in plain Python, and the numbers that they report."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from darknet_builder.cfg.dialects import get_dialect
from darknet_builder.errors import CfgWarning
from darknet_builder.layers.activations import make_activation
from darknet_builder.layers.attention import Implicit
from darknet_builder.layers.base import Head, WeightsHeader
from darknet_builder.layers.connected import Connected
from darknet_builder.layers.convolutional import Convolutional
from darknet_builder.layers.crop import Crop
from darknet_builder.layers.heads.anchor_head import AnchorOptions
from darknet_builder.layers.heads.detection import Detection
from darknet_builder.layers.heads.gaussian_yolo import GaussianYolo
from darknet_builder.layers.heads.region import Region
from darknet_builder.layers.heads.yolo import Yolo
from darknet_builder.layers.local import Local
from darknet_builder.layers.normalization import Normalization
from darknet_builder.layers.parts import Blur, Convolution, Linear
from darknet_builder.layers.pjreddie_only import TransposedConvolution
from darknet_builder.layers.recurrent.image import ConvLstm, History, _Kernel
from darknet_builder.layers.recurrent.vector import Rnn
from darknet_builder.layers.shortcut import StridedShortcut
from darknet_builder.layers.softmax import Softmax
from darknet_builder.layers.tree import Tree
from darknet_builder.network.build import build_network
from darknet_builder.shapes import Shape, flat
from tests.helpers.unit_networks import UNIT_CFGS

NET = "[net]\nwidth=8\nheight=6\nchannels=4\n"
LINEAR = "[convolutional]\nfilters=4\nactivation=linear\n"


def image(*shape: int, seed: int = 0) -> Tensor:
    """Values around zero, in double precision."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


# ---- activations ---------------------------------------------------------------------------------


def _gelu(x: float) -> float:
    return 0.5 * x * (1 + math.tanh(0.797885 * x + 0.035677 * x**3))


def _stair(x: float) -> float:
    floor = math.floor(x)
    return math.floor(x / 2) if floor % 2 == 0 else (x - floor) + math.floor(floor / 2)


def _plse(x: float) -> float:
    if x < -4:
        return 0.01 * (x + 4)
    return 0.01 * (x - 4) + 1 if x > 4 else 0.125 * x + 0.5


SCALARS: dict[str, Callable[[float], float]] = {
    "linear": lambda x: x,
    "logistic": lambda x: 1 / (1 + math.exp(-x)),
    "loggy": lambda x: 2 / (1 + math.exp(-x)) - 1,
    "relu": lambda x: x * (x > 0),
    "relu6": lambda x: min(max(x, 0), 6),
    "elu": lambda x: x if x >= 0 else math.exp(x) - 1,
    "selu": lambda x: 1.0507 * (x if x >= 0 else 1.6732 * (math.exp(x) - 1)),
    "gelu": _gelu,
    "relie": lambda x: x if x > 0 else 0.01 * x,
    "ramp": lambda x: x * (x > 0) + 0.1 * x,
    "leaky": lambda x: x if x > 0 else 0.1 * x,
    "revleaky": lambda x: x if x > 0 else 0.1 * x,
    "tanh": math.tanh,
    "plse": _plse,
    "stair": _stair,
    "hardtan": lambda x: min(max(x, -1), 1),
    "lhtan": lambda x: 0.001 * x if x < 0 else 0.001 * (x - 1) + 1 if x > 1 else x,
    "swish": lambda x: x / (1 + math.exp(-x)),
    "mish": lambda x: x * math.tanh(math.log1p(math.exp(x))),
    "hard_mish": lambda x: x if x > 0 else x * x / 2 + x if x > -2 else 0,
}
"""activations.h:56."""
POINTS = [
    -9,
    -6.5,
    -5,
    -4.5,
    -4,
    -3.5,
    -2.5,
    -2,
    -1.5,
    -1,
    -0.5,
    0,
    0.5,
    1,
    1.5,
    2,
    3,
    4,
    4.5,
    6,
    7.5,
]


@pytest.mark.parametrize("name", SCALARS)
def test_activations_of_a_number(name: str) -> None:
    """At and beyond every corner."""
    found = make_activation(name)(torch.tensor(POINTS, dtype=torch.float64))
    expected = [float(SCALARS[name](point)) for point in POINTS]
    assert found.tolist() == pytest.approx(expected, rel=1e-6, abs=1e-5)


KINKS: dict[str, dict[float, float]] = {
    "relu": {0: 0},
    "elu": {0: 1},
    "selu": {0: 1.0507},
    "relie": {0: 0.01},
    "ramp": {0: 0.1},
    "leaky": {0: 0.1},
    "plse": {-4: 0.125, 4: 0.125},
    "hardtan": {-1: 0, 1: 0},
    "lhtan": {0: 0.001, 1: 0.001},
    "hard_mish": {-2: 0, 0: 1},
}
"""Where the branches of an activation meet, and Darknet's gradient there (activations.h:88)."""


@pytest.mark.parametrize("name", KINKS)
def test_gradients_where_branches_meet(name: str) -> None:
    x = torch.tensor(list(KINKS[name]), dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(make_activation(name)(x).sum(), x)
    assert gradient.tolist() == pytest.approx(list(KINKS[name].values()))


@pytest.mark.parametrize("name", ["", "_softmax", "_softmax_maxval"])
def test_activations_of_a_pixel(name: str) -> None:
    """Each pixel's channels are divided by their sum and 0.0001 (activations.c:193)."""
    x = image(2, 3, 2, 4)
    found = make_activation(f"normalize_channels{name}")(x)
    for number in range(2):
        for row in range(2):
            for column in range(4):
                pixel = x[number, :, row, column].tolist()
                most = max(pixel) if name.endswith("maxval") else 0
                values = [math.exp(v - most) if name else max(v, 0.0) for v in pixel]
                expected = [value / (sum(values) + 1e-4) for value in values]
                assert found[number, :, row, column].tolist() == pytest.approx(expected)


# ---- a batch -------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::darknet_builder.errors.CfgWarning")
@pytest.mark.parametrize("name", UNIT_CFGS)
def test_a_batch_is_its_images(name: str) -> None:
    """Every layer gives for two images what it gives for each of them."""
    network = build_network(UNIT_CFGS[name]).double().eval()
    x = image(2, *network.input_shape.batched(1)[1:]).sigmoid()
    with torch.no_grad():
        together = network.layer_outputs(x)
        for number in range(2):
            network.reset_state()
            alone = network.layer_outputs(x[number : number + 1])
            for index, (batch, single) in enumerate(zip(together, alone, strict=True)):
                assert batch.shape[0] == 2
                torch.testing.assert_close(
                    batch[number], single[0], msg=f"layer {index}", rtol=1e-9, atol=1e-12
                )


# ---- layers of which the small networks have none ------------------------------------------------


@pytest.mark.parametrize("peephole", [False, True])
def test_a_conv_lstm_with_a_bottleneck(peephole: bool) -> None:
    """Its gates read one map of state and input; half of that map is added to the output
    (conv_lstm_layer.c:1100)."""
    kernel = _Kernel(size=3, padding=1, activation="linear")
    layer = ConvLstm(
        Shape(4, 6, 8), output=4, kernel=kernel, bottleneck=True, shortcut=True,
        peephole=peephole, state_constrain=0.25,
    ).double().eval()  # fmt: skip
    assert list(layer.w) == ["f"] and layer.u["f"].in_shape.channels == 4
    cell = hidden = torch.zeros(2, 4, 6, 8, dtype=torch.float64)
    with torch.no_grad():
        for seed in range(3):
            x = image(2, 4, 6, 8, seed=seed) * 3
            found = layer(x)
            joined = torch.tanh(layer.w["f"](torch.cat((hidden, x), 1)))
            old = cell
            seen = {gate: layer.v[gate](old) if peephole else 0 for gate in "fi"}
            f = torch.sigmoid(layer.u["f"](joined) + seen["f"])
            i = torch.sigmoid(layer.u["i"](joined) + seen["i"])
            new = f * old + i * torch.tanh(layer.u["g"](joined))
            o = torch.sigmoid(layer.u["o"](joined) + (layer.v["o"](new) if peephole else 0))
            hidden, cell = o * torch.tanh(new), new.clamp(-0.25, 0.25)
            expected = hidden.clone()
            expected[:, :2] += joined[:, :2]
            torch.testing.assert_close(found, expected)
            torch.testing.assert_close(layer.cell, cell)
            assert float(new.abs().max()) > 0.25  # the limit is reached


def test_a_conv_lstm_without_a_limit() -> None:
    layer = ConvLstm(
        Shape(1, 1, 1), output=1, kernel=_Kernel(size=1, activation="linear"), state_constrain=0
    ).eval()
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            parameter.fill_(100.0 if "bias" in name else 0.0)
        for _ in range(3):
            layer(torch.zeros(1, 1, 1, 1))
    assert float(layer.cell) == pytest.approx(3)  # each frame adds tanh(200) = 1


@pytest.mark.parametrize("self_activation", [None, "loggy"])
def test_an_rnn_that_adds_its_old_state(self_activation: str | None) -> None:
    """s = s + a(W x) + b(U s); y = a(V s), frame by frame, as in a training batch."""
    layer = Rnn(
        flat(3), hidden=4, output=2, activation="tanh", self_activation=self_activation,
        shortcut=True, time_steps=3,
    ).double()  # fmt: skip
    frames = image(6, 3)
    old_part = make_activation(self_activation or "tanh")
    state = torch.zeros(2, 4, dtype=torch.float64)
    with torch.no_grad():
        found = layer.train()(frames)
        for number in range(3):
            x = frames[2 * number : 2 * number + 2]
            new = torch.tanh(layer.input_layer.linear(x)) + old_part(layer.self_layer.linear(state))
            state = state + new
            expected = torch.tanh(layer.output_layer.linear(state))
            torch.testing.assert_close(found[2 * number : 2 * number + 2], expected)


def test_a_history_of_one_frame() -> None:
    x = image(2, 3, 2, 2)
    assert torch.equal(History(Shape(3, 2, 2), size=1)(x), x)


@pytest.mark.parametrize(
    ("mine", "other"),
    [
        ((4, 6, 8), (4, 6, 8)),
        ((4, 3, 4), (2, 6, 8)),
        ((2, 6, 8), (4, 3, 4)),
        ((4, 6, 8), (2, 6, 8)),
        ((4, 6, 8), (2, 5, 6)),
        ((4, 4, 8), (2, 7, 15)),
    ],
)
@pytest.mark.parametrize(
    ("alpha", "beta"), [(1.0, 1.0), (0.5, 1.0), (1.0, 3.0), (0.5, 3.0), (0.0, 1.0), (2.0, 1.0)]
)
def test_a_shortcut_between_sizes(
    mine: tuple[int, int, int], other: tuple[int, int, int], alpha: float, beta: float
) -> None:
    """pjreddie's shortcut_cpu in plain loops (pjreddie's blas.c:68)."""
    layer = StridedShortcut(Shape(*mine), Shape(*other), alpha=alpha, beta=beta)
    x, y = image(2, *mine), image(2, *other, seed=1)
    stride, sample = max(other[2] // mine[2], 1), max(mine[2] // other[2], 1)
    expected = x.clone()
    for channel in range(min(mine[0], other[0])):
        for row in range(min(mine[1], other[1])):
            for column in range(min(mine[2], other[2])):
                place = (slice(None), channel, row * sample, column * sample)
                added = y[:, channel, row * stride, column * stride]
                expected[place] = alpha * x[place] + beta * added
    if alpha != 1 and mine[0] > other[0] and sample == 1:
        expected[:, other[0] :] = x[:, other[0] :]  # channels without a partner stay
    torch.testing.assert_close(layer(x, y), expected)


def test_where_a_crop_begins_in_training() -> None:
    """Anywhere from the first to the last place, in both directions, mirrored or not."""
    x = torch.arange(12.0).view(1, 1, 3, 4)
    layer = Crop(Shape(1, 3, 4), height=2, width=2, flip=True, adjust=False).train()
    torch.manual_seed(0)
    found = {tuple(layer(x)[0, 0, 0].tolist()) for _ in range(300)}
    straight = {(4 * row + column, 4 * row + column + 1) for row in range(2) for column in range(3)}
    assert found == straight | {(right, left) for left, right in straight}
    assert torch.equal(layer.eval()(x), x[:, :, :2, 1:3])
    adjusted = Crop(Shape(1, 3, 4), height=3, width=4)
    assert torch.equal(adjusted(x), 2 * x - 1)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_normalization_window(size: int) -> None:
    """Darknet's sliding sum over channels (normalization_layer.c:80), for odd and even windows."""
    x = image(2, 4, 1, 1)
    layer = Normalization(Shape(4, 1, 1), size=size, alpha=0.3, beta=0.6, kappa=2.0)
    squares = x.square()
    norms = squares[:, : size // 2].sum(1)
    total = [norms]
    for k in range(1, 4):
        previous, following = k - (size - 1) // 2 - 1, k + size // 2
        norms = norms.clone()
        if previous >= 0:
            norms = norms - squares[:, previous]
        if following < 4:
            norms = norms + squares[:, following]
        total.append(norms)
    expected = x * (2 + 0.3 * torch.stack(total, 1)).pow(-0.6)
    torch.testing.assert_close(layer(x), expected)


def test_softmax_over_groups_pixels_and_a_tree() -> None:
    x = image(2, 6, 1, 2)
    groups = Softmax(Shape(6, 1, 2), groups=3, temperature=2.0)(x)
    cut = x.reshape(2, 3, 4) / 2
    torch.testing.assert_close(groups, cut.softmax(2).reshape(2, 12))
    pixels = Softmax(Shape(6, 1, 2), spatial=True, temperature=0.5)(x)
    torch.testing.assert_close(pixels.view(2, 6, 1, 2).sum(1), torch.ones(2, 1, 2).double())
    torch.testing.assert_close(pixels, (x * 2).softmax(1).flatten(1))
    tree = Tree(("a", "b", "c", "d", "e", "f"), (-1, -1, 0, 0, 0, 3))
    by_tree = Softmax(flat(12), tree=tree, temperature=2.0)(x.flatten(1))
    torch.testing.assert_close(by_tree[:, 2:5], (x.flatten(1)[:, 2:5] / 2).softmax(1))
    for part in by_tree.view(2, 2, 6).unbind(1):
        torch.testing.assert_close(part[:, 2:5].sum(1), torch.ones(2).double())
        assert torch.equal(part[:, 5], torch.ones(2).double())


def test_the_last_class_above_one_half() -> None:
    """One half itself is not above it, and a root has no parent to multiply by."""
    tree = Tree(("a", "b", "c"), (-1, -1, -1))
    rows = torch.tensor([[0.5, 0.5, 0.4], [0.75, 0.6, 0.5], [0.1, 0.2, 0.9]])
    expected = [[0, 0, 0], [0, 0.6, 0], [0, 0, 0.9]]
    assert tree.last_above_half(rows).tolist() == torch.tensor(expected).tolist()
    assert torch.equal(tree.multiply_down(rows), rows)


@pytest.mark.parametrize(
    ("kind", "expected"), [(1, [[1, 2, 1], [2, 4, 2], [1, 2, 1]]), (2, [[1, 1], [1, 1]])]
)
def test_kernels_of_antialiasing(kind: int, expected: list[list[int]]) -> None:
    blur = Blur(3, kind, (1, 2))
    kernel = torch.tensor(expected) / torch.tensor(expected).sum()
    assert torch.equal(blur.kernel, kernel.expand(3, 1, *kernel.shape))
    shown = {1: "size=3, stride_x=2, stride_y=1, padding=1", 2: "size=2, stride_x=2, stride_y=1"}
    assert blur.extra_repr() == shown[kind]
    x = torch.ones(2, 3, 5, 7)
    assert blur(x).shape == (2, *blur.output(Shape(3, 5, 7)).batched(1)[1:])


# ---- new weights ---------------------------------------------------------------------------------


def test_the_spread_of_new_weights() -> None:
    """U(-1, 1) * sqrt(2 / fan_in) with biases of 0; normal values where Darknet draws them so."""
    torch.manual_seed(0)
    conv, linear = Convolution(8, 64, 3), Linear(50, 80)
    local = Local(Shape(8, 6, 6), filters=16, size=3)
    for new, bias, fan_in in (
        (conv.weight, conv.bias, 8 * 9),
        (linear.weight, linear.bias, 50),
        (local.weight, local.bias, 8 * 9),
    ):
        weight, bound = new.detach(), math.sqrt(2 / fan_in)
        assert 0.98 * bound < float(weight.max()) <= bound
        assert -bound <= float(weight.min()) < -0.98 * bound
        assert bias is not None and not bias.any()
    deconvolution = TransposedConvolution(16, 32, 4)
    implicit = Implicit(Shape(1), filters=4000, mean=1.5, std=0.5)
    for new, mean, std in ((deconvolution.weight, 0.0, 0.02), (implicit.weight, 1.5, 0.5)):
        weight = new.detach()
        assert float(weight.mean()) == pytest.approx(mean, abs=std / 20)
        assert float(weight.std()) == pytest.approx(std, rel=0.05)
    assert deconvolution.bias is not None and not deconvolution.bias.any()


def test_weights_that_lie_transposed() -> None:
    """``flipped=1``: the file has inputs x filters, and loading writes through the view."""
    layer = Convolutional(Shape(4, 6, 8), filters=3, size=2, flipped=True)
    stored = dict(layer.weight_layout(WeightsHeader()))["weight"]
    assert stored.shape == (4 * 2 * 2, 3)
    with torch.no_grad():
        stored.copy_(torch.arange(48.0).view(16, 3))
    assert layer.conv.weight[1, 0, 0, 1] == 3 * 1 + 1


# ---- numbers about layers ------------------------------------------------------------------------

NUMBERS: list[tuple[str, int, tuple[str, str]]] = [
    # 2 * weights * positions: 2 * (4 * 4 / 2 * 9) * (3 * 4)
    ("[convolutional]\nfilters=4\nsize=3\npad=1\nstride=2\ngroups=2\nactivation=linear\n",
     2 * 72 * 12, ("4/2", "3 x 3 / 2")),
    ("[convolutional]\nfilters=5\nsize=3\npad=1\ndilation=2\nactivation=linear\n",
     2 * 180 * 48, ("5", "3 x 3 / 1 (2)")),
    ("[convolutional]\nfilters=2\nstride_x=2\nstride_y=3\nactivation=linear\n",
     2 * 8 * 2 * 4, ("2", "1 x 1 / 2x3")),
    ("[convolutional]\nfilters=8\nsize=3\npad=1\nxnor=1\nactivation=linear\n",
     2 * 8 * 36 * 48 // 32, ("8", "3 x 3 / 1")),
    # size^2 * channels * positions
    ("[maxpool]\nsize=3\nstride=2\n", 9 * 4 * 3 * 4, ("", "3 x 3 / 2")),
    ("[maxpool]\nsize=3\nstride_x=1\nstride_y=2\n", 9 * 4 * 3 * 8, ("", "3 x 3 / 1x2")),
    ("[maxpool]\nsize=2\nstride=2\nantialiasing=1\n", 4 * 4 * 6 * 8, ("", "2 x 2 / 1")),
    ("[maxpool]\nmaxpool_depth=1\nout_channels=2\n", 4 * 48, ("", "")),
    ("[local_avgpool]\nsize=2\nstride=2\n", 4 * 4 * 3 * 4, ("", "2 x 2 / 2")),
    ("[local]\nfilters=3\nsize=3\nactivation=linear\n", 0, ("3", "3 x 3 / 1")),
    ("[connected]\noutput=5\nactivation=linear\n", 0, ("5", "")),
    ("[dropout]\nprobability=.25\n", 0, ("", "p = 0.25")),
    ("[upsample]\nstride=3\n", 0, ("", "3x")),
    ("[upsample]\nstride=-2\n", 0, ("", "/2")),
    ("[reorg]\nstride=2\n", 0, ("", "/ 2")),
    (f"{LINEAR}[route]\nlayers=0,-1\ngroups=2\ngroup_id=1\n", 0, ("", "0 0 1/2")),
    (f"{LINEAR}[route]\nlayers=0\n", 0, ("", "0")),
    # one addition a value and input, two where it is weighted
    (f"{LINEAR}{LINEAR}{LINEAR}[shortcut]\nfrom=-2,-3\n", 2 * 192, ("", "1 0")),
    (f"{LINEAR}{LINEAR}[shortcut]\nfrom=-2\nweights_type=per_feature\nweights_normalization=relu\n",
     2 * 192, ("", "0")),
    (f"{LINEAR}[avgpool]\n[scale_channels]\nfrom=0\n", 0, ("", "0")),
    # three parts: 2 * (4 * 3 + 3 * 3 + 3 * 2) * 48
    ("[crnn]\nhidden=3\noutput=2\nsize=1\nactivation=linear\n", 2 * 27 * 48, ("", "")),
    # eight kernels: 4 of 4 x 2 and 4 of 2 x 2, and nine operations a value
    ("[conv_lstm]\noutput=2\nsize=1\nactivation=linear\n", 2 * 48 * 48 + 9 * 96, ("", "")),
    # three more kernels, and three more operations
    ("[conv_lstm]\noutput=2\nsize=1\npeephole=1\nactivation=linear\n",
     2 * 60 * 48 + 12 * 96, ("", "")),
]  # fmt: skip
"""A section on 4 channels of 6 x 8, the operations that Darknet counts, and the summary's cells."""


@pytest.mark.parametrize(("text", "flops", "cells"), NUMBERS)
def test_operations_and_summary(text: str, flops: int, cells: tuple[str, str]) -> None:
    layer = build_network(NET + text).sequence()[-1]
    assert (layer.flops(), layer.summary_cells()) == (flops, cells)


def test_numbers_of_pjreddies_layers() -> None:
    text = f"{NET}[deconvolutional]\nfilters=3\nsize=2\nstride=2\nactivation=linear\n"
    deconvolution = build_network(text, dialect="pjreddie").sequence()[-1]
    assert deconvolution.summary_cells() == ("3", "2 x 2 / 2")
    text = f"{NET}{LINEAR}[shortcut]\nfrom=0\n"
    shortcut = build_network(text, dialect="pjreddie").sequence()[-1]
    assert (shortcut.flops(), shortcut.summary_cells()) == (192, ("", "0"))


HEAD = "[convolutional]\nfilters={filters}\nactivation=linear\n[{section}]\n{options}"
HEADS: list[tuple[str, int, str, dict[str, object]]] = [
    ("yolo", 14, "mask=1,0\nnum=3\nanchors=1,2,3,4,5,6\nclasses=2\n",
     {"num_anchors": 2, "anchor_decimals": 0, "values_per_anchor": 7, "objectness_channel": 4,
      "masked_anchors": [(3, 4), (1, 2)], "source_option": "filters", "takes_raw": True,
      "type_number": 28}),
    ("Gaussian_yolo", 33, "num=3\nanchors=1,2,3,4,5,6\nclasses=2\n",
     {"num_anchors": 3, "anchor_decimals": 0, "values_per_anchor": 11, "objectness_channel": 8,
      "type_number": 29}),
    ("region", 14, "num=2\nanchors=1,2,3,4\nclasses=2\n",
     {"num_anchors": 2, "anchor_decimals": 2, "values_per_anchor": 7, "objectness_channel": 4,
      "reported_classes": 2, "type_number": 27}),
]  # fmt: skip


@pytest.mark.parametrize(("section", "filters", "options", "expected"), HEADS)
def test_numbers_of_heads(
    section: str, filters: int, options: str, expected: dict[str, object]
) -> None:
    text = HEAD.format(section=section, filters=filters, options=options)
    head = build_network(NET + text).sequence()[-1]
    assert isinstance(head, Head)
    assert {key: getattr(head, key) for key in expected} == expected
    mask = ",".join(map(str, head.mask or ()))
    assert head.summary_cells() == ("", f"mask {mask}" if mask else "")
    # For 5 classes and 4 anchors.
    assert head.source_values(5, 4) == 4 * (5 + head.objectness_channel + 1)


def test_numbers_of_a_detection_head() -> None:
    """Its boxes a cell are those of ``num=``, and anchors do not count."""
    text = "[connected]\noutput=48\n[detection]\nside=2\nnum=2\nclasses=2\ncoords=4\n"
    head = build_network(NET + text).sequence()[-1]
    assert isinstance(head, Head) and head.out_shape == flat(48)
    assert (head.num_anchors, head.source_option, head.takes_raw) == (0, "output", False)
    assert head.source_values(5, 9) == 2 * 2 * (5 + 2 * 5)


def test_a_mask_that_reaches_beyond_num() -> None:
    """Up to the last anchor of ``num=`` nothing is said; beyond it, all of the list are used."""
    text = "mask={mask}\nnum=2\nanchors=1,2,3,4,5,6\nclasses=1\n"
    last = HEAD.format(section="yolo", filters=6, options=text.format(mask=1))
    head = build_network(NET + last).sequence()[-1]
    assert getattr(head, "anchors") == [(1, 2), (3, 4)]  # noqa: B009 - of a Layer
    beyond = HEAD.format(section="yolo", filters=6, options=text.format(mask=2))
    with pytest.warns(CfgWarning, match=r"anchor 2 is beyond num=2; all 3 anchors"):
        head = build_network(NET + beyond).sequence()[-1]
    assert getattr(head, "masked_anchors") == [(5, 6)]  # noqa: B009


# ---- heads over several images -------------------------------------------------------------------


def heads() -> dict[str, Head]:
    """A head of each kind for two classes, over a map of 2 x 3 or 2 x 2."""
    common = AnchorOptions([(10.0, 20.0), (30.0, 40.0)], [1, 0], 2, scale_x_y=1.2)
    sizes = [(1.0, 2.0), (3.0, 4.0)]
    return {
        "yolo": Yolo(Shape(14, 2, 3), common),
        "new coordinates": Yolo(Shape(14, 2, 3), common, new_coords=True),
        "gaussian": GaussianYolo(Shape(22, 2, 3), common, yolo_point="left_top"),
        "region": Region(Shape(14, 2, 3), anchors=sizes, classes=2, softmax=True),
        "pjreddie": Region(
            Shape(14, 2, 3), anchors=sizes, classes=2, dialect=get_dialect("pjreddie")
        ),
        "detection": Detection(flat(48), side=2, num=2, classes=2, softmax=True),
    }


@pytest.mark.parametrize("name", heads())
def test_a_head_over_a_batch(name: str) -> None:
    """Each image's boxes are those of the image alone, and so is the stored map."""
    head = heads()[name].eval()
    raw = image(2, *head.in_shape.batched(1)[1:])
    found, stored = head.decode(raw, (48, 32)), head(raw)
    assert stored.shape == (2, *head.out_shape.batched(1)[1:]) or name == "region"
    for number in range(2):
        alone = head.decode(raw[number : number + 1], (48, 32))
        for part in ("boxes_cxcywh", "objectness", "scores"):
            together = getattr(found, part)
            torch.testing.assert_close(together[number], getattr(alone, part)[0])
            assert together.shape[1] == (8 if name == "detection" else 12)
        assert torch.equal(stored[number], head(raw[number : number + 1])[0])


def test_gaussian_scores() -> None:
    """objectness * class * (1 - mean uncertainty), and the box from its upper left corner."""
    head = heads()["gaussian"]
    raw = image(2, 22, 2, 3)
    found = head.decode(raw, (48, 32))
    values = raw.unflatten(1, (2, 11))[1, 1, :, 1, 2].tolist()  # the anchor 10 x 20, cell (2, 1)
    logistic = [1 / (1 + math.exp(-value)) for value in values]
    certainty = 1 - (logistic[1] + logistic[3] + logistic[5] + logistic[7]) / 4
    width, height = math.exp(values[4]) * 10 / 48, math.exp(values[6]) * 20 / 32
    x, y = (2 + logistic[0] * 1.2 - 0.1) / 3, (1 + logistic[2] * 1.2 - 0.1) / 2
    row = 1 * 6 + 1 * 3 + 2
    expected = [x + width / 2, y + height / 2, width, height]
    assert found.boxes_cxcywh[1, row].tolist() == pytest.approx(expected)
    assert found.scores[1, row].tolist() == pytest.approx(
        [logistic[8] * certainty * share for share in logistic[9:]]
    )


def test_detection_with_a_softmax() -> None:
    """Each cell's classes share a softmax; confidences and boxes stay (detection_layer.c:60)."""
    head = heads()["detection"]
    raw = image(2, 48)
    found = head.decode(raw, (48, 32))
    assert torch.equal(head(raw)[:, 8:], raw[:, 8:])
    shares = raw[:, :8].view(2, 4, 2).softmax(2)
    for cell in range(4):
        for box in range(2):
            place, confidence = 2 * cell + box, raw[:, 8 + 2 * cell + box]
            torch.testing.assert_close(
                found.scores[:, place], confidence[:, None] * shares[:, cell]
            )
            x, y, w, h = raw[:, 16 + 4 * place : 20 + 4 * place].unbind(1)
            torch.testing.assert_close(
                found.boxes_cxcywh[:, place],
                torch.stack(((x + cell % 2) / 2, (y + cell // 2) / 2, w, h), 1),
            )
    raw[:, 8] = 0
    assert head.decode(raw, (48, 32)).objectness[:, :2].tolist() == [[0, 1], [0, 1]]


def test_a_softmax_of_nine_cells() -> None:
    head = Detection(flat(63), side=3, classes=2, softmax=True)
    raw = image(2, 63)
    torch.testing.assert_close(head(raw)[:, :18], raw[:, :18].view(2, 9, 2).softmax(2).flatten(1))
    assert torch.equal(head(raw)[:, 18:], raw[:, 18:])


def test_the_metadata_of_heads() -> None:
    """What a program needs that decodes the raw maps itself."""
    found = {name: head.metadata() for name, head in heads().items()}
    assert found["yolo"] == {
        "type": "yolo", "classes": 2, "anchors": [(30.0, 40.0), (10.0, 20.0)],
        "anchor_unit": "pixel", "values_a_box": 5, "scale_x_y": 1.2,
        "layout": "anchors, values and classes, rows, columns",
        "values": "x, y, w, h, objectness", "new_coords": False,
    }  # fmt: skip
    assert found["gaussian"]["yolo_point"] == "left_top"
    assert found["gaussian"]["values_a_box"] == 9
    activations = [found[name]["class_activation"] for name in ("region", "pjreddie")]
    assert activations == ["softmax", "logistic"]
    assert found["region"]["anchor_unit"] == "cell" and found["region"]["parents"] is None
    assert found["detection"]["boxes_a_cell"] == 2 and found["detection"]["softmax"] is True


@pytest.mark.parametrize(
    ("major", "minor", "transposed"),
    [(1000, 0, False), (1001, 0, True), (0, 1000, False), (0, 1001, True), (0, 2, False)],
)
def test_versions_with_transposed_weights(major: int, minor: int, transposed: bool) -> None:
    """parser.c:2274."""
    assert WeightsHeader(major, minor).transposed is transposed
    layer = Connected(flat(3), output=2)
    weight = dict(layer.weight_layout(WeightsHeader(major, minor)))["weight"]
    assert weight.shape == ((3, 2) if transposed else (2, 3))
