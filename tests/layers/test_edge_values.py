"""Values at which layers, boxes, losses and readers need a special case of their own.

Each test fails if that case is left out of the code.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from darknet_builder.boxes.candidates import ScoredBoxes
from darknet_builder.boxes.overlap import ciou, giou
from darknet_builder.cfg.block import Block
from darknet_builder.cfg.dialects import get_dialect
from darknet_builder.errors import CfgError, CfgWarning, ShapeError, WeightsError
from darknet_builder.images.resize import Placement
from darknet_builder.layers.base import WeightsHeader
from darknet_builder.layers.contrastive import Contrastive
from darknet_builder.layers.convolutional import Convolutional
from darknet_builder.layers.crop import Crop
from darknet_builder.layers.heads.anchor_head import MOST_ANCHORS, AnchorOptions
from darknet_builder.layers.heads.region import Region
from darknet_builder.layers.heads.yolo import Yolo
from darknet_builder.layers.parts import batch_norm_1d, batch_norm_2d
from darknet_builder.layers.pjreddie_only import Iseg
from darknet_builder.layers.pooling import LocalAvgpool, Maxpool
from darknet_builder.layers.recurrent.image import ConvLstm, _Kernel
from darknet_builder.layers.recurrent.vector import Rnn
from darknet_builder.layers.reorg import Reorg, Reorg3d
from darknet_builder.layers.route import Route
from darknet_builder.layers.shortcut import Shortcut
from darknet_builder.layers.tree import Tree, read_tree
from darknet_builder.layers.upsample import Upsample
from darknet_builder.network.build import build_network
from darknet_builder.prediction.postprocessing import by_image
from darknet_builder.shapes import Shape
from darknet_builder.weights.loader import load_weights, save_weights

IMAGE = Shape(3, 8, 8)
SQUARE = Placement((32, 32), (32, 32), (32, 32))


# ---- layers --------------------------------------------------------------------------------------


def test_large_weights_of_a_shortcut() -> None:
    """Its softmax stays finite."""
    layer = Shortcut([IMAGE, IMAGE], weights_type="per_feature", normalization="softmax")
    assert layer.weight is not None
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1000.0], [999.0]]))
    total = layer(torch.ones(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))
    # Darknet adds 0.0001 to the sum of the exponentials.
    assert torch.allclose(total, torch.tensor(1 / (1 + np.exp(-1.0) + 1e-4)).float())


def test_xnor_has_no_groups() -> None:
    """Darknet's bit convolution ignores ``groups=``."""
    network = build_network(
        "[net]\nwidth=8\nheight=8\nchannels=4\n[convolutional]\nfilters=4\ngroups=2\nxnor=1\nsize=3\n"
    )
    assert network.get_parameter("layers.0.conv.weight").shape == (4, 4, 3, 3)


@pytest.mark.parametrize("dilation", [1, 2])
def test_xnor_with_dilation_and_zeros(dilation: int) -> None:
    """The window is spread, and a 0 counts as -1, in the input and in the weights."""
    layer = Convolutional(
        IMAGE, filters=2, size=3, stride=(1, 1), padding=1, dilation=dilation,
        activation="linear", xnor=True,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(2, 3, 3, 3, generator=generator)
    weight[0, 0], weight[1, 2, 1] = 0, 0
    x = torch.randn(1, 3, 8, 8, generator=generator)
    x[:, :, ::2] = 0
    with torch.no_grad():
        layer.conv.weight.copy_(weight)
        assert layer.conv.bias is not None
        layer.conv.bias.zero_()
        found = layer(x)
    signs = F.pad(torch.where(x > 0, 1.0, -1.0), (dilation,) * 4, value=-1.0)
    bits = torch.where(weight > 0, 1.0, -1.0) * weight.abs().mean((1, 2, 3), keepdim=True)
    expected = torch.zeros(1, 2, 8, 8)
    for row in range(3):
        for column in range(3):
            top, left = row * dilation, column * dilation
            part = signs[:, :, top : top + 8, left : left + 8]
            expected += torch.einsum("bchw,fc->bfhw", part, bits[:, :, row, column])
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("[reorg]\nstride=3", r"<text>:5: \[reorg\].*stride=3 does not divide the width and hei"),
        ("[reorg]\nstride=2", r"<text>:5: \[reorg\].*stride=2: its square must divide the 6 chan"),
        (
            "[reorg3d]\nstride=2\nreverse=1",
            r"<text>:6: \[reorg3d\] stride=2: reverse=1 needs 2\^4 to divide the 6 channels",
        ),
    ],
)
def test_errors_of_reorg_name_the_line(section: str, message: str) -> None:
    """With file and line, as those of every layer."""
    with pytest.raises(CfgError, match=message):
        build_network(f"[net]\nwidth=8\nheight=8\nchannels=6\n{section}\n")


