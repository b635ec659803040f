"""The network of every command: as words or as options, from a cfg and its weights or from one file
that holds both."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import pytest
import torch

from darknet_builder.cli.program import main
from darknet_builder.data.scenes import write_scenes
from darknet_builder.images.files import write_image
from darknet_builder.network.build import build_network
from darknet_builder.weights.loader import load_weights, save_weights
from tests.helpers.colour_classifier import CFG as COLOURS
from tests.helpers.colour_classifier import colour_network
from tests.helpers.commands import answer, mistake
from tests.helpers.toy_detector import BLUE, RED, squares, toy_files
from tests.helpers.training_folder import TINY_CFG

SUFFIXES = ("safetensors", "pt")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: the toy detector as a cfg, weights, names and both kinds of model file; a
    data set."""
    toy_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    for suffix in SUFFIXES:
        assert (
            main(
                [
                    "export",
                    "toy.cfg",
                    "toy.weights",
                    "--names",
                    "toy.names",
                    "--format",
                    suffix,
                    "--json",
                    "report.json",
                ]
            )
            == 0
        )
    write_image(Path("a.png"), squares((RED, 1, 2), (BLUE, 3, 3)))
    Path("a.txt").write_text("0 .375 .625 .25 .25\n1 .875 .875 .25 .25\n")
    Path("list.txt").write_text("a.png\n")
    Path("toy.data").write_text("classes=2\ntrain=list.txt\nvalid=list.txt\nnames=toy.names\n")
    torch.save(build_network("toy.cfg").state_dict(), "bare.pt")
    return tmp_path


