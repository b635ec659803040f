"""Quantized files: calibrated, judged, checked, and run by two engines."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
import torch

from darknet_builder.boxes.overlap import pairwise_iou
from darknet_builder.data.scenes import draw_scene, write_scenes
from darknet_builder.engines import choice
from darknet_builder.engines.optimized import OptimizedNetwork
from darknet_builder.errors import ExportError, InputError, WeightsError
from darknet_builder.evaluation.judge import AccuracyJudge
from darknet_builder.export.export import ExportReport, ExportSettings, export_network
from darknet_builder.export.onnx.graph import to_model
from darknet_builder.export.quantized import file as quantized_file
from darknet_builder.export.quantized.calibration import find_photographs
from darknet_builder.export.quantized.checks import OF_VALUES, compare_quantized
from darknet_builder.export.quantized.quantizer import Int8Quantizer
from darknet_builder.export.quantized.running import raw_part, run_raw
from darknet_builder.export.quantized.settings import Accuracy, Int8Settings
from darknet_builder.export.traceable import Traceable
from darknet_builder.network.build import build_graph_network, build_network
from darknet_builder.network.network import Network
from darknet_builder.prediction import quantizing
from darknet_builder.prediction.detector import Detector
from darknet_builder.prediction.loading import load_network, resolve_model
from darknet_builder.prediction.quantizing import Calibration, quantize_once, quantized_runner
from darknet_builder.weights.loader import save_weights

SMALL = """
[net]
width=32
height=32
channels=3
[convolutional]
filters=8
size=3
stride=2
pad=1
activation=leaky
[convolutional]
filters=8
size=3
stride=2
pad=1
activation=swish
[maxpool]
size=2
stride=1
[convolutional]
filters=8
size=1
activation=leaky
[shortcut]
from=-2
activation=linear
[convolutional]
filters=14
size=1
activation=linear
[yolo]
mask=0,1
anchors=8,8,16,16
classes=2
num=2
"""
"""Three convolutions to quantize, and one before the head, which stays in float32."""


class Shapes(NamedTuple):
    """The bundled detector, its quantized file and the report of the export."""

    network: Network
    path: Path
    report: ExportReport
    data: Path


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Shapes:
    """One export for all tests that only look."""
    folder = tmp_path_factory.mktemp("shapes")
    cfg, weights, names = resolve_model("shapes", None, None)
    network = load_network(cfg, weights)
    data = write_scenes(folder, {"train": 8, "valid": 8})
    path = folder / "shapes.int8.onnx"
    settings = ExportSettings(
        level="decoded",
        any_batch=True,
        names=Detector(network, names=names).names,
        int8=Int8Settings(find_photographs(data), AccuracyJudge(network, data)),
    )
    return Shapes(network, path, export_network(network, path, settings=settings), data)


_traced: dict[object, Any] = {}


def trace_once(module: Any, example: torch.Tensor, *words: Any, **options: Any) -> Any:
    """``to_model``, but each model is traced once; tracing takes most of the time of an export."""
    traceable = module.module
    weights = sum(float(weight.detach().sum()) for weight in traceable.parameters())
    key = (traceable.level, traceable.layout, example.shape, str(options), weights)
    if key not in _traced:
        _traced[key] = to_model(module, example, *words, **options)
    return copy.deepcopy(_traced[key])


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Network:
    """A small detector with random weights, and four pictures in ``photos``."""
    monkeypatch.setattr(quantized_file, "to_model", trace_once)
    torch.manual_seed(0)
    (tmp_path / "photos").mkdir()
    for seed in range(4):
        picture = draw_scene(seed, size=64).image
        write_picture(tmp_path / "photos" / f"{seed}.png", picture)
    return build_network(SMALL).eval()


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write a picture in BGR order."""
    import cv2

    assert cv2.imwrite(str(path), picture)


def metadata_of(path: Path) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props}


# ---- the file ------------------------------------------------------------------------------------


def test_convolutions_are_quantized_but_for_the_last_ones(shapes: Shapes) -> None:
    """Each reads int8 through a DequantizeLinear; the one before each head reads and has floats."""
    graph = onnx.load(str(shapes.path)).graph
    makers = {output: node for node in graph.node for output in node.output}
    raw = json.loads(metadata_of(shapes.path)["raw_maps"])
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    floats = [node for node in convolutions if node.input[1] not in makers]
    assert [node.output[0] for node in floats] == raw
    for node in convolutions:
        if node not in floats:
            assert all(makers[name].op_type == "DequantizeLinear" for name in node.input)
    assert shapes.report.int8 and shapes.report.int8.layers == len(convolutions) - len(floats)