def test_even_padding_larger_than_the_window() -> None:
    """PyTorch's own padding is at most half the window; Darknet's has no limit."""
    layer = Maxpool(Shape(1, 4, 4), size=2, stride=(1, 1), padding=4)
    x = torch.arange(16.0).view(1, 1, 4, 4)
    # Two cells before and two after: windows wholly in the padding have no maximum.
    found = layer(x)
    assert found.shape == (1, 1, 7, 7) and layer.out_shape == Shape(1, 7, 7)
    assert found[0, 0, 0].eq(float("-inf")).all()
    assert found[0, 0, 1].tolist() == [float("-inf"), 0, 1, 2, 3, 3, float("-inf")]


def test_a_flag_below_zero() -> None:
    """In C, every number but 0 is true."""
    flags = {text: Block("a", {"flag": text}).get_flag("flag") for text in ("-1", "0", "1", "2")}
    assert flags == {"-1": True, "0": False, "1": True, "2": True}


@pytest.mark.parametrize(
    ("channels", "groups", "depthwise"),
    [(4, 4, True), (2, 2, True), (4, 2, False), (4, 1, False), (1, 1, False)],
)
def test_what_is_depthwise(channels: int, groups: int, depthwise: bool) -> None:
    """A group for each of several channels."""
    layer = Convolutional(Shape(channels, 8, 8), filters=4, groups=groups)
    assert layer.is_depthwise == depthwise
    assert layer.out_shape == Shape(4, 8, 8)


def test_defaults_without_a_cfg() -> None:
    """They are those of the section's options."""
    layer = Contrastive(IMAGE)
    assert (layer.classes, layer.temperature, layer.yolo_layer) == (1000, 1.0, 0)
    assert WeightsHeader() == WeightsHeader(0, 2, 5, 0)


def test_embeddings_beside_too_few_classes() -> None:
    with pytest.raises(ShapeError, match="needs filters=52 in .* gives 3: classes .* = 20 [+] 32"):
        Iseg(IMAGE)
    text = "[net]\nwidth=2\nheight=2\nchannels=52\n[iseg]\n"
    assert build_network(text, dialect="pjreddie").sequence()[0].classes == 20


@pytest.mark.parametrize(("stride", "scale"), [(-2, 1.0), (-3, 0.5), (3, 2.0), (2, 0.0)])
def test_upsample_by_a_factor(stride: int, scale: float) -> None:
    """A negative stride adds up; a scale of 0 is one, too (blas.c, upsample_cpu)."""
    factor = abs(stride)
    x = torch.arange(36.0).view(1, 1, 6, 6)
    found = Upsample(Shape(1, 6, 6), stride=stride, scale=scale)(x)
    if stride > 0:
        expected = x.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    else:
        expected = x.unfold(2, factor, factor).unfold(3, factor, factor).sum((4, 5))
    assert torch.equal(found, scale * expected)


