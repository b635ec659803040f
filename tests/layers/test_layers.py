"""Layers where no number is recorded, against plain loops over Darknet's own formulas, and what
layers remember."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from darknet_builder.errors import CfgError, CfgWarning, InputError, ShapeError
from darknet_builder.layers.base import WeightsHeader
from darknet_builder.layers.convolutional import Convolutional
from darknet_builder.layers.heads.anchor_head import AnchorOptions
from darknet_builder.layers.heads.detection import Detection
from darknet_builder.layers.heads.gaussian_yolo import GaussianYolo
from darknet_builder.layers.heads.region import Region
from darknet_builder.layers.heads.yolo import (
    Yolo,
    _cells_above,
    _cells_above_on_device,
    _constants,
    alike,
    decode_together,
)
from darknet_builder.layers.pooling import LocalAvgpool, Maxpool
from darknet_builder.layers.recurrent.image import ConvLstm, Crnn
from darknet_builder.network.build import build_network
from darknet_builder.prediction.postprocessing import concatenate_rows
from darknet_builder.shapes import Shape, flat

NET = "[net]\nwidth=8\nheight=6\nchannels=4\n"
LINEAR = "[convolutional]\nfilters=4\nactivation=linear\n"


def run(text: str, x: Tensor, *, dialect: str = "alexeyab") -> Tensor:
    """The last layer's output."""
    network = build_network(text, dialect=dialect).eval()
    with torch.no_grad():
        return network.layer_outputs(x)[-1]