def test_weights_have_7_bits(shapes: Shapes) -> None:
    """Two products with activations of 8 bits fit into 16 bits, on processors without VNNI."""
    graph = onnx.load(str(shapes.path)).graph
    arrays = [onnx.numpy_helper.to_array(constant) for constant in graph.initializer]
    weights = [array for array in arrays if array.dtype == np.int8 and array.ndim == 4]
    assert len(weights) == 16
    assert max(np.abs(array.astype(int)).max() for array in weights) == 64


def test_raw_maps_are_near_those_of_float32(shapes: Shapes) -> None:
    """On photographs alone: a drawn scene is not like what other networks are calibrated on."""
    relative = [comparison.relative for comparison in shapes.report.comparisons]
    whats = [comparison.what.split(" /")[0] for comparison in shapes.report.comparisons]
    assert whats == ["calibration image"] * 4
    assert all(error is not None and 0 < error < 0.08 for error in relative)


def test_accuracy_is_printed_and_holds(shapes: Shapes) -> None:
    int8 = shapes.report.int8
    assert int8 and int8.float32 and int8.int8
    assert int8.float32.map50 > 0.9 and int8.float32.drop_to(int8.int8) < 1
    assert int8.lines()[0] == "int8: 16 convolutions, calibrated on 8 photographs"
    assert int8.lines()[1].startswith("float32: mAP@0.5 9") and "points" in int8.lines()[2]
    assert json.loads(json.dumps(shapes.report.to_dict()))["int8"]["images"] == 8


def test_a_wrong_file_is_found(shapes: Shapes) -> None:
    """A wrong scale, and a wrong number after the raw maps."""
    module = Traceable(shapes.network, "decoded")
    inputs = {"photo": torch.rand(1, 3, 192, 192)}
    for name, message in (("_scale", f"limit is {100 * OF_VALUES:.0f} %"), ("boxes", "boxes")):
        model = onnx.load(str(shapes.path))
        if name == "_scale":
            scale = next(
                constant
                for constant in model.graph.initializer
                if constant.name.startswith("leaky_relu") and constant.name.endswith("_scale")
            )
            value = onnx.numpy_helper.to_array(scale) / np.float32(20)
            scale.CopyFrom(onnx.numpy_helper.from_array(value, scale.name))
        else:
            last = next(node for node in model.graph.node if name in node.output)
            last.output[0] = "right"
            model.graph.node.append(onnx.helper.make_node("Add", ["right", "right"], [name]))
        with pytest.raises(ExportError, match=message):
            compare_quantized(model, module, inputs)


# ---- running it ----------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_the_detector_finds_the_same_objects(shapes: Shapes, backend: str) -> None:
    """The names come from the file, and each clear object of float32 is found at its place."""
    pytest.importorskip(backend)
    detector = Detector(shapes.path, backend=backend)
    assert isinstance(detector.runner, OptimizedNetwork)
    assert (detector.runner.backend, detector.runner.precision) == (backend, "int8")
    expected = Detector(shapes.network, names=detector.names, threshold=0.5)
    scene = draw_scene(7).image
    wanted, found = expected(scene), detector(scene)
    assert detector.names[0] == "circle" and len(wanted) > 2
    overlaps = pairwise_iou(
        torch.from_numpy(corners_to_centres(wanted.boxes_xyxy)),
        torch.from_numpy(corners_to_centres(found.boxes_xyxy)),
    )
    same = torch.from_numpy(wanted.class_ids[:, None] == found.class_ids[None])
    assert (torch.where(same, overlaps, 0).amax(1) > 0.8).all()


def corners_to_centres(boxes: np.ndarray) -> np.ndarray:
    """(N, 4) x1, y1, x2, y2 -> x, y, w, h."""
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1)