def test_groups_of_a_tree_between_those_of_another_size() -> None:
    """Groups of 2, 3 and 2 classes: each has a softmax of its own."""
    tree = Tree(tuple("abcdefg"), (-1, -1, 0, 0, 0, 1, 1))
    x = torch.arange(7.0)
    expected = torch.cat([part.softmax(0) for part in x.split([2, 3, 2])])
    assert torch.allclose(tree.softmax(x, 0), expected)


def test_names_of_a_tree(tmp_path: Path) -> None:
    """The first word of each line, and the number of its parent."""
    (tmp_path / "a.tree").write_text("animal -1\n\ncat 0\n")
    tree = read_tree(Block("region", {"tree": "a.tree"}), str(tmp_path))
    assert tree == Tree(("animal", "cat"), (-1, 0))


def test_a_wide_tree_is_not_deep(tmp_path: Path) -> None:
    """5,000 classes in two levels make a small table."""
    (tmp_path / "a.tree").write_text("root -1\n" + "leaf 0\n" * 4999)
    tree = read_tree(Block("region", {"tree": "a.tree"}), str(tmp_path))
    assert tree is not None and tree.group_sizes == [1, 4999]


def test_region_output_by_dialect() -> None:
    """AlexeyAB's is a vector for each image, pjreddie's a map."""
    x = torch.zeros(2, 12, 4, 3)
    for dialect, shape in (("alexeyab", (2, 144)), ("pjreddie", (2, 12, 4, 3))):
        head = Region(
            Shape(12, 4, 3), anchors=[(1, 1), (2, 2)], classes=1, dialect=get_dialect(dialect)
        )
        assert head(x).shape == shape


@pytest.mark.parametrize(
    ("numbers", "words", "expected"),
    [
        ("1,2,3", "num=2 needs 4 numbers, but 3 are given", (3.0, 0.5)),
        ("1,2", "num=2 needs 4 numbers, but 2 are given", (0.5, 0.5)),
        ("1,2, ,4", "item 3 of the list is empty", (0.0, 4.0)),
    ],
)
def test_an_incomplete_anchor_that_is_not_used(
    numbers: str, words: str, expected: tuple[float, float]
) -> None:
    """Missing numbers are 0.5 and empty ones 0, as in Darknet."""
    text = (
        "[net]\nwidth=8\nheight=8\nchannels=6\n"
        f"[yolo]\nmask=0\nnum=2\nanchors={numbers}\nclasses=1\n"
    )
    with pytest.warns(CfgWarning, match=words):
        (head,) = build_network(text).heads
    assert head.anchors == [(1.0, 2.0), expected]


def test_anchors_after_a_hash() -> None:
    """It ends the list of a [yolo], but not that of a [Gaussian_yolo] (parser.c)."""
    net = "[net]\nwidth=8\nheight=8\nchannels={}\n"
    options = "mask=0\nnum=2\nclasses=1\nanchors=1,2#,3,4\n"
    with pytest.warns(CfgWarning, match="num=2 needs 4 numbers, but 2 are given"):
        network = build_network(f"{net.format(6)}[yolo]\n{options}")
    assert network.heads[0].anchors == [(1.0, 2.0), (0.5, 0.5)]
    network = build_network(f"{net.format(10)}[Gaussian_yolo]\n{options}")
    assert network.heads[0].anchors == [(1.0, 2.0), (3.0, 4.0)]


def test_more_anchors_than_real_cfgs_have() -> None:
    network = build_network(
        "[net]\nwidth=2\nheight=2\nchannels=600\n[region]\nnum=100\nclasses=1\n"
    )
    assert len(network.heads[0].anchors) == 100
    assert MOST_ANCHORS == 65536


def test_a_blur_is_not_stored() -> None:
    """Its kernel is a constant of its size."""
    layer = Maxpool(IMAGE, size=2, stride=(2, 2), padding=1, antialiasing=3)
    assert layer.blur is not None and not layer.state_dict()