def image(*shape: int, seed: int = 0) -> Tensor:
    """Values around zero."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---- sections of which the pack has no numbers ---------------------------------------------------


def test_l2norm() -> None:
    """x / sqrt(sum over channels of x^2), no epsilon."""
    x = image(2, 4, 6, 8)
    expected = x / x.pow(2).sum(1, keepdim=True).sqrt()
    assert torch.equal(run(f"{NET}[l2norm]\n", x, dialect="pjreddie"), expected)


def test_logistic_and_iseg() -> None:
    """A logistic over everything; over the class maps alone."""
    x = image(2, 4, 6, 8)
    assert torch.equal(
        run(f"{NET}[logistic]\n", x, dialect="pjreddie"), torch.sigmoid(x).flatten(1)
    )
    output = run(f"{NET}[iseg]\nclasses=3\nids=1\n", x, dialect="pjreddie")
    assert torch.equal(output[:, :3], torch.sigmoid(x[:, :3])) and torch.equal(
        output[:, 3], x[:, 3]
    )


def test_deconvolutional() -> None:
    """Every input value adds its weighted kernel at its place (col2im of W^T x)."""
    text = f"{NET}[deconvolutional]\nfilters=2\nsize=3\nstride=2\npadding=1\nactivation=linear\n"
    network = build_network(text, dialect="pjreddie").eval()
    x, weight = image(1, 4, 6, 8), network.layers[0].conv.weight.detach()
    expected = torch.zeros(2, (6 - 1) * 2 + 3, (8 - 1) * 2 + 3)
    for row in range(6):
        for column in range(8):
            kernels = torch.einsum("c,cfij->fij", x[0, :, row, column], weight)
            expected[:, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3] += kernels
    output = network(x).detach()
    assert output.shape == (1, 2, 11, 15) == network.layers[0].out_shape.batched(1)
    assert torch.allclose(output[0], expected[:, 1:-1, 1:-1], atol=1e-6)


def test_maxpool_never_takes_what_is_outside() -> None:
    """Negative values stay: padding is minus infinity, never zero."""
    x = -image(1, 1, 5, 7).abs() - 1
    for size, stride in ((2, 1), (2, 2), (3, 2), (4, 3)):
        pool = Maxpool(Shape(1, 5, 7), size=size, stride=(stride, stride), padding=size - 1)
        output = pool(x)
        assert tuple(output.shape[2:]) == (pool.out_shape.height, pool.out_shape.width)
        offset = (size - 1) // 2
        for row in range(output.shape[2]):
            for column in range(output.shape[3]):
                top, left = row * stride - offset, column * stride - offset
                window = x[0, 0, max(top, 0) : top + size, max(left, 0) : left + size]
                assert output[0, 0, row, column] == window.max()


def test_local_avgpool_counts_what_is_inside() -> None:
    """A constant image stays constant up to its edges."""
    output = LocalAvgpool(Shape(1, 5, 7), size=3, stride=(2, 2), padding=2)(
        torch.full((1, 1, 5, 7), 3.0)
    )
    assert torch.allclose(output, torch.full_like(output, 3.0))


def test_history_fills_the_newest_place() -> None:
    """One time step: the frame, then zeros; in training each step pushes the older ones on."""
    x = image(2, 4, 6, 8)
    text = f"{NET}time_steps=2\n[history]\nhistory_size=3\n"
    network = build_network(text).eval()
    output = network(x)
    assert torch.equal(output[:, :4], x) and output[:, 4:].abs().max() == 0
    output = network.train()(x)
    assert torch.equal(output[1], torch.cat((x[1], x[0], torch.zeros_like(x[0]))))


def test_scale_xnor_equals_folded_detection() -> None:
    """Batch norm after the count equals Darknet's detector, which folds it into the weights before
    it takes signs."""
    torch.manual_seed(1)
    layer = Convolutional(
        Shape(4, 6, 8),
        filters=3,
        size=3,
        padding=1,
        batch_normalize=True,
        activation="linear",
        xnor=True,
    ).eval()
    assert layer.norm is not None
    nn.init.uniform_(layer.norm.weight, -1.5, 1.5)  # negative scales turn the signs
    nn.init.uniform_(layer.norm.bias)
    layer.norm.running_mean = torch.rand(3)
    layer.norm.running_var = torch.rand(3) + 0.5
    factor = layer.norm.weight / torch.sqrt(layer.norm.running_var + layer.norm.eps)
    folded = Convolutional(
        Shape(4, 6, 8), filters=3, size=3, padding=1, activation="linear", xnor=True
    )
    with torch.no_grad():
        folded.conv.weight.copy_(layer.conv.weight * factor.view(-1, 1, 1, 1))
        folded.conv.bias.copy_(layer.norm.bias - layer.norm.running_mean * factor)
    x = image(1, 4, 6, 8)
    assert torch.allclose(layer(x), folded(x), atol=1e-5)


def test_binary_weights() -> None:
    """``binary=1``: sign * mean magnitude of each filter, the input as it is."""
    network = build_network(
        f"{NET}[convolutional]\nfilters=2\nsize=3\npad=1\nbinary=1\nactivation=linear\n"
    ).eval()
    conv = network.layers[0].conv
    x = image(1, 4, 6, 8)
    with torch.no_grad():
        output = network(x)
        conv.weight.copy_(conv.weight.sign() * conv.weight.abs().mean((1, 2, 3), keepdim=True))
        assert torch.allclose(output, conv(x), atol=1e-6)


def test_what_only_training_would_use_is_said() -> None:
    """Left out, but not in silence."""
    with pytest.warns(CfgWarning, match=r"\[convolutional\] grad_centr=1: ignored: Darknet uses"):
        build_network(f"{NET}{LINEAR}grad_centr=1\n")
    with pytest.warns(CfgWarning, match=r"\[dropout\] dropblock=1: is trained as plain dropout"):
        build_network(f"{NET}{LINEAR}[dropout]\ndropblock=1\n")


# ---- boxes ---------------------------------------------------------------------------------------


def test_yolo_boxes() -> None:
    """One place, by hand: b = ((i + x) / W, (j + y) / H, e^w a_w / n_w, e^h a_h / n_h)."""
    head = Yolo(Shape(7, 2, 4), AnchorOptions([(10, 20), (30, 40)], [1], 2, scale_x_y=1.2))
    raw = torch.zeros(1, 7, 2, 4)
    raw[0, :, 1, 2] = torch.tensor([0.5, -0.5, 0.1, 0.2, 2.0, 1.0, -1.0])
    found = head.decode(raw, (64, 32))
    row = 1 * 4 + 2
    sigmoid = torch.sigmoid(torch.tensor([0.5, -0.5, 2.0, 1.0, -1.0]))
    centre = [(2 + float(sigmoid[0]) * 1.2 - 0.1) / 4, (1 + float(sigmoid[1]) * 1.2 - 0.1) / 2]
    expected = torch.tensor([*centre, math.exp(0.1) * 30 / 64, math.exp(0.2) * 40 / 32])
    assert torch.allclose(found.boxes_cxcywh[0, row], expected, atol=1e-6)
    assert torch.allclose(found.objectness[0, row], sigmoid[2])
    assert torch.allclose(found.scores[0, row], sigmoid[2] * sigmoid[3:])


def test_new_coords_are_squares() -> None:
    """(2 w)^2 of the anchor, and no logistic in the head."""
    head = Yolo(Shape(6, 1, 1), AnchorOptions([(10, 20)], [0], 1, scale_x_y=2.0), new_coords=True)
    found = head.decode(torch.tensor([0.5, 0.75, 0.25, 0.5, 0.8, 0.5]).view(1, 6, 1, 1), (40, 40))
    assert torch.allclose(found.boxes_cxcywh[0, 0], torch.tensor([0.5, 1.0, 0.25 * 0.25, 0.5]))
    assert torch.allclose(found.scores, torch.tensor(0.4))


@pytest.mark.parametrize("new_coords", [False, True])
@pytest.mark.parametrize("threshold", [0.005, 0.25, 0.7])
def test_decode_above_gives_what_decode_gives(new_coords: bool, threshold: float) -> None:
    """Decoding only what reaches the threshold gives what decoding everything gives, in the same
    order."""
    head = Yolo(
        Shape(14, 3, 5),
        AnchorOptions([(10, 20), (30, 40), (5, 6)], [2, 0], 2, scale_x_y=1.1),
        new_coords=new_coords,
    )
    raw = torch.randn(3, 14, 3, 5, generator=torch.Generator().manual_seed(1)) * 3
    raw = (raw / 3).sigmoid() if new_coords else raw
    raw[1, 2, 1, 1] = float("inf")  # a width without end
    for order in (torch.contiguous_format, torch.channels_last):
        found = head.decode_above(raw.contiguous(memory_format=order), (40, 24), threshold)
        wanted = head.decode(raw, (40, 24)).above(threshold)
        assert 0 < len(wanted) <= 180
        assert found.num_classes == wanted.num_classes == 2
        for name in ("image_ids", "class_ids"):
            assert np.array_equal(getattr(found, name), getattr(wanted, name)), name
        assert np.array_equal(np.diff(found.box_ids) > 0, np.diff(wanted.box_ids) > 0)
        for name in ("boxes_cxcywh", "objectness", "scores"):
            assert getattr(found, name).dtype == np.float32
            assert np.allclose(getattr(found, name), getattr(wanted, name), rtol=1e-6, atol=1e-7), (
                name
            )


@pytest.mark.parametrize("new_coords", [False, True])
def test_heads_that_are_decoded_together(new_coords: bool) -> None:
    """Two images and heads of other sizes, anchors and ``scale_x_y`` give the bits of each alone."""
    anchors = [(10.0, 20.0), (30.0, 15.0), (7.0, 9.0)]
    heads = [
        Yolo(Shape(14, 3, 5), AnchorOptions(anchors, [0, 2], 2, 1.05), new_coords=new_coords),
        Yolo(Shape(7, 6, 10), AnchorOptions(anchors, [1], 2, 2.0), new_coords=new_coords),
        Yolo(Shape(7, 6, 10), AnchorOptions(anchors, [2], 2), new_coords=new_coords),
    ]
    seed = torch.Generator().manual_seed(1)
    shapes = [(layer.in_shape.channels, *layer.in_shape.batched(1)[2:]) for layer in heads]
    raw = [torch.randn(2, *shape, generator=seed) for shape in shapes]
    other = Yolo(Shape(6, 1, 1), AnchorOptions(anchors, [0], 1), new_coords=new_coords)
    assert alike(heads) and not alike([*heads, other])
    together = decode_together(heads, raw, (40, 24), 0.1)
    alone = [head.decode_above(maps, (40, 24), 0.1) for head, maps in zip(heads, raw, strict=True)]
    wanted = concatenate_rows(alone)
    assert all(len(rows) > 5 for rows in alone)
    for name in ("image_ids", "class_ids", "boxes_cxcywh", "objectness", "scores"):
        assert np.array_equal(getattr(together, name), getattr(wanted, name)), name
    assert np.array_equal(np.diff(together.box_ids) > 0, np.diff(wanted.box_ids) > 0)


def test_options_that_change_between_two_calls() -> None:
    """What is kept from the call before is for the same anchors, stretch, map and net size only, and
    nobody can write to it."""
    head = Yolo(Shape(14, 3, 5), AnchorOptions([(10.0, 20.0), (30.0, 15.0)], [0, 1], 2))
    raw = torch.randn(1, 14, 3, 5, generator=torch.Generator().manual_seed(1))

    def check(maps: torch.Tensor, net_size: tuple[int, int]) -> None:
        found = head.decode_above(maps, net_size, 0.1)
        wanted = head.decode(maps, net_size).above(0.1)
        assert len(found) > 5
        assert np.allclose(found.boxes_cxcywh, wanted.boxes_cxcywh, rtol=1e-6, atol=1e-7)

    check(raw, (40, 24))
    check(raw, (80, 32))
    check(raw.transpose(2, 3), (40, 24))
    head.anchors[1] = (5.0, 7.0)
    check(raw, (40, 24))
    head.mask = [1, 0]
    check(raw, (40, 24))
    head.scale_x_y = 1.5
    check(raw, (40, 24))
    options = (((10.0, 20.0), (30.0, 15.0)), (1,), 1.5, (3, 5))
    constants = _constants((options,), (40, 24))
    assert constants[..., 0].tolist() == [[30, 15], [5, 3], [40, 24], [1.5, 1.5], [0.25, 0.25]]
    with pytest.raises(ValueError, match="read-only"):
        constants[0] = 1


@pytest.mark.parametrize("threshold", [0.0, 1e-6, 0.005, 0.25, 0.9, 0.99999, 1.0])
def test_no_place_is_missed_at_the_threshold(threshold: float) -> None:
    """Raw objectness a hair around the threshold, in steps of single precision: the score itself
    decides."""
    head = Yolo(Shape(6, 1, 400), AnchorOptions([(10, 20)], [0], 1))
    edge = np.float32(
        np.clip(np.log(threshold / (1 - threshold)) if 0 < threshold < 1 else 0, -80, 80)
    )
    raw = torch.full((1, 6, 1, 400), 100.0)  # the class is certain
    raw[0, :4] = 0
    raw[0, 4, 0] = torch.from_numpy(
        edge + np.arange(-200, 200, dtype=np.float32) * np.spacing(edge)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = head.decode_above(raw, (400, 1), threshold)
    logistic = 1 / (1 + np.exp(-raw[0, 4, 0].numpy()))
    assert len(found) == np.count_nonzero(logistic > np.float32(threshold))
    assert (found.scores > threshold).all()


def test_raw_numbers_without_end() -> None:
    """Raw -1000 gives an objectness of 0, without a warning; +1000 gives 1, and NaN gives 0."""
    head = Yolo(Shape(6, 1, 4), AnchorOptions([(10, 20)], [0], 1))
    raw = torch.zeros(1, 6, 1, 4)
    raw[0, 4, 0] = torch.tensor([-1000, 1000, float("nan"), 1000])
    raw[0, 5, 0] = torch.tensor([1000, 1000, 1000, -1000])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = head.decode_above(raw, (4, 1), 0.0)
    assert (found.scores.tolist(), found.objectness.tolist()) == ([1.0], [1.0])


def test_places_of_another_device() -> None:
    """What PyTorch gathers there is what NumPy gathers here."""
    maps = torch.randn(2, 3, 7, 4, 5, generator=torch.Generator().manual_seed(2))
    here, there = _cells_above(maps.numpy(), 0.3), _cells_above_on_device(maps, 0.3)
    assert len(here[1]) and np.array_equal(here[1], there[1])
    assert np.array_equal(here[0], there[0])


def test_gaussian_scores_fall_with_uncertainty() -> None:
    """prob = objectness * class * (1 - mean uncertainty); yolo_point moves the centre by half the
    size."""
    raw = torch.zeros(1, 10, 1, 1)
    raw[0, :, 0, 0] = torch.tensor([0.0, 2.0, 0.0, -2.0, 0.0, 1.0, 0.0, -1.0, 3.0, 1.0])
    for point, share in (("center", 0.0), ("left_top", 0.5), ("right_bottom", -0.5)):
        head = GaussianYolo(Shape(10, 1, 1), AnchorOptions([(10, 20)], [0], 1), yolo_point=point)
        found = head.decode(raw, (40, 40))
        assert torch.allclose(
            found.boxes_cxcywh[0, 0],
            torch.tensor([0.5 + share * 0.25, 0.5 + share * 0.5, 0.25, 0.5]),
        )
        expected = torch.sigmoid(torch.tensor(3.0)) * torch.sigmoid(torch.tensor(1.0)) * 0.5
        assert torch.allclose(found.scores[0, 0, 0], expected)


def test_region_boxes_in_both_dialects() -> None:
    """Anchors in cells; AlexeyAB reports objectness 1."""
    raw = image(1, 14, 2, 3)
    found = {}
    for dialect in ("alexeyab", "pjreddie"):
        text = (
            "[net]\nwidth=3\nheight=2\nchannels=14\n"
            "[region]\nanchors=1,2,3,4\nnum=2\nclasses=2\nsoftmax=1\n"
        )
        network = build_network(text, dialect=dialect)
        head = network.heads[0]
        assert isinstance(head, Region)
        found[dialect] = head.decode(raw, (3, 2))
    values = raw.view(2, 7, 6)[1, :, 4]  # anchor 1, row 1, column 1
    expected = torch.tensor(
        [
            (1 + torch.sigmoid(values[0])) / 3,
            (1 + torch.sigmoid(values[1])) / 2,
            values[2].exp() * 3 / 3,
            values[3].exp() * 4 / 2,
        ]
    )
    for candidates in found.values():
        assert torch.allclose(candidates.boxes_cxcywh[0, 6 + 4], expected, atol=1e-6)
        assert torch.allclose(
            candidates.scores[0, 10], torch.sigmoid(values[4]) * values[5:].softmax(0), atol=1e-6
        )
    assert found["alexeyab"].objectness[0, 10] == 1
    assert torch.allclose(found["pjreddie"].objectness[0, 10], torch.sigmoid(values[4]))


def test_detection_boxes() -> None:
    """x = (tx + column) / side, w = t^2 with sqrt=1, prob = confidence * class."""
    head = Detection(flat(2 * 2 * (3 + 2 * 5)), side=2, num=2, classes=3, square_root=True)
    raw = image(1, 52).abs()
    found = head.decode(raw, (448, 448))
    cell, box = 3, 1  # row 1, column 1, second box
    values = raw[0, 12 + 8 + (cell * 2 + box) * 4 :][:4]
    expected = torch.tensor(
        [(values[0] + 1) / 2, (values[1] + 1) / 2, values[2] ** 2, values[3] ** 2]
    )
    assert torch.allclose(found.boxes_cxcywh[0, cell * 2 + box], expected)
    confidence = raw[0, 12 + cell * 2 + box]
    assert torch.allclose(
        found.scores[0, cell * 2 + box], confidence * raw[0, cell * 3 : cell * 3 + 3]
    )


# ---- memory --------------------------------------------------------------------------------------


RECURRENT = {
    "rnn": (
        "[net]\ninputs=5\ntime_steps=3\n[rnn]\noutput=4\nhidden=6\nactivation=tanh\nshortcut=1\n"
    ),
    "gru": "[net]\ninputs=5\ntime_steps=3\n[gru]\noutput=4\n",
    "lstm": "[net]\ninputs=5\ntime_steps=3\n[lstm]\noutput=4\n",
    "crnn": f"{NET}time_steps=3\n[crnn]\noutput=3\nhidden=2\nsize=3\npad=1\nactivation=leaky\n",
    "conv_lstm": f"{NET}time_steps=3\n[conv_lstm]\noutput=4\nsize=3\npad=1\npeephole=1\n",
    "bottleneck": (
        f"{NET}time_steps=3\n[conv_lstm]\noutput=4\nsize=3\npad=1\nbottleneck=1\nshortcut=1\n"
    ),
}


@pytest.mark.parametrize("name", RECURRENT)
def test_state_lives_between_calls(name: str) -> None:
    """Frames in a row, forgotten at ``reset_state``; training walks the same frames from zero in
    one call."""
    network = build_network(RECURRENT[name]).eval()
    frames = image(3, *network.input_shape.batched(1)[1:])
    with torch.no_grad():
        first = [network(frame[None]) for frame in frames]
        assert not torch.allclose(network(frames[:1]), first[0])
        network.reset_state()
        again = [network(frame[None]) for frame in frames]
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
        assert torch.allclose(network.train()(frames), torch.cat(first), atol=1e-6)
    assert "state" not in " ".join(network.state_dict())


def test_another_batch_size_is_refused() -> None:
    """The state belongs to as many sequences as it began with."""
    network = build_network(RECURRENT["gru"]).eval()
    network(torch.zeros(2, 5))
    with pytest.raises(
        InputError,
        match=r"^the state of the \[gru\] layer holds 2 sequences, the input 1; "
        r"call network\.reset_state\(\) before a new batch$",
    ):
        network(torch.zeros(1, 5))
    with pytest.raises(
        InputError, match=r"^a batch of 4 cannot be divided into time_steps=3 frames$"
    ):
        network.train()(torch.zeros(4, 5))


def test_gru_and_lstm_orders_differ_between_dialects() -> None:
    """The same floats, poured in another order."""
    for text, names in ((RECURRENT["gru"], ("uz", "wz")), (RECURRENT["lstm"], ("wf", "wi"))):
        first = [
            build_network(text, dialect=dialect).layers[0].weight_layout(WeightsHeader())[0][0]
            for dialect in ("alexeyab", "pjreddie")
        ]
        assert first == [f"{name}.bias" for name in names]


def test_conv_lstm_bottleneck_needs_equal_channels() -> None:
    """The gates read what the bottleneck gives."""
    with pytest.raises(
        CfgError, match=r"bottleneck=1 needs output=4, the channels of the layer before it$"
    ):
        build_network(f"{NET}[conv_lstm]\noutput=5\nsize=3\npad=1\nbottleneck=1\n")
    with pytest.raises(CfgError, match=r"must keep its size: use stride=1, an odd size and pad=1$"):
        build_network(f"{NET}[crnn]\noutput=5\nsize=3\n")
    assert issubclass(ConvLstm, nn.Module) and issubclass(Crnn, nn.Module)


# ---- training mode -------------------------------------------------------------------------------


def test_dropout_works_in_its_sources_memory() -> None:
    """A route to the layer before a dropout sees the dropped values, as in Darknet."""
    text = (
        f"{NET}{LINEAR}[dropout]\nprobability=.5\n{LINEAR}[route]\nlayers=0\n[shortcut]\nfrom=0\n"
    )
    network = build_network(text)
    assert network.layers[3].sources == (1,) and network.layers[4].sources == (3, 1)
    outputs = network.train().layer_outputs(image(1, 4, 6, 8))
    assert (outputs[3] == 0).float().mean() > 0.3
    assert torch.equal(outputs[3], outputs[1])
    outputs = network.eval().layer_outputs(image(1, 4, 6, 8))
    assert torch.equal(outputs[3], outputs[0])


def test_shared_weights_are_one_parameter() -> None:
    """``share_index``: found once by ``parameters()``, trained by both."""
    text = (
        f"{NET}{LINEAR}{LINEAR}".replace("activation", "batch_normalize=1\nactivation")
        + f"{LINEAR}share_index=1\nbatch_normalize=1\n"
    )
    network = build_network(text)
    assert (
        network.layers[2].conv is network.layers[1].conv
        and network.layers[2].norm is network.layers[1].norm
    )
    assert len(list(network.parameters())) == 2 * 3


def test_crop_in_training_moves() -> None:
    """The middle at inference, any place in training."""
    network = build_network(
        "[net]\nwidth=8\nheight=6\nchannels=1\n[crop]\ncrop_width=4\ncrop_height=2\nflip=1\n"
    )
    x = torch.arange(48.0).view(1, 1, 6, 8)
    assert network.eval()(x)[0, 0, 0, 0] == 2 * (2 * 8 + 2) - 1
    torch.manual_seed(0)
    assert len({float(network.train()(x)[0, 0, 0, 0]) for _ in range(40)}) > 5


def test_sizes_without_any_cfg() -> None:
    """Layers are usable, and refuse nonsense, on their own."""
    with pytest.raises(
        ShapeError, match=r"^groups=3 must divide both the 4 input channels and the 6 filters$"
    ):
        Convolutional(Shape(4, 6, 8), filters=6, groups=3)
    assert Convolutional(Shape(4, 6, 8), filters=6)(image(2, 4, 6, 8)).shape == (2, 6, 6, 8)