def test_two_engines_compute_the_same(shapes: Shapes) -> None:
    """They may round differently where a value lies between two steps."""
    pytest.importorskip("openvino")
    x = torch.rand(3, 3, 192, 192, generator=torch.Generator().manual_seed(0))
    network = build_graph_network(shapes.path)
    ours, theirs = (
        network.optimized("int8", name).outputs(x) for name in ("onnxruntime", "openvino")
    )
    for one, other in zip(ours, theirs, strict=True):
        assert one.shape == other.shape and len(one) == 3
        assert (one - other).square().mean() < 0.02**2 * one.square().mean()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backend": "torch"}, "backend='torch' cannot run this file; use openvino or onnxruntime"),
        ({"precision": "bfloat16"}, "precision='bfloat16': the file is in int8"),
        ({"width": 64}, "has its own input size; leave width and height out"),
        ({"weights": "a.weights"}, "holds weights already; leave a.weights out"),
        ({"calibrate": "photos"}, "photographs to calibrate on are for networks"),
    ],
)
def test_arguments_that_a_file_does_not_take(
    shapes: Shapes, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Detector(shapes.path, **arguments)


def test_the_network_of_a_file_cannot_run_itself(shapes: Shapes) -> None:
    network = build_graph_network(shapes.path)
    with pytest.raises(InputError, match=r"shapes\.int8\.onnx: holds the weights as integers"):
        network(torch.zeros(1, 3, 192, 192))


def test_other_onnx_files_are_refused(shapes: Shapes, tmp_path: Path) -> None:
    """A file in float32, text, a file for another network, and metadata of anyone."""
    plain, other = tmp_path / "plain.onnx", tmp_path / "other.onnx"
    export_network(build_network(SMALL).eval(), plain)
    with pytest.raises(WeightsError, match="only ONNX files that export wrote in int8 can be run"):
        Detector(plain)
    plain.write_text("text")
    with pytest.raises(WeightsError, match="is not an ONNX file, or is damaged"):
        Detector(plain)
    model = onnx.load(str(shapes.path))
    for key, value, message in (
        ("darknet_builder", json.dumps({"cfg": SMALL}), "its cfg describes"),
        ("darknet_builder", "[" * 9, "Expecting value"),
        ("raw_maps", '["nothing"]', "but its cfg describes"),
        ("raw_maps", "7", "has no raw maps"),
    ):
        onnx.helper.set_model_props(model, {**metadata_of(shapes.path), key: value})
        onnx.save(model, str(other))
        with pytest.raises(WeightsError, match=message):
            Detector(other, backend="onnxruntime")


# ---- the small network: levels, mistakes, and layers that go back ----------------------------------


def quantize(network: Network, folder: Path, **settings: Any) -> ExportReport:
    """Export the small network, calibrated on ``photos``."""
    int8 = settings.pop("int8", None) or Int8Settings(find_photographs(folder / "photos"))
    target = folder / "small.onnx"
    return export_network(network, target, settings=ExportSettings(int8=int8, **settings))


@pytest.mark.pack  # each takes seconds
@pytest.mark.parametrize(
    "settings",
    [
        {"level": "raw", "batch": 2},
        {"level": "decoded", "layout": "yolov8"},
        {"level": "nms", "any_batch": True},
    ],
)
def test_levels_and_layouts(small: Network, tmp_path: Path, settings: dict[str, Any]) -> None:
    """All of them run here, in batches of any size; suppression keeps the same boxes."""
    report = quantize(small, tmp_path, **settings)
    assert all(
        comparison.relative is not None and comparison.relative < OF_VALUES
        for comparison in report.comparisons
    )
    assert (report.comparisons[0].boxes is not None) == (settings["level"] == "nms")
    engine = build_graph_network(tmp_path / "small.onnx").optimized("int8", "onnxruntime")
    x = torch.rand(3, 3, 32, 32)
    (found,) = engine.outputs(x)
    (wanted,) = small.outputs(x)
    assert found.shape == wanted.shape
    assert (found - wanted).square().mean() < OF_VALUES**2 * wanted.square().mean()


def test_symmetric_files_have_no_zero_points(small: Network, tmp_path: Path) -> None:
    """And float biases: what TensorRT needs."""
    with torch.no_grad():
        small.layers[0].conv.bias.fill_(0.1)  # type: ignore[union-attr, operator]
    images = find_photographs(tmp_path / "photos")
    report = quantize(small, tmp_path, int8=Int8Settings(images, symmetric=True))
    graph = onnx.load(tmp_path / "small.onnx").graph
    arrays = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    points = [array for name, array in arrays.items() if name.endswith("_zero_point")]
    assert points and all(array.dtype == np.int8 and not array.any() for array in points)
    first = next(node for node in graph.node if node.op_type == "Conv")
    assert arrays[first.input[2]].dtype == np.float32
    assert report.comparisons[0].relative and report.comparisons[0].relative < OF_VALUES


def judging(*values: float) -> Iterator[Accuracy]:
    return iter(map(Accuracy, values))


def test_the_worst_layer_goes_back_to_float32(small: Network, tmp_path: Path) -> None:
    """The one that causes the largest error alone; here, one whose weights have an outlier."""
    with torch.no_grad():
        small.layers[3].conv.weight[:, 0] *= 60  # type: ignore[union-attr, index, operator]
    accuracies = judging(0.9, 0.7, 0.895)  # float32, int8, int8 without the worst layer
    settings = Int8Settings(find_photographs(tmp_path / "photos"), lambda run: next(accuracies))
    report = quantize(small, tmp_path, int8=settings).int8
    assert report and report.float_layers == (3,) and report.layers == 2
    assert "back in float32 for accuracy: layer 3" in report.lines()
    nodes = {node.name: node for node in onnx.load(tmp_path / "small.onnx").graph.node}
    assert not nodes["layer_3_Conv"].input[1].endswith("DequantizeLinear_Output")
    assert nodes["layer_1_Conv"].input[1].endswith("DequantizeLinear_Output")


def test_layers_go_back_for_ap_too(small: Network, tmp_path: Path) -> None:
    """COCO's AP asks for exact boxes, so it may fall where mAP@0.5 does not."""
    found = iter([Accuracy(0.9, 0.5), Accuracy(0.9, 0.47), Accuracy(0.9, 0.49)])
    images = find_photographs(tmp_path / "photos")
    report = quantize(small, tmp_path, int8=Int8Settings(images, lambda run: next(found))).int8
    assert report and len(report.float_layers) == 1
    assert report.lines()[-1].endswith("(0.00 points less and 1.00 points less)")
    found = iter([Accuracy(0.9, 0.5), Accuracy(0.9, 0.47)])
    settings = Int8Settings(images, lambda run: next(found), max_ap_drop=3.5)
    report = quantize(small, tmp_path, int8=settings).int8
    assert report and not report.float_layers


def test_a_file_that_loses_too_much_is_not_left(small: Network, tmp_path: Path) -> None:
    accuracies = judging(0.9, 0.7, 0.8)
    settings = Int8Settings(find_photographs(tmp_path / "photos"), lambda run: next(accuracies))
    with pytest.raises(ExportError, match=r"mAP@0.5 80.00 %, with 1 of 3 layers in float32"):
        quantize(small, tmp_path, int8=settings)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]
    found = iter([Accuracy(0.9, 0.5), Accuracy(0.9, 0.3), Accuracy(0.9, 0.4)])
    settings = Int8Settings(find_photographs(tmp_path / "photos"), lambda run: next(found))
    with pytest.raises(ExportError, match=r"the limit is a loss of 2 points of COCO's AP"):
        quantize(small, tmp_path, int8=settings)


