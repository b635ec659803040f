"""ONNX files in the layouts of other detectors, read as their decoders read them."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from darknet_builder import ExportSettings, build_network, export_network, load_weights
from darknet_builder.errors import InputError
from darknet_builder.export.layouts import arrange
from darknet_builder.images.files import read_image
from darknet_builder.images.resize import to_input
from darknet_builder.network.network import Network
from darknet_builder.prediction.detector import Detector
from darknet_builder.support.bundled import default_model
from tests.helpers.toy_detector import NAMES, toy_network

ROOT = Path(__file__).parents[2]
SCENE = ROOT / "docs" / "images" / "scenes" / "scene-4.jpg"
BATCHED, FRIGATE_THRESHOLD = 2, 0.4


@cache
def shapes_network() -> Network:
    """Return the bundled detector of eight shapes."""
    cfg, weights, _ = default_model()
    network = build_network(cfg).eval()
    load_weights(network, weights)
    return network


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Export the bundled detector in both layouts."""
    folder = tmp_path_factory.mktemp("layouts")
    names = tuple(default_model()[2].read_text().split())
    paths = {layout: folder / f"{layout}.onnx" for layout in ("yolov5", "yolov8")}
    for layout, path in paths.items():
        export_network(
            shapes_network(),
            path,
            settings=ExportSettings(level="decoded", layout=layout, names=names),
        )
    return paths


def run(path: Path) -> tuple[np.ndarray, Detector]:
    """Return the only output of a file for the scene, and a detector to compare with."""
    x, _ = to_input(read_image(SCENE), shapes_network().input_size)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["output0"]
    (output,) = session.run(None, {"images": x[None].numpy()})
    return output, Detector(shapes_network(), threshold=FRIGATE_THRESHOLD, nms=0.45)


def check_objects(
    detector: Detector, boxes_ltwh: np.ndarray, scores: np.ndarray, class_ids: np.ndarray
) -> None:
    """Compare the objects that a decoder found, boxes relative to the image, with our own."""
    found = detector(SCENE)
    height, width = read_image(SCENE).shape[:2]
    centres = boxes_ltwh.copy()
    centres[:, :2] += centres[:, 2:] / 2
    order = np.argsort(-scores)
    assert len(scores) == len(found) > 0
    assert np.array_equal(class_ids[order], found.class_ids)
    assert np.allclose(scores[order], found.scores, atol=1e-5)
    expected = found.boxes_xyxy / np.array([width, height, width, height])
    corners = np.concatenate(
        [centres[:, :2] - centres[:, 2:] / 2, centres[:, :2] + centres[:, 2:] / 2], 1
    )
    assert np.allclose(corners[order], expected, atol=2e-3)


def test_yolov5_decoder(files: dict[str, Path]) -> None:
    """Confidence is objectness times class, then suppression by class (YOLOv5's decoder)."""
    output, detector = run(files["yolov5"])
    assert output.shape == (1, 2160, 5 + 8)
    likely = output[0][output[0, :, 4] > FRIGATE_THRESHOLD]
    confidences = likely[:, 5:] * likely[:, 4:5]
    class_ids, scores = confidences.argmax(1), confidences.max(1)
    boxes = likely[:, :4].copy()
    boxes[:, :2] -= boxes[:, 2:] / 2
    kept = cv2.dnn.NMSBoxesBatched(boxes, scores, class_ids, FRIGATE_THRESHOLD, 0.45)
    check_objects(detector, boxes[kept] / 192, scores[kept], class_ids[kept])


def test_yolov8_decoder(files: dict[str, Path]) -> None:
    """The transposed output: four values of the box, then scores without objectness."""
    output, detector = run(files["yolov8"])
    assert output.shape == (1, 4 + 8, 2160)
    rows = output[0].T
    class_ids, scores = rows[:, 4:].argmax(1), rows[:, 4:].max(1)
    boxes = rows[:, :4].copy()
    boxes[:, :2] -= boxes[:, 2:] / 2
    kept = cv2.dnn.NMSBoxesBatched(boxes, scores, class_ids, FRIGATE_THRESHOLD, 0.45)
    check_objects(detector, boxes[kept] / 192, scores[kept], class_ids[kept])


def test_frigate_decoder(files: dict[str, Path]) -> None:
    """Frigate's ``yolo-generic``: rows by score above 0.4, at most 20 objects, suppression at 0.4
    without regard to the class."""
    output, detector = run(files["yolov8"])
    predictions = np.squeeze(output)
    assert predictions.shape[0] < predictions.shape[1]  # Frigate transposes such a file
    predictions = predictions.T
    scores = predictions[:, 4:].max(1)
    likely = scores > FRIGATE_THRESHOLD
    predictions, scores = predictions[likely], scores[likely]
    class_ids, boxes = predictions[:, 4:].argmax(1), predictions[:, :4].copy()
    boxes[:, :2] -= boxes[:, 2:] / 2
    kept = np.asarray(cv2.dnn.NMSBoxes(boxes, scores, FRIGATE_THRESHOLD, 0.4))[:20]
    check_objects(detector, boxes[kept] / 192, scores[kept], class_ids[kept])


def test_metadata(files: dict[str, Path]) -> None:
    """Programs read names, size, stride, task and batch as Python literals."""
    for layout, path in files.items():
        metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
        names = ast.literal_eval(metadata["names"])
        assert names[0] == "circle" and len(names) == 8
        assert ast.literal_eval(metadata["imgsz"]) == [192, 192]
        assert (metadata["stride"], metadata["task"], metadata["batch"]) == ("16", "detect", "1")
        assert metadata["layout"] == layout
        assert "in pixels" in metadata["box_format"]


def test_free_sizes(tmp_path: Path) -> None:
    """Boxes are in pixels of the size of the call; missing names are replaced by numbers."""
    network = toy_network().eval()
    path = tmp_path / "toy.onnx"
    report = export_network(
        network,
        path,
        settings=ExportSettings(level="decoded", layout="yolov8", any_batch=True, any_size=True),
    )
    assert len(NAMES) == 2
    assert report.outputs["output0"][0] == "batch"
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    x = np.zeros((BATCHED, 3, 64, 48), np.float32)
    x[:, 0, 40:48, 16:24] = 1  # red, in row 5 and column 2 of cells of 8 pixels
    (output,) = session.run(None, {"images": x})
    assert output.shape == (BATCHED, 4 + 2, 8 * 6)
    best = output[0][:, output[0, 4].argmax()]
    assert np.allclose(best[:4], [20, 44, 8, 8], atol=1e-4)
    metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert ast.literal_eval(metadata["names"]) == {0: "class 0", 1: "class 1"}


def test_no_objectness_gives_no_nan() -> None:
    boxes, scores, objectness = torch.rand(1, 2, 4), torch.zeros(1, 2, 3), torch.zeros(1, 2)
    (output,) = arrange("yolov5", boxes, scores, objectness, (32, 32))
    assert torch.equal(output[..., 4:], torch.zeros(1, 2, 4))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ExportSettings(level="decoded", layout="yolo5"),
            "layout='yolo5' is unknown; expected one of darknet, yolov5, yolov8; did you mean"
            " 'yolov5'?",
        ),
        (
            ExportSettings(level="nms", layout="yolov8"),
            "layout=yolov8: arranges decoded boxes, so it needs the level 'decoded', not 'nms'",
        ),
    ],
)
def test_mistakes(settings: ExportSettings, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        export_network(toy_network(), tmp_path / "a.onnx", settings=settings)
    assert str(caught.value).endswith(message)
    assert not list(tmp_path.iterdir())
