"""OpenCV's door against everything recorded from OpenCV 4.14: models, photographs, cfgs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import generator
import numpy as np
import pytest
import torch
from torch import nn

from darknet_builder.compat import opencv as dnn
from darknet_builder.compat.opencv.net import Net
from tests.conftest import read_fixture
from tests.helpers.pack_cfgs import PackNetwork

pytestmark = [
    pytest.mark.pack,
    pytest.mark.filterwarnings("ignore::darknet_builder.errors.CfgWarning"),
]
MODELS = (
    "MobileNetV2-YOLOv3-Nano-coco",
    "MobileNetV2-YOLOv3-Nano-voc",
    "yolo-fastest-1.0-xl",
    "yolo-fastest-1.1",
    "yolo-fastest-1.1-xl",
)
THRESHOLD = 0.25
PARTS = 4
"""The cfgs are divided, so that several processes can share them."""
FLOAT_PIXELS = 2e-4
"""Two sums of float32 of about 500 pixels differ by this much. A side that is this near to a whole
number may be cut to the pixel below in one program and not in the other."""


@pytest.fixture(scope="module")
def recorded(pack: Path) -> dict[str, Any]:
    """What OpenCV 4.14 gave."""
    document: dict[str, Any] = json.loads((pack / "doors" / "opencv.json").read_text())
    assert set(document["models"]) == set(MODELS) and len(document["photographs"]) == 30
    return document


@pytest.fixture(scope="module")
def best_rows(pack: Path) -> dict[str, np.ndarray]:
    """The best rows of every photograph and output."""
    with np.load(pack / "doors" / "opencv.npz") as file:
        return dict(file)


@pytest.mark.parametrize("model", MODELS)
def test_a_model(
    model: str, recorded: dict[str, Any], best_rows: dict[str, np.ndarray], shared: Path
) -> None:
    """Names, rows and detections in all photographs."""
    files = [str(shared / "models" / f"{model}.{suffix}") for suffix in ("cfg", "weights")]
    net, about = dnn.readNetFromDarknet(*files), recorded["models"][model]
    names = net.getLayerNames()
    assert [*names[:6], "...", *names[-3:]] == about["layer_names"]
    assert len(names) == about["num_layer_names"]
    assert_outputs(net, about)
    detector = dnn.DetectionModel(*files)
    detector.setInputParams(size=about["size"], scale=1 / 255, swapRB=True)
    photographs = [key for key in recorded["photographs"] if key.startswith(f"{model}|")]
    assert len(photographs) == 6
    for key in photographs:
        image = cv2.imread(str(shared / "images" / key.split("|")[1]))
        assert image is not None
        expected = recorded["photographs"][key]
        net.setInput(dnn.blobFromImage(image, 1 / 255, about["size"], swapRB=True))
        outputs = net.forward(net.getUnconnectedOutLayersNames())
        assert [list(rows.shape) for rows in outputs] == expected["shapes"]
        for index, rows in enumerate(outputs):
            best = rows[expected["rows"][index]]
            assert np.abs(best - best_rows[f"{key}|{index}"]).max() < 1e-4, key
        for nms in ("0.0", "0.4"):
            found = detector.detect(image, THRESHOLD, float(nms))
            assert_detections(found, expected[f"detect_nms{nms}"], outputs, image)


def assert_outputs(net: Net, about: dict[str, Any]) -> None:
    """The layers that no other one reads."""
    assert net.getUnconnectedOutLayers().tolist() == about["unconnected_out_layers"]
    assert list(net.getUnconnectedOutLayersNames()) == about["unconnected_out_layers_names"]


def assert_detections(
    found: tuple[Any, Any, Any],
    expected: dict[str, Any],
    outputs: tuple[np.ndarray, ...],
    image: np.ndarray,
) -> None:
    """The same classes, confidences and boxes in the same order."""
    class_ids, confidences, boxes = map(np.asarray, found)
    assert class_ids.tolist() == expected["class_ids"]
    assert np.allclose(confidences, expected["confidences"], rtol=0, atol=1e-4)
    if boxes.tolist() == expected["boxes"]:
        return
    # Before they are cut to pixels: (N, 4) of all rows, in float64.
    height, width = image.shape[:2]
    rows = np.concatenate(outputs)
    exact = rows[:, :4].astype(float) * [width, height, width, height]
    scores = rows[:, 5:].max(1)
    for box, other, confidence in zip(boxes, expected["boxes"], confidences, strict=True):
        if box.tolist() != other:
            sides = exact[np.abs(scores - confidence).argmin()]
            assert np.abs(box - other).max() == 1
            assert np.abs(sides - sides.round()).min() < FLOAT_PIXELS


@pytest.fixture(scope="module")
def cfgs(pack: Path, request: pytest.FixtureRequest) -> Path:
    """The folder of AlexeyAB's cfgs."""
    return (request.config.getoption("--pack-cfgs") or pack.resolve().parent / "cfgs") / "alexeyab"


def test_the_recording_is_whole(recorded: dict[str, Any]) -> None:
    """76 cfgs, 13 of which OpenCV refuses."""
    refused = [name for name, about in recorded["networks"].items() if "error" in about]
    assert (len(refused), len(recorded["networks"])) == (13, 76)


@pytest.mark.parametrize("part", range(PARTS))
def test_every_cfg(part: int, recorded: dict[str, Any], pack: Path, cfgs: Path) -> None:
    """Number of layers, outputs and shapes; cfgs that OpenCV refuses give boxes as well."""
    for name, about in list(recorded["networks"].items())[part::PARTS]:
        meta, _ = read_fixture(pack / "networks" / f"{name}.npz")
        net = zero_network(PackNetwork(name, meta, cfgs / f"{name}.cfg", "alexeyab"))
        image = generator.input_image(3, (1, meta["channels"], meta["height"], meta["width"]))
        net.setInput(image)
        outputs = net.forward(net.getUnconnectedOutLayersNames())
        if "error" in about:
            assert net.box_layers, name
            assert all(np.isfinite(rows).all() for rows in outputs), name
        else:
            assert len(net.getLayerNames()) == about["num_layer_names"], name
            assert_outputs(net, about)
            assert [list(value.shape) for value in outputs] == about["shapes"], name


def zero_network(fixture: PackNetwork) -> Net:
    """The network at the size that was run, weights 0: drawing them would take minutes."""
    network = fixture.build()
    with torch.no_grad():
        for parameter in network.parameters():
            nn.init.zeros_(parameter)
    net = Net(network)
    net.enableFusion(False)
    return net