def test_interrupted_calibration_leaves_nothing(
    small: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: Int8Quantizer, inputs: object, folder: Path) -> None:
        assert folder.is_dir()
        folders.append(folder)
        raise KeyboardInterrupt

    folders: list[Path] = []
    monkeypatch.setattr(quantized_file.Int8Quantizer, "calibrate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        quantize(small, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"] and not folders[0].exists()


def test_photographs_that_cannot_be_read_are_counted(small: Network, tmp_path: Path) -> None:
    (tmp_path / "photos" / "2.png").write_text("text")
    report = quantize(small, tmp_path).int8
    assert report and report.images == 3 and len(report.unreadable) == 1
    assert report.lines()[1].startswith(f"1 photograph could not be read: {tmp_path}/photos/2.png:")
    for path in (tmp_path / "photos").iterdir():
        path.write_text("text")
    with pytest.raises(InputError, match=r"none of 4 photographs could be read: .*/0.png: "):
        quantize(small, tmp_path)


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        (SMALL.split("[conv")[0] + "[convolutional]\nfilters=2\n", "no convolution to quantize"),
        ("[net]\ninputs=8\n[connected]\noutput=2\n", "calibrated on photographs, but"),
    ],
)
def test_networks_without_anything_to_quantize(tmp_path: Path, cfg: str, message: str) -> None:
    (tmp_path / "photos").mkdir()
    write_picture(tmp_path / "photos" / "a.png", draw_scene(0).image)
    with pytest.raises(InputError, match=message):
        quantize(build_network(cfg).eval(), tmp_path)


