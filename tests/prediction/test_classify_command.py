"""The command ``classify``: its output, its files and its mistakes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import pytest
import torch

from darknet_builder import Classifier
from darknet_builder.cli.program import main
from darknet_builder.engines.optimized import OptimizedNetwork
from darknet_builder.weights.loader import save_weights
from tests.helpers.colour_classifier import CFG, LOGITS, colour_network, hierarchy, image, plain


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A classifier of colours, its names, and two images."""
    save_weights(colour_network(), tmp_path / "net.weights")
    (tmp_path / "net.cfg").write_text(CFG)
    (tmp_path / "net.names").write_text("red\ngreen\nblue\n")
    (tmp_path / "shots").mkdir()
    cv2.imwrite(str(tmp_path / "shots" / "a.png"), plain(255, 0, 51))
    cv2.imwrite(str(tmp_path / "shots" / "b.png"), plain(0, 255, 0))
    return tmp_path


def words(folder: Path, *more: str) -> list[str]:
    return [
        "classify",
        *more,
        "--cfg",
        str(folder / "net.cfg"),
        "--weights",
        str(folder / "net.weights"),
        "--names",
        str(folder / "net.names"),
    ]


@pytest.mark.parametrize("backend", ["torch", "onnxruntime"])
def test_backends(backend: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same answers, by what was asked for; a Network that is given stays what it is."""
    pytest.importorskip(backend)
    argv = words(folder, str(folder / "shots"), "--top", "2")
    assert main(argv) == 0
    usual = capsys.readouterr().out
    assert main([*argv, "--backend", backend, "--precision", "float32"]) == 0
    assert capsys.readouterr().out == usual
    runner = Classifier(folder / "net.cfg", folder / "net.weights", backend=backend).runner
    assert isinstance(runner, OptimizedNetwork) and runner.backend == backend
    network = colour_network()
    assert Classifier(network).runner is network


def test_what_auto_chose_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(folder, str(folder / "shots"), "--backend", "auto")) == 0
    assert capsys.readouterr().out.startswith("the network runs on ")


def test_list(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(folder, str(folder / "shots"), "--top", "2")) == 0
    assert capsys.readouterr() == (
        (
            f"{folder}/shots/a.png\n   0.8768  blue\n   0.0795  red\n"
            f"{folder}/shots/b.png\n   0.9094  green\n   0.0453  red\n"
        ),
        "",
    )


def test_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(
            words(
                folder, str(folder / "shots" / "a.png"), "--top", "1", "--json", "-", "--batch", "4"
            )
        )
        == 0
    )
    data = json.loads(capsys.readouterr().out)
    assert data == {
        "cfg": str(folder / "net.cfg"),
        "weights": str(folder / "net.weights"),
        "fit": "crop",
        "not_readable": 0,
        "images": [
            {
                "file": f"{folder}/shots/a.png",
                "classes": [
                    {"class_id": 2, "name": "blue", "score": pytest.approx(0.8768, abs=1e-4)}
                ],
            }
        ],
    }
    assert (
        main(
            words(
                folder,
                str(folder / "shots" / "a.png"),
                "--top",
                "1",
                "--json",
                str(folder / "x.json"),
                "--quiet",
            )
        )
        == 0
    )
    assert (capsys.readouterr().out, json.loads((folder / "x.json").read_text())) == ("", data)


def test_images_that_cannot_be_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are reported and counted; the others are processed, and the exit status is 1."""
    (folder / "shots" / "c.png").write_bytes(b"no image")
    cv2.imwrite(str(folder / "shots" / "d.png"), image(1, 200))
    (folder / "shots" / "notes.txt").write_text("not looked at")
    assert main(words(folder, str(folder / "shots"), "--top", "1", "--batch", "3")) == 1
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 4
    assert (
        captured.err == f"skipped: {folder}/shots/c.png: not an image that OpenCV can read\n"
        f"skipped: {folder}/shots/d.png: 200x1 pixels are too thin to crop; "
        "use the fit stretch or letterbox\n"
    )
    assert main(words(folder, str(folder / "shots" / "c.png"), "--json", "-")) == 1
    assert json.loads(capsys.readouterr().out)["not_readable"] == 1


def test_hierarchies_say_what_is_above(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_weights(hierarchy(tmp_path, LOGITS, "alexeyab"), tmp_path / "net.weights")
    cv2.imwrite(str(tmp_path / "a.png"), plain(0, 0, 0))
    assert (
        main(
            [
                "classify",
                str(tmp_path / "a.png"),
                "--cfg",
                str(tmp_path / "net.cfg"),
                "--weights",
                str(tmp_path / "net.weights"),
                "--top",
                "3",
            ]
        )
        == 0
    )
    assert capsys.readouterr().out.splitlines()[1:] == [
        "   0.7311  animal  (Root)",
        "   0.5344  dog  (animal)",
        "   0.4154  puppy  (dog)",
    ]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["{0}/no.png"], "{0}/no.png: no such file or folder"),
        (["{0}/shots/a.png", "--top", "0"], "--top 0: expected 1 or more"),
        (
            ["{0}/shots/a.png", "--json", "{0}/no/x.json"],
            "{0}/no/x.json: the folder {0}/no does not exist",
        ),
    ],
)
def test_mistakes_are_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], more: Sequence[str], expected: str
) -> None:
    assert main(words(folder, *(word.format(folder) for word in more))) == 2
    assert capsys.readouterr() == ("", f"darknet-builder: error: {expected.format(folder)}\n")


def test_names_that_do_not_fit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "net.names").write_text("red\n")
    assert main(words(folder, str(folder / "shots"))) == 2
    assert (
        capsys.readouterr().err
        == f"darknet-builder: error: {folder}/net.names: has 1 names, but the network gives 3"
        " scores\n"
    )


def test_ctrl_c(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The classes found so far are written; without any, the file of an earlier run stays."""
    target = folder / "found.json"
    argv = words(folder, str(folder / "shots"), "--json", str(target))
    original, calls = Classifier.rank, [0]

    def rank(self: Classifier, x: torch.Tensor) -> object:
        calls[0] += 1
        if calls[0] > 1:
            raise KeyboardInterrupt
        return original(self, x)

    monkeypatch.setattr(Classifier, "rank", rank)
    assert main(argv) == 130
    found = target.read_bytes()
    assert [Path(row["file"]).name for row in json.loads(found)["images"]] == ["a.png"]
    assert main(argv) == 130  # in its first image
    assert target.read_bytes() == found
