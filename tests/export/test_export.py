"""Exported files: their contents, their outputs in every program, and reasons to refuse."""

from __future__ import annotations

import json
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import torch
from torch import Tensor

import darknet_builder
from darknet_builder.errors import (
    DarknetError,
    DataError,
    ExportError,
    InputError,
    MissingExtraError,
    WeightsError,
)
from darknet_builder.export import export
from darknet_builder.export import (
    job as export_job,
)
from darknet_builder.export import (
    torch_programs as torch_files,
)
from darknet_builder.export.export import export_network
from darknet_builder.export.onnx import file as export_onnx
from darknet_builder.export.onnx import graph as onnx_graph
from darknet_builder.export.onnx.nms_check import Kept, clear_thresholds, compare_kept, suppress
from darknet_builder.export.onnx.runtime import open_session
from darknet_builder.export.settings import ExportSettings, Suppression
from darknet_builder.export.tolerance import Comparison, Precise, compare_values
from darknet_builder.export.traceable import Traceable
from darknet_builder.images.resize import to_input
from darknet_builder.network.build import build_network
from darknet_builder.network.network import Network
from darknet_builder.prediction.detector import Detector
from scripts.export_table import RUNNERS, measure
from tests.helpers.toy_detector import BLUE, NAMES, RED, squares, toy_network
from tests.helpers.unit_networks import UNIT_CFGS

ROOT = Path(__file__).parents[2]
QUICK = (
    "attention",
    "maxpool",
    "upsample",
)
"""One network for each group of operators; the others run with the parity pack."""
RECURRENT = ("conv-lstm", "crnn", "recurrent", "vectors-recurrent")
CONV = "[net]\nwidth=16\nheight=16\nchannels=3\n[convolutional]\nfilters=6\nsize=3\npad=1\nbatch_normalize=1\n"


PROGRAMS = {
    name: run
    for name, run in RUNNERS.items()
    if not (name == "OpenVINO" and find_spec("openvino") is None)
    and not (name == "OpenCV 5" and int(cv2.__version__.split(".")[0]) < 5)
}
"""The programs that are installed."""


@pytest.mark.parametrize("name", RUNNERS)
def test_which_programs_are_held(name: str) -> None:
    if name not in PROGRAMS:
        pytest.skip(f"{name} is not installed: no file is compared with it")
    assert callable(PROGRAMS[name])


def loaded(name: str, seed: int = 5) -> Network:
    """Return a unit network with random weights and batch norm statistics."""
    torch.manual_seed(seed)
    network = build_network(UNIT_CFGS[name]).eval()
    for key, tensor in network.state_dict().items():
        if key.endswith(("running_var", "norm.weight")):
            tensor.uniform_(0.5, 1.5)
        elif key.endswith(("running_mean", "norm.bias")):
            tensor.uniform_(-0.2, 0.2)
    return network


def picture(seed: int = 1, batch: int = 1, size: tuple[int, int] = (64, 96)) -> Tensor:
    """Return (B, 3, H, W) random numbers; ``size`` is (width, height)."""
    return torch.rand((batch, 3, size[1], size[0]), generator=torch.Generator().manual_seed(seed))


def metadata(path: Path) -> dict[str, str]:
    """Return the metadata of an ONNX file, text by key."""
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def operators(path: Path) -> Counter[str]:
    """Count the operators in a file."""
    return Counter(node.op_type for node in onnx.load(path).graph.node)


# ---- every program gives the numbers of PyTorch --------------------------------------------------


def check_cells(levels: dict[str, dict[str, str]]) -> None:
    """Check that all cells are small differences, not reasons."""
    assert all(float(cell) < 2e-5 for cells in levels.values() for cell in cells.values()), levels


def _with_mark(name: str) -> Any:
    return name if name in QUICK else pytest.param(name, marks=pytest.mark.pack)


@pytest.mark.parametrize("name", [_with_mark(name) for name in UNIT_CFGS if name not in RECURRENT])
def test_every_section_as_onnx(name: str, tmp_path: Path) -> None:
    """In onnxruntime, OpenCV and, if it is installed, OpenVINO."""
    network = loaded(name)
    x = torch.rand(network.input_shape.batched(1), generator=torch.Generator().manual_seed(2))
    check_cells(measure(network, x, PROGRAMS, tmp_path, ["raw"]))


@pytest.mark.parametrize("name", ["yolo-heads", "region"])
def test_heads_as_onnx(name: str, tmp_path: Path) -> None:
    check_cells(measure(loaded(name), picture(), PROGRAMS, tmp_path))


GAUSSIAN = (
    "[net]\nwidth=32\nheight=32\nchannels=3\n[convolutional]\nfilters=22\nsize=8\nstride=8\n"
    "[Gaussian_yolo]\nmask=0,1\nanchors=4,5,8,10\nclasses=2\nnum=2\nscale_x_y=1.1\nyolo_point=left_top\n"
)
V1 = (
    "[net]\nwidth=16\nheight=16\nchannels=3\n[connected]\noutput=96\nactivation=linear\n"
    "[detection]\nclasses=2\ncoords=4\nside=4\nnum=1\nsoftmax=1\nsqrt=1\n"
)
V1 = V1.replace("output=96", f"output={4 * 4 * (2 + 5)}")


