"""Trained detectors on photographs: onnxruntime and OpenCV find the same objects as PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from darknet_builder.boxes.candidates import Candidates
from darknet_builder.boxes.detections import Detections
from darknet_builder.export.export import export_network
from darknet_builder.export.settings import ExportSettings, Suppression
from darknet_builder.images.files import read_image
from darknet_builder.images.resize import Placement, to_input
from darknet_builder.network.build import build_network
from darknet_builder.prediction.detector import Detector
from darknet_builder.prediction.postprocessing import nms_rule, postprocess
from darknet_builder.weights.loader import load_weights
from tests.export.test_export import PROGRAMS

pytestmark = pytest.mark.filterwarnings("ignore::darknet_builder.errors.CfgWarning")
MODELS = ("MobileNetV2-YOLOv3-Nano-voc", "yolo-fastest-1.1")
OUTPUTS = ["boxes", "scores", "objectness"]


@pytest.mark.pack
@pytest.mark.parametrize("model", MODELS)
def test_the_same_objects(model: str, shared: Path, tmp_path: Path) -> None:
    """On six photographs. This package suppresses the boxes of each program by the cfg's rule."""
    network = build_network(shared / "models" / f"{model}.cfg", initialize=False).eval()
    load_weights(network, shared / "models" / f"{model}.weights")
    names = shared / "models" / ("voc.names" if "voc" in model else "coco.names")
    detector = Detector(network, names=names)
    export_network(network, tmp_path / "a.onnx", settings=ExportSettings(level="decoded"))
    photographs = sorted((shared / "images").glob("*.jpg"))
    assert len(photographs) == 6
    counts = []
    for photograph in photographs:
        image = read_image(photograph)
        wanted = detector(image)
        x, placement = to_input(image, network.input_size, detector.resize)
        for program, run in PROGRAMS.items():
            outputs = run(tmp_path / "a.onnx", x[None].numpy(), OUTPUTS)
            check(f"{program} {photograph.name}", wanted, found(detector, outputs, placement))
        counts.append(len(wanted))
    assert sum(counts) >= 6


def found(detector: Detector, outputs: Sequence[np.ndarray], placement: Placement) -> Any:
    """Return the objects in the outputs of level ``decoded``."""
    boxes, scores, objectness = (torch.from_numpy(np.asarray(output)) for output in outputs)
    return postprocess(
        [Candidates(boxes, objectness, scores)],
        [placement],
        threshold=detector.threshold,
        nms=detector.nms,
        rule=nms_rule(detector.network),
    )[0]


def check(where: str, wanted: Detections, objects: Any) -> None:
    """Check for the same classes in the same order, with boxes within 0.02 pixels."""
    size = np.array(wanted.image_size * 2)
    assert objects.class_ids.tolist() == wanted.class_ids.tolist(), where
    np.testing.assert_allclose(objects.scores, wanted.scores, atol=2e-5, err_msg=where)
    np.testing.assert_allclose(
        objects.boxes_cxcywh * size, wanted.boxes_cxcywh * size, atol=0.02, err_msg=where
    )


@pytest.mark.pack
def test_suppression_inside_the_graph(shared: Path, tmp_path: Path) -> None:
    """With plain IoU in the cfg, the graph's own suppression keeps the same boxes."""
    cfg = (
        (shared / "models" / f"{MODELS[1]}.cfg")
        .read_text()
        .replace("nms_kind=greedynms", "nms_kind=default")
    )
    network = build_network(cfg, initialize=False).eval()
    load_weights(network, shared / "models" / f"{MODELS[1]}.weights")
    detector = Detector(network, threshold=0.3)
    report = export_network(
        network,
        tmp_path / "a.onnx",
        settings=ExportSettings(level="nms", suppression=Suppression(threshold=0.3)),
    )
    assert report.notes == ()
    for photograph in sorted((shared / "images").glob("*.jpg")):
        image = read_image(photograph)
        wanted = detector(image)
        x, placement = to_input(image, network.input_size, detector.resize)
        for program, run in PROGRAMS.items():
            boxes, scores, class_ids, _ = run(
                tmp_path / "a.onnx", x[None].numpy(), list(report.outputs)
            )
            order = np.argsort(-scores.ravel(), kind="stable")
            assert class_ids.ravel()[order].tolist() == wanted.class_ids.tolist(), (
                program,
                photograph,
            )
            placed = placement.undo(boxes.reshape(-1, 4)[order])
            np.testing.assert_allclose(placed, wanted.boxes_cxcywh, atol=1e-5)
