"""``darknet-builder export`` and ``scripts/export.py``."""

from __future__ import annotations

import json
import re
from pathlib import Path

import onnx
import pytest
import torch

from darknet_builder.cli.program import main
from darknet_builder.errors import ExportError
from darknet_builder.export import job as export_job
from darknet_builder.network.build import build_network
from darknet_builder.weights.loader import load_weights
from tests.helpers.toy_detector import RED, squares, toy_files


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A cfg and its weights in the working folder."""
    cfg, weights, _ = toy_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    return [Path(cfg).name, Path(weights).name]


def test_onnx(toy: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    import cv2

    cv2.imwrite("photo.png", squares((RED, 1, 1), size=(50, 40)))
    assert (
        main(
            [
                "export",
                *toy,
                "--names",
                "toy.names",
                "--level",
                "nms",
                "--dynamic-batch",
                "--threshold",
                ".3",
                "--nms",
                ".5",
                "--max-boxes",
                "9",
                "--image",
                "photo.png",
            ]
        )
        == 0
    )
    size = Path("toy.onnx").stat().st_size
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"wrote toy.onnx ({size:,} bytes)"
    assert re.fullmatch(r"opset 18, \d+ nodes: .*\b1 NonMaxSuppression\b.*", lines[1])
    assert lines[2:7] == [
        "input   images (batch, 3, 32, 32)",
        "output  boxes (found, 4)",
        "output  scores (found)",
        "output  class_ids (found)",
        "output  image_ids (found)",
    ]
    assert lines[7] == "compared with PyTorch:"
    pattern = r"  (.+?) +largest difference [\d.e-]+ in \d+ boxes, values up to [\d.]+"
    found = [re.fullmatch(pattern, line) for line in lines[8:]]
    assert [match and match[1] for match in found] == [
        "random input",
        "3 random inputs",
        "drawn scene",
        "photo.png",
    ]
    facts = {entry.key: entry.value for entry in onnx.load("toy.onnx").metadata_props}
    assert (
        facts["names"],
        facts["score_threshold"],
        facts["iou_threshold"],
        facts["max_boxes"],
    ) == ('["red", "blue"]', "0.3", "0.5", "9")


def test_notes(toy: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("toy.cfg").write_text(Path("toy.cfg").read_text() + "nms_kind=diounms\n")
    assert main(["export", *toy, "--level", "nms"]) == 0
    assert (
        capsys.readouterr()
        .out.splitlines()[-1]
        .startswith("note: the cfg asks for nms_kind=diounms, which ")
    )


@pytest.mark.parametrize("format", ["safetensors", "pt"])
def test_there_and_back(format: str, toy: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Each is tried on random numbers and on pictures, as a graph is."""
    import cv2

    cv2.imwrite("photo.png", squares((RED, 1, 1), size=(50, 40)))
    assert main(["export", *toy, "--format", format, "--image", "photo.png"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[1] for line in lines[-3:]] == [
        "random input",
        "drawn scene",
        "photo.png",
    ]
    assert main(["export", f"toy.{format}", "--format", "darknet", "--output", "again.cfg"]) == 0
    out = capsys.readouterr().out
    assert "wrote again.cfg (" in out and ", again.weights (" in out
    assert Path("again.weights").read_bytes() == Path("toy.weights").read_bytes()
    network = build_network("again.cfg")
    load_weights(network, "again.weights")


def test_overwrite(toy: list[str]) -> None:
    """Darknet's pair is replaced only when that is said: a .safetensors file lies beside what it
    was made of."""
    assert main(["export", *toy, "--format", "safetensors"]) == 0
    Path("toy.cfg").write_text(Path("toy.cfg").read_text() + "# by hand\n")
    assert main(["export", "toy.safetensors", "--format", "darknet"]) == 2
    assert Path("toy.cfg").read_text().endswith("# by hand\n")
    assert main(["export", "toy.safetensors", "--format", "darknet", "--overwrite"]) == 0
    assert "by hand" not in Path("toy.cfg").read_text()


@pytest.mark.parametrize("name", ["onnx", "pt2", "torchscript", "safetensors", "pt"])
def test_overwrite_in_every_format(name: str, toy: list[str]) -> None:
    """Exports are replaced with and without the option; the files that are read never are."""
    target = Path(f"toy.{name}")
    target.write_text("an earlier export")
    assert main(["export", *toy, "--format", name, "--overwrite"]) == 0
    assert target.read_bytes() != b"an earlier export"
    assert main(["export", str(target), "--output", str(target), "--overwrite"]) == 2


def test_weights_of_another_format(toy: list[str]) -> None:
    assert main(["export", *toy, "--format", "pt", "--output", "w.pt"]) == 0
    assert main(["export", toy[0], "w.pt", "--format", "safetensors"]) == 0
    one, two = build_network("toy.safetensors"), build_network("w.pt")
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_pytorch_s_own_formats(toy: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for format in ("pt2", "torchscript"):
        assert main(["export", *toy, "--format", format, "--level", "decoded", "--fold"]) == 0
        assert Path(f"toy.{format}").is_file()
    assert "output  boxes (1, 16, 4)\noutput  scores (1, 16, 2)\n" in capsys.readouterr().out


def test_json(toy: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["export", *toy, "--json", "-", "--width", "64", "--height", "48", "--batch", "2"])
        == 0
    )
    report = json.loads(capsys.readouterr().out)
    assert report["paths"] == ["toy.onnx"] and report["inputs"] == {"images": [2, 3, 48, 64]}
    assert report["outputs"] == {"raw_2": [2, 7, 6, 8]} and report["nodes"]["Conv"] == 1
    assert [entry["what"] for entry in report["comparisons"]] == ["random input", "drawn scene"]
    assert all(
        entry["difference"] < 1e-5 and entry["boxes"] is None for entry in report["comparisons"]
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["toy.cfg"], "toy.cfg: no weights given for this network; give --weights FILE"),
        (["a.pt", "toy.weights"], "a.pt holds weights already; leave toy.weights out"),
        (
            ["toy.cfg", "toy.weights", "--format", "darknet"],
            "toy.cfg: would be overwritten; choose another file with --output FILE",
        ),
        (
            ["toy.cfg", "toy.weights", "--output", "toy.cfg"],
            "toy.cfg: would be overwritten; choose another file with --output FILE",
        ),
        (
            ["toy.cfg", "toy.weights", "--output", "toy.WEIGHTS", "--format", "darknet"],
            "toy.WEIGHTS: expected a name that ends in ",
        ),
        (
            ["toy.cfg", "toy.weights", "--format", "darknet", "--output", "there.cfg"],
            "there.weights: would be overwritten; choose another file with --output FILE, or give"
            " --overwrite",
        ),
        (
            ["toy.cfg", "toy.weights", "--output", "there.CFG"],
            "there.weights: would be overwritten; choose another file with --output FILE, or give"
            " --overwrite",
        ),
        (["toy.cfg", "toy.weights", "--output", "none/a.onnx"], "none/a.onnx: the folder "),
        (
            ["toy.cfg", "toy.weights", "--output", "a.bin"],
            "a.bin: unknown suffix; expected one of .onnx, ",
        ),
        (["toy.cfg", "toy.weights", "--image", "none.png"], "none.png: No such file or directory"),
        (
            ["toy.cfg", "toy.weights", "--threshold", "7"],
            "--threshold 7.0: expected a number from 0 to 1",
        ),
        (
            ["toy.cfg", "toy.weights", "--format", "safetensors", "--opset", "18"],
            "--opset does not apply to format safetensors, which stores the whole network; it is for"
            " formats onnx, pt2, torchscript",
        ),
        (
            ["toy.cfg", "toy.weights", "--format", "pt", "--dynamic-batch"],
            "--dynamic-batch does not apply to format pt, ",
        ),
        (
            ["toy.cfg", "toy.weights", "--format", "pt", "--level", "raw"],
            "--level does not apply to format pt, ",
        ),
        (
            ["toy.cfg", "toy.weights", "--format", "pt2", "--opset", "18"],
            "--opset does not apply to format pt2; it is for format onnx",
        ),
        (
            ["toy.cfg", "toy.weights", "--max-boxes", "9"],
            "--max-boxes applies only with --level nms",
        ),
        (
            ["toy.cfg", "toy.weights", "--output", "a.cfg", "--names", "toy.names"],
            "--names does not apply to format darknet: a cfg cannot store class names",
        ),
        (
            ["toy.cfg", "toy.weights", "--format", "pt", "--image", "none.png"],
            "none.png: No such file or directory",
        ),
        (
            ["class.cfg", "toy.weights", "--threshold", ".5"],
            "--threshold does not apply: the network has no detection head",
        ),
        (["none.cfg", "toy.weights"], "none.cfg: no such cfg file"),
        (["toy.cfg", "none.weights"], "none.weights: no such weights file"),
    ],
)
def test_mistakes(
    words: list[str], message: str, toy: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("there.weights").write_text("trained for a week")
    Path("class.cfg").write_text(Path("toy.cfg").read_text().split("[yolo]")[0])
    before = sorted(Path().iterdir())
    assert main(["export", *words]) == 2
    assert Path("there.weights").read_text() == "trained for a week"
    captured = capsys.readouterr()
    assert (
        captured.err.startswith(f"darknet-builder: error: {message}")
        and captured.err.count("\n") == 1
    )
    assert captured.out == "" and sorted(Path().iterdir()) == before


def test_a_difference_has_its_own_exit_status(
    toy: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def different(*args: object) -> None:
        raise ExportError("drawn scene: output differs from PyTorch's by 7")

    monkeypatch.setattr(export_job, "compare_values", different)
    assert main(["export", *toy]) == 1
    assert (
        capsys.readouterr().err
        == "darknet-builder: error: drawn scene: output differs from PyTorch's by 7\n"
    )
    assert not Path("toy.onnx").exists()
