"""``export``, ``detect`` and ``evaluate`` with ``--precision int8`` and with a file in int8."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnx
import pytest
import torch

from darknet_builder.cli.program import main
from darknet_builder.data.scenes import write_scenes
from darknet_builder.network.build import build_network
from darknet_builder.weights.loader import save_weights
from tests.helpers.commands import mistake

CFG = """
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
activation=leaky
[convolutional]
filters=13
size=1
activation=linear
[yolo]
mask=0
anchors=8,8
classes=8
num=1
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small detector of random weights, scenes, and the file of ``export``."""
    folder = tmp_path_factory.mktemp("int8")
    (folder / "small.cfg").write_text(CFG)
    torch.manual_seed(0)
    save_weights(build_network(folder / "small.cfg"), folder / "small.weights")
    write_scenes(folder / "scenes", {"train": 6, "valid": 3})
    words = ["export", "small.cfg", "small.weights", "--names", "scenes/scenes.names"]
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        data = "scenes/scenes.data"
        words += ["--precision", "int8", "--calibrate", data, "--data", data, "--json", "a.json"]
        assert main(words) == 0
    return folder


@pytest.fixture
def folder(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same as the working folder."""
    monkeypatch.chdir(made)
    return made


def test_export(folder: Path) -> None:
    """The file has a name of its own, and the report the accuracy of both."""
    report = json.loads(Path("a.json").read_text())
    assert report["paths"] == ["small.int8.onnx"] and report["int8"]["images"] == 6
    assert report["int8"]["layers"] == 2
    for precision in ("float32", "int8"):
        assert 0 <= report["int8"][precision]["map50"] < 0.1
        assert 0 <= report["int8"][precision]["coco_ap"] < 0.1
    texts = {entry.key: entry.value for entry in onnx.load("small.int8.onnx").metadata_props}
    assert texts["precision"] == "int8" and json.loads(texts["names"])[0] == "circle"


def test_detect_with_the_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The line says what it runs on; names and decoding come from the file."""
    words = ["detect", "scenes/images/valid/000000.jpg", "--no-images", "--threshold", "0"]
    assert main([*words, "--model", "small.int8.onnx", "--backend", "onnxruntime"]) == 0
    out = capsys.readouterr().out
    assert "the network runs on onnxruntime (onnxruntime " in out and ") in int8" in out
    assert "circle" in out


@pytest.mark.pack  # takes seconds
def test_both_steps_in_one_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file is kept beside the weights."""
    words = ["evaluate", "--data", "scenes/scenes.data", "--cfg", "small.cfg"]
    words += ["--weights", "small.weights", "--backend", "onnxruntime", "--no-coco"]
    words += ["--precision", "int8", "--calibrate", "scenes/images/train"]
    assert main([*words, "--calibration-images", "2"]) == 0
    assert "mAP@0.5 = " in capsys.readouterr().out
    assert len(list(folder.glob("small-*.int8.onnx"))) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--precision", "int8"], "--precision int8 needs --calibrate PHOTOS"),
        (["--calibrate", "scenes"], "--calibrate applies only with --precision int8"),
        (["--max-drop", "2"], "--max-drop applies only with --precision int8"),
        (
            ["--precision", "int8", "--calibrate", "scenes", "--max-drop", "2"],
            "--max-drop needs --data FILE, on which the mAP is measured",
        ),
        (
            ["--precision", "int8", "--calibrate", "scenes", "--max-ap-drop", "2"],
            "--max-ap-drop needs --data FILE, on which the mAP is measured",
        ),
        (
            ["--precision", "int8", "--calibrate", "scenes", "--format", "pt2"],
            "--precision int8 does not apply to format pt2; it is for format onnx",
        ),
        (
            ["--precision", "int8", "--calibrate", "nowhere"],
            "nowhere: no such file or folder",
        ),
    ],
)
def test_mistakes_of_export(
    words: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mistake(capsys, "export", "small.cfg", "small.weights", *words) == message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["detect", "a.jpg", "--precision", "int8"],
            "precision='int8' needs photographs to calibrate on, or a file that was exported in"
            " int8",
        ),
        (
            ["detect", "a.jpg", "--model", "small.int8.onnx", "--width", "64"],
            "small.int8.onnx: has its own input size; leave width and height out",
        ),
        (
            ["export", "small.int8.onnx", "--output", "other.onnx"],
            "small.int8.onnx: is an ONNX file, which cannot be read back; give the .cfg and"
            " .weights that it was exported from",
        ),
        (
            ["detect", "a.jpg", "--model", "none.onnx"],
            "none.onnx: no such model file",
        ),
    ],
)
def test_mistakes_of_other_commands(
    words: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy("scenes/images/valid/000000.jpg", "a.jpg")
    assert mistake(capsys, *words).startswith(message)