def test_the_rest_of_a_graph_is_exact(shapes: Shapes) -> None:
    """With the raw maps of the part, PyTorch computes the outputs of the whole file."""
    model = onnx.load(str(shapes.path))
    x = torch.rand(2, 3, 192, 192, generator=torch.Generator().manual_seed(1))
    module = Traceable(shapes.network, "decoded")
    maps = run_raw(raw_part(model, module.raw_names))(x)
    found = run_raw(model)(x)
    with torch.inference_mode():
        wanted = module.finish(maps, x)
    for ours, theirs in zip(wanted, found, strict=True):
        torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-5)


# ---- both steps at once --------------------------------------------------------------------------


def test_the_file_is_kept_beside_the_weights(
    small: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And made again only if the weights or the photographs change."""
    weights = tmp_path / "small.weights"
    save_weights(small, weights)
    calibration = Calibration(tmp_path / "photos", 2)
    first = quantize_once(small, weights, calibration).graph_file
    assert first and first.parent == tmp_path and first.name.endswith(".int8.onnx")
    with monkeypatch.context() as patched:
        patched.setattr(quantizing, "export_network", lambda *_, **__: pytest.fail("made again"))
        assert quantize_once(small, weights, calibration).graph_file == first
    (tmp_path / "photos" / "0.png").unlink()
    assert quantize_once(small, weights, calibration).graph_file != first
    with pytest.raises(InputError, match="so it needs the path of a weights or model file"):
        quantize_once(small, small, calibration)


@pytest.fixture
def one_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """One engine for each precision: making all of them takes seconds."""
    monkeypatch.setattr(choice, "_AUTO_BACKENDS", ("torch",))
    monkeypatch.setattr(choice, "GRAPH_BACKENDS", ("onnxruntime",))


@pytest.mark.usefixtures("one_engine")
def test_auto_leaves_int8_out_for_depthwise_networks(tmp_path: Path) -> None:
    """Without calibrating."""
    network = build_network(SMALL.replace("size=1\nactivation=leaky", "size=1\ngroups=8")).eval()
    runner = quantized_runner(network, tmp_path, Calibration("none"), "auto", 1)
    assert runner.precision == "float32"
    assert (
        "depthwise convolutions gain no speed in int8, so auto leaves it out" in runner.describe()
    )


@pytest.mark.usefixtures("one_engine")
def test_auto_takes_int8_only_where_it_is_faster(
    small: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "small.weights"
    save_weights(small, weights)
    for share, precision in ((0.5, "int8"), (0.9, "float32")):
        seconds = {"float32": 1.0, "int8": share}
        monkeypatch.setattr(
            quantizing,
            "measure_engines",
            lambda engines, x, seconds=seconds: {one: seconds[one.precision] for one in engines},
        )
        calibration = Calibration(tmp_path / "photos")
        runner = quantized_runner(small, weights, calibration, "auto", 1)
        assert runner.precision == precision
        assert ("int8 is not 1.2 times as fast" in runner.describe()) == (precision == "float32")


def test_int8_needs_photographs(small: Network) -> None:
    with pytest.raises(InputError, match="needs photographs to calibrate on, or a file that was"):
        small.optimized("int8")


# ---- photographs ---------------------------------------------------------------------------------


def test_find_photographs(shapes: Shapes, tmp_path: Path) -> None:
    """A ``.data`` file gives its training images, evenly spread."""
    names = [path.stem for path in find_photographs(shapes.data, 4)]
    assert names == ["000000", "000002", "000004", "000006"]
    (tmp_path / "clip.mp4").touch()
    with pytest.raises(InputError, match="no images to calibrate on"):
        find_photographs(tmp_path)
    with pytest.raises(InputError, match=r"calibration_images=0: expected 1 or more"):
        find_photographs(tmp_path, 0)