@pytest.mark.parametrize("text", [GAUSSIAN, V1], ids=["Gaussian_yolo", "detection"])
def test_rarer_heads_as_onnx(text: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build_network(text).eval()
    check_cells(measure(network, torch.rand(network.input_shape.batched(1)), PROGRAMS, tmp_path))


def test_xnor_weights_are_binary_in_the_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build_network(
        CONV + "[convolutional]\nxnor=1\nfilters=4\nsize=3\npad=1\nbatch_normalize=1\n"
    ).eval()
    report = export_network(network, tmp_path / "a.onnx")
    assert not {"Abs", "Neg", "ReduceMean"} & report.nodes.keys()
    weight = next(
        onnx.numpy_helper.to_array(constant)
        for constant in onnx.load(tmp_path / "a.onnx").graph.initializer
        if list(constant.dims) == [4, 6, 3, 3]
    )
    assert len(np.unique(np.abs(weight[0]))) == 1


# ---- sizes that change ---------------------------------------------------------------------------


def test_any_batch(tmp_path: Path) -> None:
    network = loaded("yolo-heads")
    path = tmp_path / "a.onnx"
    report = export_network(network, path, settings=ExportSettings(level="decoded", any_batch=True))
    assert report.inputs == {"images": ["batch", 3, 96, 64]}
    assert report.outputs == {
        "boxes": ["batch", 576, 4],
        "scores": ["batch", 576, 3],
        "objectness": ["batch", 576],
    }
    assert [comparison.what for comparison in report.comparisons] == [
        "random input",
        "3 random inputs",
        "drawn scene",
    ]
    names = list(report.outputs)
    for batch in (1, 5):
        x = picture(batch, batch)
        for program, run in PROGRAMS.items():
            compare_values(
                program, wanted(network, "decoded", x), run(path, x.numpy(), names), names
            )


def wanted(network: Network, level: str, x: Tensor) -> list[Tensor]:
    """Return PyTorch's outputs at a level."""
    with torch.no_grad():
        return list(Traceable(network, level).eval()(x))


def test_any_size(tmp_path: Path) -> None:
    network = loaded("yolo-heads")
    path = tmp_path / "a.onnx"
    report = export_network(network, path, settings=ExportSettings(level="decoded", any_size=True))
    assert report.inputs == {"images": [1, 3, "height", "width"]}
    assert [comparison.what for comparison in report.comparisons] == [
        "random input",
        "random input of 88 x 104",
        "drawn scene",
    ]
    for size in ((64, 96), (40, 24), (200, 16)):
        x = picture(7, size=size)
        for program, run in PROGRAMS.items():
            compare_values(
                f"{program} {size}",
                wanted(network, "decoded", x),
                run(path, x.numpy(), list(report.outputs)),
                list(report.outputs),
            )


def test_a_fixed_batch(tmp_path: Path) -> None:
    report = export_network(loaded("route"), tmp_path / "a.onnx", settings=ExportSettings(batch=4))
    assert report.inputs == {"images": [4, 3, 24, 32]} and report.outputs == {
        "output": [4, 4, 24, 32]
    }


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("local", "layer 1 [local] has weights that fit one size only"),
        ("dropout-crop", None),
        ("recurrent", "layer 0 [rnn] keeps a state from frame to frame"),
    ],
)
def test_what_takes_one_size_only(name: str, message: str | None, tmp_path: Path) -> None:
    """A connected layer after a crop is fine: the crop has one output size."""
    settings = ExportSettings(any_size=True)
    if message is None:
        assert (
            export_network(loaded(name), tmp_path / "a.onnx", settings=settings).difference < 1e-5
        )
        return
    with pytest.raises(InputError, match="^not exportable") as error:
        export_network(loaded(name), tmp_path / "a.onnx", settings=settings)
    assert message in str(error.value)


# ---- the graph -----------------------------------------------------------------------------------


def test_the_graph_is_short(tmp_path: Path) -> None:
    """Batch norm and padding are folded, shapes are constants, splits are Split nodes."""
    network = loaded("maxpool")
    export_network(network, tmp_path / "a.onnx")
    assert operators(tmp_path / "a.onnx") == {
        "Conv": 5,
        "LeakyRelu": 5,
        "MaxPool": 5,
        "Reshape": 1,
        "ReduceMax": 1,
    }
    lesson = build_network(ROOT / "cfg" / "lesson.cfg").eval()
    export_network(lesson, tmp_path / "b.onnx", settings=ExportSettings(any_batch=True))
    assert (
        not {"Pad", "Shape", "Gather", "BatchNormalization", "Identity", "Constant", "Cast"}
        & operators(tmp_path / "b.onnx").keys()
    )


def test_padding_is_uneven_as_in_darknet(tmp_path: Path) -> None:
    """size=2 stride=1: no padding before, one value after, which is never the maximum."""
    network = build_network(
        "[net]\nwidth=5\nheight=5\nchannels=3\n[maxpool]\nsize=2\nstride=1\n"
    ).eval()
    export_network(network, tmp_path / "a.onnx")
    (node,) = onnx.load(tmp_path / "a.onnx").graph.node
    attributes = {
        attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute
    }
    assert (node.op_type, attributes["pads"], attributes["kernel_shape"]) == (
        "MaxPool",
        [0, 0, 1, 1],
        [2, 2],
    )
    x = -torch.rand(1, 3, 5, 5)
    (found,) = RUNNERS["onnxruntime"](tmp_path / "a.onnx", x.numpy(), ["output"])
    assert found.max() < 0


