"""Pictures of weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from darknet_builder.cli import program as cli
from darknet_builder.images.files import read_image
from tests.helpers.training_folder import TINY_CFG

pytest.importorskip("matplotlib")


@pytest.fixture
def cfg(tmp_path: Path) -> str:
    """The tiny network as a file."""
    (tmp_path / "tiny.cfg").write_text(TINY_CFG)
    return str(tmp_path / "tiny.cfg")


def test_a_picture(cfg: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One histogram a parameter, one line a state."""
    target = tmp_path / "weights.png"
    assert (
        cli.main(
            [
                "plot-weights",
                cfg,
                "--state",
                "darknet",
                "--state",
                "normal:0,0.1",
                "--output",
                str(target),
            ]
        )
        == 0
    )
    assert f"{target}: 3 histograms of 2 states" in capsys.readouterr().out
    assert len({tuple(pixel) for pixel in read_image(target)[::4, ::4].reshape(-1, 3).tolist()}) > 5


@pytest.mark.parametrize("name", ["p.jpg", "p.png", "p.svg", "p.pdf"])
def test_the_suffix_is_the_format(
    name: str, cfg: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name without a folder is a file of the working folder."""
    monkeypatch.chdir(tmp_path)
    assert cli.main(["plot-weights", cfg, "--output", name]) == 0
    marks = {"p.jpg": b"\xff\xd8\xff", "p.png": b"\x89PNG", "p.svg": b"<?xml", "p.pdf": b"%PDF"}
    assert (tmp_path / name).read_bytes().startswith(marks[name])


@pytest.mark.parametrize(
    "name, message",
    [
        ("p.jgp", "p.jgp: cannot be drawn with this suffix; expected .png, or one of "),
        ("p", "p: cannot be drawn with this suffix"),
        ("none/p.png", "none/p.png: the folder "),
    ],
)
def test_names_that_are_none(
    name: str,
    message: str,
    cfg: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["plot-weights", cfg, "--output", name]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"darknet-builder: error: {message}") and error.count("\n") == 1


@pytest.mark.parametrize(
    "words, message",
    [
        (["--names", "layers.9.*"], "--names layers.9.*: matches no parameter"),
        (["--state", "no.weights"], "no.weights: no such weights file"),
        (["--state", "no.pt"], "no.pt: no such model file"),
        (["--state", "kaimng"], "--state kaimng: expected one of darknet, "),
        (["--state", "kaimng"], "or give a file that ends in .weights, .safetensors or .pt"),
        (["--state", "kaimng"], "did you mean 'kaiming'"),
        (
            ["--state", "normal:1"],
            "--state normal:1: expected normal:MEAN,STD, such as normal:0,0.01",
        ),
    ],
)
def test_mistakes(
    cfg: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    """One line each, and no picture."""
    assert cli.main(["plot-weights", cfg, *words, "--output", str(tmp_path / "x.png")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()