@pytest.mark.parametrize("other", [Shape(3, 4, 8), Shape(3, 8, 4)])
def test_route_of_another_height_or_width(other: Shape) -> None:
    """The second input is compared with the first, and the third too."""
    for shapes in ([IMAGE, other], [IMAGE, IMAGE, other]):
        with pytest.raises(ShapeError, match="cannot concatenate .* and .*: a route needs equal"):
            Route(shapes)
    assert Route([IMAGE, IMAGE]).out_shape == Shape(6, 8, 8)


def test_a_route_of_one_layer_is_no_copy() -> None:
    x = torch.rand(2, 6, 4, 4)
    assert Route([Shape(6, 4, 4)])(x) is x
    part = Route([Shape(6, 4, 4)], groups=2, group_id=1)(x)
    assert part.data_ptr() == x[:, 3:].data_ptr()


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_a_shortcut_of_nearly_equal_channels(channels: int) -> None:
    """Only the channels that both have are added."""
    x, other = torch.rand(1, 3, 4, 4), torch.rand(1, channels, 4, 4)
    expected = x.clone()
    expected[:, :channels] += other[:, :3]
    layer = Shortcut([Shape(3, 4, 4), Shape(channels, 4, 4)])
    assert torch.equal(layer(x, other), expected)


@pytest.mark.parametrize("other", [Shape(3, 4, 8), Shape(3, 8, 4)])
def test_a_shortcut_of_another_height_or_width(other: Shape) -> None:
    for shapes in ([IMAGE, other], [IMAGE, IMAGE, other]):
        with pytest.raises(ShapeError, match="cannot add .* a shortcut needs equal width and heig"):
            Shortcut(shapes)


def test_what_pjreddies_shortcut_adds() -> None:
    text = "[net]\nwidth=8\nheight=8\nchannels=3\n" + "[convolutional]\n" * 2
    layer = build_network(f"{text}[shortcut]\nfrom=0\n", dialect="pjreddie").sequence()[-1]
    assert layer.summary_cells() == ("", "0")


@pytest.mark.parametrize("kind", [Reorg, Reorg3d])
@pytest.mark.parametrize("size", [(4, 6), (6, 4)])
def test_a_stride_that_divides_one_side(kind: type[Reorg], size: tuple[int, int]) -> None:
    with pytest.raises(ShapeError, match="stride=4 does not divide the width and height"):
        kind(Shape(16, *size), stride=4)


def test_reorg_by_three() -> None:
    """Each place once, in both orders, forwards and back."""
    x = torch.arange(18.0 * 9 * 9).view(1, 18, 9, 9)
    for layer in (Reorg(Shape(18, 9, 9), stride=3), Reorg3d(Shape(18, 9, 9), stride=3)):
        assert layer(x).shape == (1, 162, 3, 3) and layer(x).unique().numel() == x.numel()
    back = Reorg(Shape(18, 9, 9), stride=3, reverse=True)
    assert back(x).shape == (1, 2, 27, 27) and back(x).unique().numel() == x.numel()
    x = torch.arange(162.0 * 9).view(1, 162, 3, 3)
    back3d = Reorg3d(Shape(162, 3, 3), stride=3, reverse=True)
    assert back3d(x).shape == (1, 18, 9, 9) and back3d(x).unique().numel() == x.numel()


def test_local_average_of_three_images() -> None:
    x = torch.rand(3, 2, 4, 4)
    layer = LocalAvgpool(Shape(2, 4, 4), size=2, stride=(1, 1), padding=1)
    assert torch.equal(layer(x), torch.cat([layer(image[None]) for image in x]))


def test_contrastive_gives_zeros() -> None:
    """A vector for each image; only its loss counts."""
    found = Contrastive(IMAGE)(torch.rand(2, 3, 8, 8))
    assert torch.equal(found, torch.zeros(2, 192))


def test_how_often_a_crop_mirrors() -> None:
    """Half of the time."""
    torch.manual_seed(0)
    layer = Crop(Shape(1, 1, 2), height=1, width=2, flip=True, adjust=False).train()
    x = torch.tensor([[[[0.0, 1.0]]]])
    assert 430 < sum(int(layer(x)[0, 0, 0, 0]) for _ in range(1000)) < 570