def test_no_folder_of_this_machine_in_the_file(tmp_path: Path) -> None:
    """Nor any source line, although PyTorch's exporter writes each operator's Python stack."""
    network = loaded("yolo-heads")
    export_network(network, tmp_path / "a.onnx", settings=ExportSettings(level="decoded"))
    export_network(network, tmp_path / "a.pt2", settings=ExportSettings(level="decoded"))
    for name in ("a.onnx", "a.pt2"):
        content = (tmp_path / name).read_bytes()
        assert str(ROOT).encode() not in content and b"site-packages" not in content


@pytest.mark.parametrize("opset", [18, 21])
def test_opsets(opset: int, tmp_path: Path) -> None:
    export_network(
        loaded("yolo-heads"), tmp_path / "a.onnx", settings=ExportSettings(level="nms", opset=opset)
    )
    model = onnx.load(tmp_path / "a.onnx")
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)]


@pytest.mark.parametrize("opset", [17, 999])
def test_opsets_that_cannot_be_written(opset: int, tmp_path: Path) -> None:
    newest = onnx.defs.onnx_opset_version()
    with pytest.raises(InputError) as error:
        export_network(loaded("route"), tmp_path / "a.onnx", settings=ExportSettings(opset=opset))
    assert (
        str(error.value)
        == f"opset={opset}: expected a version from 18 to {newest}, the newest that the installed "
        "package onnx supports"
    )


# ---- metadata ------------------------------------------------------------------------------------


def test_metadata(tmp_path: Path) -> None:
    settings = ExportSettings(
        level="nms", names=["a", "b", "ç"], any_batch=True, suppression=Suppression(0.3, 0.5, 70)
    )
    export_network(loaded("yolo-heads"), tmp_path / "a.onnx", settings=settings)
    facts = metadata(tmp_path / "a.onnx")
    heads = json.loads(facts.pop("heads"))
    assert facts == {
        "level": "nms",
        "dialect": "alexeyab",
        "input": "images",
        "input_shape": "[3, 96, 64]",
        "any_batch": "true",
        "any_size": "false",
        "size_step": "0",
        "channel_order": "RGB",
        "input_scale": "1/255",
        "resize": "stretch",
        "resize_rule": "bilinear, corners aligned",
        "letterbox_value": "0.5",
        "names": '["a", "b", "ç"]',
        "classes": "3",
        "nms_kind": "greedynms",
        "beta_nms": "0.6",
        "box_format": "centre x, centre y, width, height, relative to the network's input",
        "score_threshold": "0.3",
        "iou_threshold": "0.5",
        "max_boxes": "70",
        "nms": "iou",
    }
    assert heads[0] == {
        "layer": 4,
        "type": "yolo",
        "classes": 3,
        "anchors": [[23, 29], [43, 31], [30, 60]],
        "anchor_unit": "pixel",
        "values_a_box": 5,
        "scale_x_y": 1.2,
        "new_coords": False,
        "values": "x, y, w, h, objectness",
        "layout": "anchors, values and classes, rows, columns",
    }
    assert (heads[1]["layer"], heads[1]["new_coords"]) == (7, True)


def test_metadata_of_other_networks(tmp_path: Path) -> None:
    export_network(
        loaded("region"), tmp_path / "a.onnx", settings=ExportSettings(resize="letterbox")
    )
    facts = metadata(tmp_path / "a.onnx")
    assert facts["resize"] == "letterbox" and "box_format" not in facts
    assert json.loads(facts["heads"])[0]["anchor_unit"] == "cell"
    assert (facts["score_threshold"], facts["iou_threshold"]) == (
        "0.25",
        "0.45",
    ) and "max_boxes" not in facts
    export_network(loaded("route"), tmp_path / "b.onnx")
    facts = metadata(tmp_path / "b.onnx")
    assert not {"names", "classes", "heads", "nms_kind", "score_threshold"} & facts.keys()
    assert facts["resize"] == "stretch"


@pytest.mark.parametrize(("dialect", "resize"), [("alexeyab", "crop"), ("pjreddie", "letterbox")])
def test_metadata_of_a_classifier(dialect: str, resize: str, tmp_path: Path) -> None:
    """It has the class names, and how ``classify`` fits photographs to the input."""
    text = CONV + "[avgpool]\n[softmax]\n"
    network = build_network(text, dialect=dialect).eval()
    names = [f"n{index}" for index in range(6)]
    export_network(network, tmp_path / "a.onnx", settings=ExportSettings(names=names))
    model = onnx.load(tmp_path / "a.onnx")
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert (json.loads(facts["names"]), facts["classes"], facts["resize"]) == (names, "6", resize)
    assert (model.producer_name, model.producer_version) == (
        "darknet-builder",
        darknet_builder.__version__,
    )
    with pytest.raises(DataError, match="^names: got 2 names, but the network gives 6 scores$"):
        export_network(network, tmp_path / "b.onnx", settings=ExportSettings(names=["a", "b"]))


