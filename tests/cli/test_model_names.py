"""``--model``: the commands find cfg, weights and names by one word."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from darknet_builder.images.files import write_image
from darknet_builder.prediction.classifier import Classifier
from darknet_builder.prediction.detector import Detector
from darknet_builder.support.bundled import default_model
from darknet_builder.weights import models
from darknet_builder.weights.loader import save_weights
from tests.helpers.colour_classifier import CFG as COLOURS
from tests.helpers.colour_classifier import colour_network
from tests.helpers.commands import answer, mistake
from tests.helpers.toy_detector import BLUE, NAMES, RED, squares, toy_files

FILES = ("toy.cfg", "toy.weights", "toy.names")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: an image, a data set without names, the toy detector in ``toy/``, a
    classifier in ``colours/``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(models, "cache_folder", lambda: tmp_path / "cache")
    for name in ("toy", "colours"):
        Path(name).mkdir()
    toy_files(tmp_path / "toy")
    Path("colours/c.cfg").write_text(COLOURS)
    Path("colours/c.names").write_text("red\ngreen\nblue\n")
    save_weights(colour_network(), "colours/c.weights")
    write_image("a.png", squares((RED, 1, 2), (BLUE, 3, 3)))
    Path("a.txt").write_text("0 .375 .625 .25 .25\n1 .875 .875 .25 .25\n")
    Path("list.txt").write_text("a.png\n")
    Path("toy.data").write_text("classes=2\nvalid=list.txt\n")
    return tmp_path


def paths(folder: str, stem: str) -> list[str]:
    return [
        word
        for kind in ("cfg", "weights", "names")
        for word in (f"--{kind}", f"{folder}/{stem}.{kind}")
    ]


# ---- the same as with three files ----------------------------------------------------------------


def test_detect(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("detect", "a.png", "--no-images", "--json")
    (image,) = json.loads(answer(capsys, *words, "--model", "toy"))["images"]
    assert sorted(row["name"] for row in image["detections"]) == ["blue", "red"]
    assert json.loads(answer(capsys, *words, *paths("toy", "toy")))["images"] == [image]


def test_detect_by_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("detect", "a.png", "--no-images", "--json", "--threshold", ".01")
    named, default = (
        json.loads(answer(capsys, *words, *model))["images"]
        for model in (("--model", "shapes"), ())
    )
    assert named == default


def test_names_are_replaced(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("other.names").write_text("rot\nblau\n")
    out = answer(
        capsys, "detect", "a.png", "--no-images", "--model", "toy", "--names", "other.names"
    )
    assert "1 rot" in out and "1 blau" in out


def test_classify(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = answer(capsys, "classify", "a.png", "--model", "colours")
    assert out == answer(capsys, "classify", "a.png", *paths("colours", "c")) and "green" in out


def test_evaluate(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The names are those of the data, or else the model's."""
    words = ("evaluate", "--data", "toy.data", "--quiet", "--no-coco", "--json")
    own = json.loads(answer(capsys, *words, "--model", "toy"))
    given = json.loads(answer(capsys, *words, *paths("toy", "toy")))
    assert own == given and "red" in json.dumps(own)
    Path("data.names").write_text("rot\nblau\n")
    Path("toy.data").write_text("classes=2\nvalid=list.txt\nnames=data.names\n")
    assert "rot" in answer(capsys, *words, "--model", "toy")


def test_export(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A format that stores names has the model's; Darknet's cannot, and needs none."""
    answer(capsys, "export", "--model", "toy", "--format", "pt")
    assert Detector("toy.pt").names == NAMES
    Path("toy/toy.names").unlink()
    answer(capsys, "export", "--model", "toy", "--format", "darknet", "--output", "b.cfg")
    assert Path("b.weights").read_bytes() == Path("toy/toy.weights").read_bytes()


def test_benchmark(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = answer(capsys, "benchmark", "--model", "toy", "--rounds", "1", "--contenders", "plain")
    assert "\ntoy, 32 x 32, batch 1" in out
    assert mistake(capsys, "benchmark") == "no network given; give one or more CFG, or --model NAME"


def test_from_python(folder: Path) -> None:
    detector = Detector("toy")
    assert detector.names == NAMES and len(detector("a.png")) == 2
    assert Detector(Path("toy"), names=["x", "y"]).names == ("x", "y")
    assert Detector("shapes").names == Detector(*default_model()).names
    assert Classifier("colours").names == ("red", "green", "blue")


def test_download(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The library's own download, into the cache, and only when it is asked for."""
    asked: list[bool] = []

    def find_weights(cfg: Path, download: bool, progress: object) -> Path:
        asked.append(download)
        return default_model()[1]

    monkeypatch.setattr(models, "_find_weights", find_weights)
    for more in ((), ("--download",)):
        answer(capsys, "detect", "a.png", "--no-images", "--model", "shapes", *more)
    assert asked == [False, True]
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert mistake(capsys, "detect", "a.png", "--model", "shapes", "--download") == (
        "--download works in a single process; download before torchrun, with 'darknet-builder"
        " get-weights shapes'"
    )


# ---- mistakes ------------------------------------------------------------------------------------

COMMANDS = [
    ["detect", "a.png"],
    ["classify", "a.png"],
    ["evaluate", "--data", "toy.data"],
    ["export"],
    ["benchmark"],
]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_wrong_names(words: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        mistake(capsys, *words, "--model", "yolov4-tny")
        == "yolov4-tny: no model or folder of this name; did you mean 'yolov4-tiny'?"
    )
    assert mistake(capsys, *words, "--model", "yolov3") == (
        f"yolov3: no yolov3.weights in weights or {folder}/cache; get it with 'darknet-builder"
        " get-weights yolov3' (or add --download)"
    )
    assert (
        mistake(capsys, *words, "--download")
        == "--download applies to the weights of --model; give --model NAME"
    )
    Path("toy/toy.cfg").unlink()
    assert mistake(capsys, *words, "--model", "toy").startswith(
        "toy: expected one .cfg file in this folder, found none; give the cfg, the weights and"
    )


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_the_network_twice(
    words: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cfg = ["toy/toy.cfg"] if words[0] in ("benchmark", "export", "evaluate") else []
    for more in (cfg or ["--cfg", "toy/toy.cfg"], ["--weights", "toy/toy.weights"]):
        assert mistake(capsys, *words, "--model", "toy", *more) == (
            f"--model toy gives the network and its weights; leave {more[-1]} out"
        )


def test_weights_of_another_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("weights").mkdir()
    shutil.copy("toy/toy.weights", "weights/yolov4-tiny.weights")
    text = mistake(capsys, "detect", "a.png", "--model", "yolov4-tiny")
    assert text.startswith("weights/yolov4-tiny.weights: ")


def test_a_bundled_cfg_without_weights(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The line says how to get the weights."""
    wanted = (
        "no weights given for this network; give --weights FILE, or --model yolov4-tiny instead of"
        " the cfg; get its weights with 'darknet-builder get-weights yolov4-tiny'"
    )
    words = ("detect", "a.png", "--cfg")
    assert mistake(capsys, *words, "yolov4-tiny") == f"yolov4-tiny: {wanted}"
    assert (
        mistake(capsys, *words, "toy/toy.cfg")
        == "toy/toy.cfg: no weights given for this network; give --weights FILE"
    )


def test_classify_without_a_network(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        mistake(capsys, "classify", "a.png")
        == "no network given; give --model NAME, or --cfg FILE and --weights FILE"
    )