def test_the_bias_that_is_added_last() -> None:
    """A batch norm has its own."""
    plain = Convolutional(IMAGE, filters=2)
    assert plain.output_bias is plain.conv.bias is not None
    assert Convolutional(IMAGE, filters=2, batch_normalize=True).output_bias is None
    assert Upsample(IMAGE, stride=2).output_bias is None
    assert not Upsample(IMAGE, stride=2).is_depthwise


def test_operations_of_xnor_are_whole() -> None:
    layer = Convolutional(Shape(3, 3, 3), filters=1, xnor=True)
    assert (layer.flops(), type(layer.flops())) == (54 // 32, int)


def test_a_section_of_the_other_dialect() -> None:
    text = "[net]\nwidth=8\nheight=8\nchannels=3\n[iseg]\n"
    with pytest.raises(CfgError, match="does not know this section; build with dialect='pjreddie'"):
        build_network(text)


def test_a_state_of_one_frame_in_training() -> None:
    layer = Rnn(Shape(3), hidden=2, output=2).train()
    assert layer(torch.rand(4, 3)).shape == (4, 2)


def test_a_kernel_of_recurrent_layers() -> None:
    """Its defaults are those of a cfg; pjreddie's crnn has no other (crnn_layer.c:30)."""
    assert _Kernel() == _Kernel.from_block(Block("crnn"), "logistic")
    text = "[net]\nwidth=8\nheight=8\nchannels=3\n[crnn]\nsize=5\nstride=2\n"
    assert build_network(text, dialect="pjreddie").sequence()[-1].out_shape == Shape(1, 8, 8)


def test_a_conv_lstm_adds_only_a_bottleneck() -> None:
    """Without one, ``shortcut=1`` has nothing to add (conv_lstm_layer.c:1175)."""
    kernel = _Kernel(size=1, activation="linear")
    plain, shortcut = (
        ConvLstm(IMAGE, output=3, kernel=kernel, shortcut=shortcut).eval()
        for shortcut in (False, True)
    )
    shortcut.load_state_dict(plain.state_dict())
    x = torch.rand(1, 3, 8, 8)
    assert torch.equal(plain(x), shortcut(x))


def test_constants_of_batch_norm() -> None:
    """Those of batchnorm_layer.c."""
    for norm in (batch_norm_1d(2), batch_norm_2d(2)):
        assert (norm.eps, norm.momentum) == (1e-5, 0.01)


def test_which_head_walks_down_its_tree() -> None:
    """pjreddie's, unless classes to report are given; other heads never do."""
    common = AnchorOptions([(1.0, 2.0)], [0], 1)
    assert not Yolo(Shape(6, 1, 1), common).walks_tree
    for dialect, tree, expected in (
        ("pjreddie", Tree(("a", "b"), (-1, -1)), True),
        ("pjreddie", None, False),
        ("alexeyab", Tree(("a", "b"), (-1, -1)), False),
    ):
        head = Region(
            Shape(7, 4, 3), anchors=[(1, 1)], classes=2, tree=tree, dialect=get_dialect(dialect)
        )
        assert head.walks_tree == expected
        head.report_map = [1]
        assert not head.walks_tree


def test_no_overlap_is_called_mse() -> None:
    """``mse`` is a kind of loss, not of overlap."""
    text = "[net]\nwidth=2\nheight=2\nchannels=6\n[yolo]\nnum=1\nmask=0\nanchors=1,2\nclasses=1\n"
    for kind in ("iou", "ciou"):
        build_network(f"{text}iou_thresh_kind={kind}\n")
    with pytest.raises(CfgError, match="iou_thresh_kind=mse"):
        build_network(f"{text}iou_thresh_kind=mse\n")


@pytest.mark.parametrize("section", ["crnn", "conv_lstm"])
def test_padding_of_wide_recurrent_kernels(section: str) -> None:
    """``pad=1`` keeps width and height, as in a convolution; the state has one channel."""
    network = build_network(
        f"[net]\nwidth=8\nheight=6\nchannels=3\n[{section}]\nsize=5\npad=1\noutput=2\n"
    )
    layer = network.sequence()[0]
    assert layer.out_shape == Shape(2, 6, 8)
    if section == "crnn":
        assert layer.self_layer.out_shape == Shape(1, 6, 8)


def test_an_anchor_before_the_first() -> None:
    """It does not exist, whatever the list holds."""
    text = (
        "[net]\nwidth=8\nheight=8\nchannels=6\n[yolo]\nmask=-1\nnum=2\nanchors=1,2,3\nclasses=1\n"
    )
    with (
        pytest.warns(CfgWarning, match="Darknet uses 0.5"),
        pytest.raises(CfgError, match="mask=-1: anchor -1 does not exist: there are 2"),
    ):
        build_network(text)


@pytest.mark.parametrize(("number", "name"), [(0, "tanh"), (1, "logistic"), (2, "loggy")])
def test_activation_of_the_state(number: int, name: str) -> None:
    """``logistic=`` of [rnn] is for the part that reads the state (rnn_layer.c, make_rnn_layer)."""
    network = build_network(
        f"[net]\ninputs=4\n[rnn]\noutput=2\nhidden=3\nactivation=tanh\nlogistic={number}\n"
    )
    layer = network.sequence()[0]
    assert isinstance(layer, Rnn)
    parts = (layer.input_layer, layer.self_layer, layer.output_layer)
    assert [part.activation_name for part in parts] == ["tanh", name, "tanh"]


# ---- boxes ---------------------------------------------------------------------------------------


def test_ciou_of_equal_boxes() -> None:
    """Alpha is 0 / 0 without its epsilon; CIoU is 1."""
    box = torch.tensor([0.5, 0.5, 0.25, 0.125])
    assert ciou(box, box).item() == 1


def test_giou_of_empty_boxes() -> None:
    """Nothing lies around two points at one place; GIoU is their IoU, 0."""
    point = torch.tensor([0.5, 0.5, 0.0, 0.0])
    assert giou(point, point).item() == 0


def _rows(scores: list[float], box_ids: list[int]) -> ScoredBoxes:
    count = len(scores)
    return ScoredBoxes(
        np.zeros(count, np.int64),
        np.array(box_ids),
        np.full((count, 4), 0.5, np.float32),
        np.ones(count, np.float32),
        np.zeros(count, np.int64),
        np.array(scores, np.float32),
        2,
    )


def test_scores_that_are_not_finite() -> None:
    """They are left out, though their boxes are finite."""
    (found,) = by_image([_rows([0.5, np.nan, np.inf, 0.75], [0, 1, 2, 3])], [SQUARE])
    assert found.scores.tolist() == [0.5, 0.75]


def test_boxes_of_two_heads_stay_apart() -> None:
    """Both number their boxes from 0."""
    first, second = _rows([0.5, 0.5, 0.5], [0, 0, 2]), _rows([0.5, 0.5], [0, 1])
    (found,) = by_image([first, second, second], [SQUARE])
    assert found.box_ids.tolist() == [0, 0, 2, 3, 4, 5, 6]


# ---- weights -------------------------------------------------------------------------------------


def test_a_single_float_that_is_not_a_number(tmp_path: Path) -> None:
    """A tensor of one float is checked as any other."""
    network = build_network("[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\nfilters=1\n")
    save_weights(network, tmp_path / "a.weights")
    data = bytearray((tmp_path / "a.weights").read_bytes())
    data[20:24] = np.float32(np.nan).tobytes()  # the bias is the first float after the header
    (tmp_path / "a.weights").write_bytes(data)
    with pytest.raises(WeightsError, match=r"float 0 is nan, in bias of layer 0"):
        load_weights(network, tmp_path / "a.weights")