@pytest.mark.parametrize("text", ["gaussian", "v1"])
def test_raw_maps_can_be_decoded_from_the_metadata_alone(text: str, tmp_path: Path) -> None:
    """A program that has only the file can decode its outputs."""
    torch.manual_seed(0)
    network = build_network({"gaussian": GAUSSIAN, "v1": V1}[text]).eval()
    export_network(network, tmp_path / "a.onnx")
    x = torch.rand(network.input_shape.batched(1))
    names = [output.name for output in open_session(tmp_path / "a.onnx").get_outputs()]
    raw = torch.from_numpy(RUNNERS["onnxruntime"](tmp_path / "a.onnx", x.numpy(), names)[0])[0]
    (head,) = json.loads(metadata(tmp_path / "a.onnx")["heads"])
    boxes = decode_gaussian(raw, head, 32) if text == "gaussian" else decode_v1(raw, head)
    torch.testing.assert_close(boxes, wanted(network, "decoded", x)[0][0], atol=1e-5, rtol=1e-5)


def decode_gaussian(raw: Tensor, head: dict[str, Any], size: int) -> Tensor:
    """Decode (A * V, H, W) to (N, 4) of x, y, w, h."""
    maps = raw.unflatten(0, (len(head["anchors"]), -1))
    values = dict(zip(head["values"].split(", "), maps.transpose(0, 1), strict=False))
    rows, columns = torch.meshgrid(*map(torch.arange, maps.shape[2:]), indexing="ij")
    stretch = head["scale_x_y"]
    x, y = (
        ((values[key].sigmoid() - 0.5) * stretch + 0.5 + cell) / length
        for key, cell, length in (("x", columns, maps.shape[3]), ("y", rows, maps.shape[2]))
    )
    w, h = (
        values[key].exp() * torch.tensor(head["anchors"])[:, axis, None, None] / size
        for axis, key in enumerate("wh")
    )
    share = {"center": 0, "left_top": 0.5, "right_bottom": -0.5}[head["yolo_point"]]
    return torch.stack((x + share * w, y + share * h, w, h), -1).flatten(0, 2)