# ---- one file that holds both --------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_check(suffix: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(capsys, "check", f"toy.{suffix}").endswith(
        f"toy.{suffix}: 0 errors, 0 warnings\n"
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("what", ["summary", "parameters", "blocks"])
def test_dump(suffix: str, what: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs, ours = (
        json.loads(answer(capsys, "dump", cfg, "--what", what, "--json"))
        for cfg in ("toy.cfg", f"toy.{suffix}")
    )
    for row in [*theirs["rows"], *ours["rows"]]:
        row.pop("line", None)  # the text in the file has no blank lines of the cfg's
    assert ours["rows"] == theirs["rows"] and len(ours["rows"]) > 1


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_draw_network_has_the_weights(
    suffix: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = []
    for number, words in enumerate((["toy.cfg"], ["toy.cfg", "toy.weights"], [f"toy.{suffix}"])):
        answer(capsys, "draw-network", *words, "--output", f"{number}.svg")
        pages.append(
            re.findall('<path class="histogram" d="[^"]+"', Path(f"{number}.svg").read_text())
        )
    assert not pages[0] and pages[1] and pages[2] == pages[1]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_plot_weights(suffix: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its own weights are the first state."""
    pytest.importorskip("matplotlib")
    assert (
        answer(capsys, "plot-weights", f"toy.{suffix}", "--output", "a.png")
        == "a.png: 1 histogram of 1 state\n"
    )
    answer(capsys, "plot-weights", "toy.cfg", "--state", "toy.weights", "--output", "b.png")
    answer(capsys, "plot-weights", "toy.cfg", "--state", f"toy.{suffix}", "--output", "c.png")
    own, given, other = (cv2.imread(f"{name}.png") for name in "abc")
    axes = slice(30, None)  # below the legend, which names the file
    assert (own[axes] == given[axes]).all() and (own[axes] == other[axes]).all()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_classify_has_names_too(
    suffix: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("c.cfg").write_text(COLOURS)
    Path("c.names").write_text("rot\ngrün\nblau\n", encoding="utf-8")
    save_weights(colour_network(), "c.weights")
    answer(capsys, "export", "c.cfg", "c.weights", "--names", "c.names", "--format", suffix)
    wanted = answer(
        capsys,
        "classify",
        "a.png",
        "--cfg",
        "c.cfg",
        "--weights",
        "c.weights",
        "--names",
        "c.names",
    )
    assert (
        answer(capsys, "classify", "a.png", "--cfg", f"c.{suffix}") == wanted and "grün" in wanted
    )
    assert (
        mistake(capsys, "classify", "a.png", "--cfg", "c.cfg")
        == "c.cfg: no weights given for this network; give --weights FILE"
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_adapt_cfg_and_anchors(
    suffix: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(capsys, "adapt-cfg", f"toy.{suffix}", "--classes", "5", "--output", "new.cfg")
    assert build_network("new.cfg").heads[0].classes == 5
    data = ("--data", "toy.data", "--num", "1")
    assert answer(capsys, "anchors", *data, f"toy.{suffix}") == answer(
        capsys, "anchors", *data, "--cfg", "toy.cfg"
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_train_begins_with_its_weights(
    suffix: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As with a cfg and --weights; and no rate changes nothing."""
    Path("tiny.cfg").write_text(TINY_CFG.replace("burn_in=4", "burn_in=0"))
    write_scenes("scenes", {"train": 4, "valid": 1}, size=64)
    torch.manual_seed(1)
    save_weights(build_network("tiny.cfg"), "tiny.weights")
    answer(capsys, "export", "tiny.cfg", "tiny.weights", "--format", suffix)
    ends = []
    for number, model in enumerate(
        (["--cfg", "tiny.cfg", "--weights", "tiny.weights"], [f"tiny.{suffix}"])
    ):
        answer(
            capsys,
            "train",
            "--data",
            "scenes/scenes.data",
            *model,
            "--output",
            str(number),
            "--max-batches",
            "1",
            "--workers",
            "0",
            "--eval-every",
            "0",
            "--lr",
            "*=0",
            "--freeze-norms",
        )
        ends.append(
            load_weights(network := build_network("tiny.cfg"), f"{number}/tiny_final.weights")
        )
        assert torch.equal(
            network.get_parameter("layers.0.conv.weight"),
            build_network(f"tiny.{suffix}").get_parameter("layers.0.conv.weight"),
        )
    assert ends[0].header.seen == ends[1].header.seen


@pytest.mark.parametrize(
    "words",
    [
        ["check"],
        ["dump"],
        ["draw-network"],
        ["export"],
        ["plot-weights", "--output", "a.png"],
        ["train", "--data", "toy.data", "--output", "run"],
        ["evaluate", "--data", "toy.data"],
        ["adapt-cfg", "--classes", "2", "--output", "b.cfg"],
        ["anchors", "--data", "toy.data"],
        ["detect", "a.png"],
        ["classify", "a.png"],
    ],
)
def test_weights_alone(words: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A state_dict of others carries no cfg."""
    main([*words, "--cfg", "bare.pt"])
    text = "bare.pt: holds weights and no cfg; give the cfg, and this file as its weights"
    out, error = capsys.readouterr()
    assert text in (out if words == ["check"] else error) and error.count("\n") <= 1


@pytest.mark.parametrize(
    "words",
    [
        ["check"],
        ["draw-network"],
        ["export"],
        ["evaluate", "--data", "toy.data"],
        ["train", "--data", "toy.data", "--output", "run"],
        ["detect", "a.png"],
        ["classify", "a.png"],
    ],
)
def test_two_sets_of_weights(
    words: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([*words, "--cfg", "toy.pt", "--weights", "toy.weights"])
    out, error = capsys.readouterr()
    assert "toy.pt holds weights already; leave toy.weights out" in (
        out if words == ["check"] else error
    )


# ---- words and options ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["check"],
        ["draw-network"],
        ["export", "--json", "-"],
        ["evaluate", "--data", "toy.data", "--quiet"],
    ],
)
def test_words_and_options_are_the_same(
    words: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = {
        answer(capsys, *words, *model)
        for model in (
            ["toy.cfg", "toy.weights"],
            ["--cfg", "toy.cfg", "--weights", "toy.weights"],
            ["toy.cfg", "--weights", "toy.weights"],
            ["toy.cfg", "--dialect", "alexeyab", "toy.weights"],
        )
    }
    assert len(answers) == 1


@pytest.mark.parametrize(
    "words",
    [
        ["dump"],
        ["plot-weights", "--output", "a.png"],
        ["adapt-cfg", "--classes", "2", "--output", "b.cfg", "--overwrite"],
        ["anchors", "--data", "toy.data"],
    ],
)
def test_networks_without_weights(
    words: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer(capsys, *words, "toy.cfg") == answer(capsys, *words, "--cfg", "toy.cfg")
    assert (
        mistake(capsys, *words, "toy.cfg", "--cfg", "b.cfg")
        == "the network is given twice, as toy.cfg and as --cfg b.cfg; leave one out"
    )


@pytest.mark.parametrize(
    "words",
    [
        ["check"],
        ["draw-network"],
        ["export"],
        ["evaluate", "--data", "toy.data"],
        ["train", "--data", "toy.data"],
    ],
)
def test_given_twice(words: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        mistake(capsys, *words, "toy.weights", "--cfg", "toy.cfg")
        == "the network is given twice, as toy.weights and as --cfg toy.cfg; leave one out, or give"
        " weights with --weights"
    )
    assert (
        mistake(capsys, *words, "toy.cfg", "toy.weights", "--weights", "b.weights")
        == "the weights are given twice, as toy.weights and as --weights b.weights; leave one out"
    )
    assert (
        mistake(capsys, *words) == "no network given; give a .cfg, as the first word or with --cfg"
    )