def decode_v1(raw: Tensor, head: dict[str, Any]) -> Tensor:
    """Decode a vector to (N, 4) of x, y, w, h."""
    cells = head["side"] ** 2
    boxes = raw[-cells * head["boxes_a_cell"] * 4 :].reshape(cells, head["boxes_a_cell"], 4)
    cell = torch.arange(cells)
    corner = torch.stack((cell % head["side"], cell // head["side"]), -1)[:, None]
    sizes = boxes[..., 2:].square() if head["sqrt"] else boxes[..., 2:]
    return torch.cat(((boxes[..., :2] + corner) / head["side"], sizes), -1).flatten(0, 1)


# ---- suppression in the graph --------------------------------------------------------------------


def test_suppression_finds_what_a_detector_finds(tmp_path: Path) -> None:
    network = toy_network().eval()
    image = squares((RED, 0, 0), (BLUE, 2, 1), (RED, 3, 3))
    report = export_network(
        network, tmp_path / "a.onnx", settings=ExportSettings(level="nms", names=NAMES)
    )
    x, _ = to_input(image, network.input_size)
    expected = Detector(network, names=NAMES)(image)
    theirs = np.lexsort((expected.boxes_xyxy[:, 0], expected.class_ids))
    names = list(report.outputs)
    for program, run in PROGRAMS.items():
        found = dict(zip(names, run(tmp_path / "a.onnx", x[None].numpy(), names), strict=True))
        order = np.lexsort((found["boxes"][:, 0], found["class_ids"].ravel()))
        assert (
            found["class_ids"].ravel()[order].tolist()
            == expected.class_ids[theirs].tolist()
            == [0, 0, 1]
        ), program
        np.testing.assert_allclose(found["boxes"][order], expected.boxes_cxcywh[theirs], atol=1e-4)
        np.testing.assert_allclose(
            found["scores"].ravel()[order], expected.scores[theirs], atol=1e-5
        )
        assert found["image_ids"].ravel().tolist() == [0, 0, 0]
        black = run(tmp_path / "a.onnx", np.zeros_like(x[None].numpy()), names)
        assert [output.size for output in black] == [0, 0, 0, 0], program


def test_a_call_may_give_other_thresholds(tmp_path: Path) -> None:
    """In onnxruntime; the file holds the defaults."""
    network = loaded("yolo-heads")
    export_network(network, tmp_path / "a.onnx", settings=ExportSettings(level="nms"))
    session = open_session(tmp_path / "a.onnx")
    assert [one.name for one in session.get_inputs()] == ["images"]
    assert [one.name for one in session.get_overridable_initializers()] == [
        "max_boxes",
        "iou_threshold",
        "score_threshold",
    ]
    x = picture()
    boxes, scores, objectness = wanted(network, "decoded", x)
    counts = []
    for threshold in (0.2, 0.3):
        found = session.run(
            ["scores"], {"images": x.numpy(), "score_threshold": np.array([threshold], np.float32)}
        )[0]
        assert found.min() > threshold
        assert len(found) == len(suppress(boxes, scores, objectness, threshold, 0.45).rows)
        counts.append(len(found))
    assert counts[0] > counts[1] > 0
    few = session.run(
        ["class_ids"],
        {
            "images": x.numpy(),
            "score_threshold": np.array([0.2], np.float32),
            "max_boxes": np.array([1], np.int64),
        },
    )[0]
    assert sorted(few.tolist()) == [0, 1, 2]


def test_the_threshold_itself_is_too_small(tmp_path: Path) -> None:
    """As in Darknet, score and objectness must exceed the threshold, not only reach it."""
    boxes = torch.tensor([[[0.2, 0.2, 0.1, 0.1], [0.5, 0.5, 0.1, 0.1], [0.8, 0.8, 0.1, 0.1]]])
    scores, objectness = torch.tensor([[[0.5], [0.6], [0.6]]]), torch.tensor([[0.9, 0.5, 0.9]])
    assert suppress(boxes, scores, objectness, 0.5, 0.45).rows.tolist() == [
        pytest.approx([0.8, 0.8, 0.1, 0.1, 0.6])
    ]
    module = _Constant(boxes, scores, objectness)
    model = onnx_graph.to_model(
        module, torch.zeros(1, 1), "images", ["boxes", "scores", "objectness"]
    )
    onnx_graph.append_suppression(model, Suppression(threshold=0.5))
    onnx.save(model, tmp_path / "a.onnx")
    for name, run in PROGRAMS.items():
        _, found, *_ = run(
            tmp_path / "a.onnx",
            np.zeros((1, 1), np.float32),
            ["boxes", "scores", "class_ids", "image_ids"],
        )
        assert found.ravel().tolist() == pytest.approx([0.6]), name


class _Constant(torch.nn.Module):
    """Return the same boxes for every input."""

    def __init__(self, *outputs: Tensor) -> None:
        super().__init__()
        self.outputs = torch.nn.ParameterList(outputs)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(output + x.sum() for output in self.outputs)


def test_what_the_graph_cannot_do_is_said(tmp_path: Path) -> None:
    report = export_network(
        loaded("yolo-heads"), tmp_path / "a.onnx", settings=ExportSettings(level="nms")
    )
    assert report.notes == (
        (
            "the cfg asks for nms_kind=greedynms, which also considers the distance between box "
            "centres; ONNX's NonMaxSuppression uses plain IoU only, so it may keep other boxes "
            "where objects are close together. Use level decoded to suppress boxes yourself"
        ),
    )
    assert (
        export_network(
            loaded("region"), tmp_path / "b.onnx", settings=ExportSettings(level="nms")
        ).notes
        == ()
    )


def test_a_comparison_has_something_to_compare() -> None:
    """Thresholds are chosen so that some hundred candidates are left for any network."""
    network = loaded("yolo-heads")
    boxes, scores, objectness = wanted(network, "decoded", picture())
    for factor in (1, 1e-3):
        threshold, overlap = clear_thresholds(boxes, scores * factor, objectness)
        kept = suppress(boxes, scores * factor, objectness, threshold, overlap)
        assert 0.3 <= overlap <= 0.6 and 20 < len(kept.rows) < 400
        margin = (torch.minimum(scores * factor, objectness[..., None]) - threshold).abs().min()
        assert margin > 1e-6 * factor
    assert clear_thresholds(boxes, scores * 0, objectness) == (0.0, pytest.approx(0.45))
    threshold, _ = clear_thresholds(boxes, scores + 10, torch.ones_like(objectness))
    assert threshold == 0.5
    pair = torch.tensor(
        [[[0.5, 0.5, 0.2, 0.2], [0.55, 0.5, 0.2, 0.2]]]
    )  # their IoU of 0.6 is far from the chosen threshold
    _, overlap = clear_thresholds(pair, torch.tensor([[[0.9], [0.8]]]), torch.ones(1, 2))
    assert overlap == pytest.approx(0.45)


# ---- a file that differs is removed --------------------------------------------------------------


def test_a_difference_is_an_error_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = export_onnx.to_model

    def spoilt(*args: Any, **keywords: Any) -> Any:
        model = real(*args, **keywords)
        weight = onnx.numpy_helper.to_array(model.graph.initializer[0]).copy()
        weight.flat[0] += 0.1
        model.graph.initializer[0].CopyFrom(
            onnx.numpy_helper.from_array(weight, model.graph.initializer[0].name)
        )
        return model

    monkeypatch.setattr(export_onnx, "to_model", spoilt)
    for level, message in (
        (
            "raw",
            r"^random input: raw_4 differs from PyTorch's by [\d.e-]+ \(values up to [\d.]+\); "
            r"compared with float64, its root-mean-square error is [\d.e-]+, that of PyTorch's "
            r"float32 [\d.e-]+$",
        ),
        ("decoded", "^random input: boxes differs from PyTorch's by "),
        ("nms", "^random input: boxes differs from PyTorch's by "),
    ):
        with pytest.raises(ExportError, match=message) as error:
            export_network(
                loaded("yolo-heads"), tmp_path / "a.onnx", settings=ExportSettings(level=level)
            )
        assert error.value.exit_status == 1
    assert list(tmp_path.iterdir()) == []


def test_a_graph_that_is_not_valid_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(model: Any, metadata: Any) -> None:
        model.graph.node[0].input[0] = "nothing"

    monkeypatch.setattr(export_onnx, "set_metadata", broken)
    with pytest.raises(ExportError, match="^the exported graph is not valid ONNX: "):
        export_network(loaded("route"), tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".pt2", ".torchscript", ".safetensors", ".pt", ".cfg"])
def test_other_formats_leave_no_file_either(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def different(*args: object) -> None:
        raise ExportError("differs")

    for module in (export, export_job):
        monkeypatch.setattr(module, "compare_values", different)
    with pytest.raises(ExportError, match="^differs$"):
        export_network(loaded("route"), tmp_path / f"a{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_values_that_differ() -> None:
    ours = [torch.tensor([1.0, 2.0, 3.0])]
    assert compare_values(
        "x", ours, [np.array([1, 2, 3.00001], np.float32)], ["y"]
    ).difference == pytest.approx(1e-5, rel=0.1)
    infinite = [torch.tensor([float("inf"), 1])]
    assert compare_values("x", infinite, infinite, ["y"]).difference == 0
    for values in ([np.inf, 2], [5, 1], [-np.inf, 1]):
        with pytest.raises(ExportError, match="^x: y differs"):
            compare_values("x", infinite, [np.array(values)], ["y"])
    for other, message in (
        (np.array([1, 2, 3.1]), r"^x: y differs from PyTorch's by 0\.1 \(values up to 3\)$"),
        (np.array([1, 2, np.nan]), "^x: y differs from PyTorch's by nan"),
        (np.zeros((3, 1)), r"^x: y has the shape \(3, 1\) in the file and \(3,\) in PyTorch$"),
    ):
        with pytest.raises(ExportError, match=message):
            compare_values("x", ours, [other], ["y"])


def test_float64_decides_beyond_the_bound() -> None:
    """Only there. The file's error may be three times that of PyTorch's float32."""
    exact = torch.linspace(1, 2, 100, dtype=torch.float64)
    noise = torch.tensor([1.0, -1.0] * 50)

    def compare(file: float, own: float, size: float = 1.0) -> Comparison:
        return compare_values(
            "x",
            [(exact * size).float() + own * noise],
            [(exact * size).float() + file * noise],
            ["y"],
            lambda: Precise([exact * size]),
        )

    assert compare(-0.01, 0.005).own == pytest.approx(0.005, rel=0.01)
    assert (
        compare_values(
            "x", [exact], [exact + 1e-6], ["y"], lambda: pytest.fail("nothing to decide")
        ).own
        is None
    )
    for file, own, size, message in (
        (
            0.02,
            0.005,
            1,
            r"^x: y differs from PyTorch's by 0\.015 \(values up to 2\.?\d*\); compared with"
            r" float64, its root-mean-square error is 0\.02, that of PyTorch's float32 0\.005$",
        ),
        (
            0.02,
            -0.02,
            1,
            (
                "the network magnifies rounding so much that PyTorch's own float32 has a"
                " root-mean-square error of 0.02 in values of "
            ),
        ),
        (float("nan"), 0.005, 1, "its root-mean-square error is nan"),
    ):
        with pytest.raises(ExportError, match=message):
            compare(file, own, size)


def magnifying() -> Network:
    """A deep network with random weights in which rounding grows a thousandfold."""
    torch.manual_seed(3)
    text = (
        "[net]\nwidth=8\nheight=8\nchannels=3\n"
        + 20 * "[convolutional]\nfilters=16\nsize=1\nactivation=tanh\n"
    )
    network = build_network(text + HEAD).eval()
    for convolution in (
        module for module in network.modules() if isinstance(module, torch.nn.Conv2d)
    ):
        torch.nn.init.normal_(convolution.weight, 0, 8 / convolution.in_channels**0.5)
        torch.nn.init.normal_(convolution.bias, 0, 0.1)
    convolution.weight.data.div_(20)
    return network


HEAD = (
    "[convolutional]\nfilters=14\nsize=1\nactivation=linear\n"
    "[yolo]\nmask=0,1\nanchors=4,5,8,10\nclasses=2\nnum=2\n"
)


@pytest.mark.pack  # each takes seconds
@pytest.mark.parametrize("level", ["raw", "decoded", "nms"])
def test_a_network_that_magnifies_rounding(
    level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is exported, and the report explains the difference; a weight error of 0.2 % is refused."""
    report = export_network(magnifying(), tmp_path / "a.onnx", settings=ExportSettings(level=level))
    assert report.difference > 1e-3
    assert all(
        comparison.own > comparison.difference / 10
        for comparison in report.comparisons
        if comparison.own is not None
    )
    assert level == "nms" or any(comparison.own is not None for comparison in report.comparisons)
    real = export_onnx.to_model

    def spoilt(*args: Any, **keywords: Any) -> Any:
        model = real(*args, **keywords)
        weight = onnx.numpy_helper.to_array(model.graph.initializer[0])
        model.graph.initializer[0].CopyFrom(
            onnx.numpy_helper.from_array(
                (weight * 1.002).astype(np.float32), model.graph.initializer[0].name
            )
        )
        return model

    monkeypatch.setattr(export_onnx, "to_model", spoilt)
    with pytest.raises(ExportError, match="compared with float64, "):
        export_network(magnifying(), tmp_path / "b.onnx", settings=ExportSettings(level=level))
    assert not (tmp_path / "b.onnx").exists()


def test_boxes_that_differ() -> None:
    rows = torch.tensor([[0.5, 0.5, 0.1, 0.1, 0.9], [0.2, 0.2, 0.1, 0.1, 0.8]])
    kept = Kept(rows, torch.tensor([[0, 1], [0, 1]]))

    def found(values: Tensor, classes: list[int]) -> dict[str, np.ndarray]:
        return {
            "boxes": values[:, :4].numpy(),
            "scores": values[:, 4].numpy(),
            "class_ids": np.array(classes),
            "image_ids": np.zeros(len(classes), np.int64),
        }

    assert compare_kept("x", kept, found(rows.flip(0), [1, 1])).boxes == 2  # in another order
    for values, classes, message in (
        (rows[:1], [1], "^x: the file keeps 1 boxes after suppression, PyTorch keeps 2$"),
        (rows, [1, 2], "^x: the file keeps 1 boxes of class 1 in image 0, PyTorch keeps 2$"),
        (rows + 0.01, [1, 1], r"^x: a box of class 1 differs from PyTorch's by 0\.01$"),
    ):
        with pytest.raises(ExportError, match=message):
            compare_kept("x", kept, found(values, classes))


# ---- PyTorch's own -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "read"),
    [(".pt2", torch_files.read_program), (".torchscript", torch_files.read_script)],
)
def test_pytorch_s_own_files(suffix: str, read: Any, tmp_path: Path) -> None:
    network = loaded("yolo-heads")
    settings = ExportSettings(level="decoded", any_batch=True, any_size=True, names=["a", "b", "c"])
    report = export_network(network, tmp_path / f"a{suffix}", settings=settings)
    assert report.difference < 1e-6 and len(report.comparisons) == 4
    assert report.inputs == {"images": ["batch", 3, "height", "width"]}
    module, facts = read(tmp_path / f"a{suffix}")
    assert json.loads(facts["names"]) == ["a", "b", "c"]
    x = picture(3, 2, (80, 48))
    compare_values(
        suffix, wanted(network, "decoded", x), module(x), ["boxes", "scores", "objectness"]
    )


@pytest.mark.parametrize(
    ("suffix", "read"),
    [(".pt2", torch_files.read_program), (".torchscript", torch_files.read_script)],
)
def test_files_that_are_none(suffix: str, read: Any, tmp_path: Path) -> None:
    (tmp_path / f"a{suffix}").write_bytes(b"no such thing")
    with pytest.raises(
        WeightsError,
        match=r"a\.(pt2: is not a torch.export program|torchscript: is not a TorchScript file) that"
        r" PyTorch .* can read: .+",
    ):
        read(tmp_path / f"a{suffix}")


def test_a_pt2_file_does_not_hold_its_example(tmp_path: Path) -> None:
    network = build_network(
        "[net]\nwidth=512\nheight=512\nchannels=3\n[convolutional]\nfilters=2\n"
    ).eval()
    export_network(network, tmp_path / "a.pt2", settings=ExportSettings(any_batch=True))
    assert (tmp_path / "a.pt2").stat().st_size < 100_000


# ---- reasons to refuse ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "section"),
    [("recurrent", "0 [rnn]"), ("crnn", "1 [crnn]"), ("conv-lstm", "1 [conv_lstm]")],
)
def test_networks_with_a_memory(name: str, section: str, tmp_path: Path) -> None:
    for suffix in (".onnx", ".pt2", ".torchscript"):
        with pytest.raises(InputError) as error:
            export_network(loaded(name), tmp_path / f"a{suffix}")
        assert (
            str(error.value)
            == f"not exportable, because layer {section} keeps a state from frame to frame: an "
            "exported file is a function of one frame"
        )


def test_levels_that_need_a_head(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        export_network(
            loaded("route"), tmp_path / "a.onnx", settings=ExportSettings(level="decoded")
        )
    assert (
        str(error.value)
        == "not exportable, because the network has no detection head: there is nothing to "
        "decode; export it with level raw, not decoded"
    )


def test_a_classifier_s_tree_names_its_classes(tmp_path: Path) -> None:
    """If no names are given; given names come first."""
    (tmp_path / "a.tree").write_text("animal -1\nthing -1\ncat 0\ndog 0\n")
    (tmp_path / "a.cfg").write_text(
        "[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\nfilters=4\nsize=1\n"
        "[avgpool]\n[softmax]\ntree=a.tree\n"
    )
    network = build_network(tmp_path / "a.cfg")
    for names, wanted in (((), ["animal", "thing", "cat", "dog"]), (list("wxyz"), list("wxyz"))):
        export_network(network, tmp_path / "b.onnx", settings=ExportSettings(names=names))
        facts = {entry.key: entry.value for entry in onnx.load(tmp_path / "b.onnx").metadata_props}
        assert json.loads(facts["names"]) == wanted


def test_a_walk_down_a_tree(tmp_path: Path) -> None:
    (tmp_path / "a.tree").write_text("animal -1\nthing -1\ncat 0\ndog 0\n")
    (tmp_path / "a.cfg").write_text(
        "[net]\nwidth=16\nheight=16\nchannels=3\n[convolutional]\nfilters=9\nsize=8\nstride=8\n"
        "[region]\nanchors=1,1\nclasses=4\nnum=1\ntree=a.tree\nsoftmax=1\n"
    )
    with pytest.raises(
        InputError, match="pjreddie's .region. finds the class by walking down the tree"
    ):
        export_network(
            build_network(tmp_path / "a.cfg", dialect="pjreddie"),
            tmp_path / "a.onnx",
            settings=ExportSettings(level="decoded"),
        )
    network = build_network(tmp_path / "a.cfg").eval()
    report = export_network(network, tmp_path / "a.onnx", settings=ExportSettings(level="nms"))
    assert report.difference < 1e-5


@pytest.mark.parametrize(
    ("path", "keywords", "settings", "message"),
    [
        (
            "a.bin",
            {},
            {},
            (
                "a.bin: unknown suffix; expected one of .onnx, .pt2,"
                " .torchscript, .safetensors, .pt, .cfg"
            ),
        ),
        (
            "a.onnx",
            {"format": "onx"},
            {},
            (
                "format='onx' is unknown; expected one of onnx, pt2, torchscript, safetensors, "
                "pt, darknet; did you mean 'onnx'?"
            ),
        ),
        (
            "a.onnx",
            {"format": "pt"},
            {},
            "a.onnx: expected a name that ends in .pt for the format pt",
        ),
        (
            "a.onnx",
            {},
            {"level": "decode"},
            "level='decode' is unknown; expected one of raw, decoded, nms; did you mean 'decoded'?",
        ),
        (
            "a.pt2",
            {},
            {"level": "nms"},
            (
                "level=nms: the format pt2 has no operator for non-maximum suppression; use the"
                " format onnx"
            ),
        ),
        (
            "a.pt",
            {},
            {"level": "decoded"},
            (
                "the format pt holds the whole network, so level, any_batch and any_size do not"
                " apply; leave them out"
            ),
        ),
        (
            "a.cfg",
            {},
            {"any_batch": True},
            (
                "the format darknet holds the whole network, so level, any_batch and any_size do"
                " not apply; leave them out"
            ),
        ),
        (
            "a.onnx",
            {},
            {"suppression": Suppression(threshold=1.5)},
            "threshold=1.5: expected a number from 0 to 1",
        ),
        (
            "a.onnx",
            {},
            {"suppression": Suppression(overlap=-1)},
            "overlap=-1: expected a number from 0 to 1",
        ),
        (
            "a.onnx",
            {},
            {"suppression": Suppression(max_boxes=0)},
            "max_boxes=0: expected 1 or more",
        ),
        ("a.onnx", {}, {"batch": 0}, "batch=0: expected 1 or more images"),
        (
            "a.onnx",
            {},
            {"resize": "crop"},
            "resize='crop' is unknown; expected stretch or letterbox",
        ),
        (
            "a.onnx",
            {},
            {"names": ["one"]},
            "names: got 1 names, but the network has 3 classes (classes= in the cfg)",
        ),
    ],
)
def test_settings_that_do_not_go(
    path: str,
    keywords: dict[str, Any],
    settings: dict[str, Any],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DarknetError) as error:
        export_network(loaded("yolo-heads"), path, settings=ExportSettings(**settings), **keywords)
    assert str(error.value).startswith(message)
    assert list(tmp_path.iterdir()) == []


def test_photographs_for_a_network_that_sees_none(tmp_path: Path) -> None:
    network = build_network("[net]\ninputs=20\n[connected]\noutput=3\n").eval()
    assert [one.what for one in export_network(network, tmp_path / "a.onnx").comparisons] == [
        "random input"
    ]
    with pytest.raises(
        InputError,
        match="^images: the network's input is 20, not an image of 1 or 3 channels; leave out the "
        "photographs$",
    ):
        export_network(network, tmp_path / "a.onnx", settings=ExportSettings(images=["a.jpg"]))


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError, match=r"none/a\.onnx: cannot be written: No such file or directory$"
    ):
        export_network(loaded("route"), tmp_path / "none" / "a.onnx")
    (tmp_path / "b.pt").mkdir()
    with pytest.raises(InputError, match=r"b\.pt: is a folder; expected the name of a file$"):
        export_network(loaded("route"), tmp_path / "b.pt")


@pytest.mark.parametrize(
    ("module", "suffix"),
    [
        ("onnx", ".onnx"),
        ("onnxscript", ".onnx"),
        ("onnxruntime", ".onnx"),
        ("safetensors", ".safetensors"),
    ],
)
def test_packages_that_are_not_installed(
    module: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError) as error:
        export_network(loaded("route"), tmp_path / f"a{suffix}")
    assert str(error.value).endswith("is not installed: pip install 'darknet-builder[export]'")
    assert list(tmp_path.iterdir()) == []


# ---- the network itself stays as it is -----------------------------------------------------------


def test_a_training_network_is_exported_as_it_would_answer(tmp_path: Path) -> None:
    network = loaded("route")
    answer = wanted(network, "raw", picture(size=(32, 24)))
    network.train()
    export_network(network, tmp_path / "a.onnx")
    assert all(module.training for module in network.modules())
    found = RUNNERS["onnxruntime"](tmp_path / "a.onnx", picture(size=(32, 24)).numpy(), ["output"])
    compare_values("x", answer, found, ["output"])


def test_a_pytorch_that_is_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exporter of PyTorch 2.4 has no argument ``dynamic_shapes``."""

    def export(module: object, args: object, *, dynamo: bool, opset_version: int) -> None:
        raise AssertionError("must not be called with these arguments")

    monkeypatch.setattr(torch.onnx, "export", export)
    with pytest.raises(
        MissingExtraError,
        match=r"^PyTorch \S+ cannot export to ONNX through torch.export; install a newer version$",
    ):
        export_network(loaded("region"), tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())
