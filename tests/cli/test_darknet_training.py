"""``darknet-builder darknet detector train`` and ``classifier train``."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from darknet_builder import build_network
from darknet_builder.weights.loader import save_weights
from tests.helpers.colour_classifier import CFG as CLASSIFIER_CFG
from tests.helpers.darknet_program import Darknet
from tests.helpers.training_folder import make_folder

STEP = re.compile(
    r"^ (\d+): \S+, \S+ avg loss, \S+ rate, \S+ seconds, (\d+) images, ", re.MULTILINE
)


@pytest.fixture
def training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set of drawn scenes and a tiny cfg of four steps, and the current folder."""
    data = make_folder(tmp_path)
    with data.open("a") as file:
        file.write("savelast=2\n")
    cfg = (tmp_path / "tiny.cfg").read_text()
    (tmp_path / "tiny.cfg").write_text(cfg.replace("max_batches=20", "max_batches=4"))
    (tmp_path / "more.cfg").write_text(cfg.replace("max_batches=20", "max_batches=6"))
    monkeypatch.chdir(tmp_path)
    return data


def test_a_training_and_its_continuation(training: Path, darknet: Darknet) -> None:
    """Weights go into backup=, under Darknet's names; training resumes from them."""
    status, out, err = darknet(f"detector train {training} tiny.cfg -dont_show -map")
    assert status == 0, err
    assert STEP.findall(out) == [(str(step), str(4 * step)) for step in range(1, 5)]
    assert out.startswith("tiny\n GPU isn't used \nmini_batch = 2, batch = 4, ")
    assert (
        "\nLearning Rate: 0.001, Momentum: 0.9, Decay: 0.0005\n Detection layer: 4 - type = 28 \n"
        in out
    )
    assert out.count("\n mean_average_precision (mAP@0.50) = ") == 1
    assert out.endswith(" -clear \n")
    backup = training.parent / "backup"
    last = next(Path().rglob("tiny_last.weights"))
    assert last.parent.name == "backup" and (last.parent / "tiny_final.weights").is_file(), backup
    Path("more").mkdir()
    Path("more.cfg").rename("more/tiny.cfg")
    status, out, err = darknet(f"detector train {training} more/tiny.cfg {last}")
    assert status == 0, err
    assert [step for step, _ in STEP.findall(out)] == ["5", "6"]
    assert "mean_average_precision" not in out
    status, _, err = darknet(f"detector train {training} tiny.cfg {last} -clear")
    assert (status, err.count("\n")) == (1, 1) and "already contains a training" in err
    assert err.endswith(
        "name another folder as backup= in the .data file, or move the files away\n"
    )


def test_weights_that_are_not_the_newest(training: Path, darknet: Darknet) -> None:
    """The newest checkpoint would be resumed, and these weights would not be used."""
    assert darknet(f"detector train {training} tiny.cfg")[0] == 0
    backup = next(Path().rglob("tiny_last.weights")).parent
    shutil.copy(backup / "tiny_last.weights", "copy.weights")
    network = build_network("tiny.cfg")
    network.header = replace(network.header, seen=12)
    save_weights(network, backup / "tiny_3.weights")
    for weights, difference in (
        ("copy.weights", "is not in this folder"),
        (backup / "tiny_3.weights", "has 3 steps"),
    ):
        status, _, err = darknet(f"detector train {training} more.cfg {weights}")
        assert (status, err.count("\n")) == (1, 1)
        assert f"stands at checkpoint_0000004.pt, but {weights} {difference}; give its" in err


def test_a_training_from_cut_off_weights(training: Path, darknet: Darknet) -> None:
    """They are loaded as far as they go, as yolov4.conv.137 is."""
    save_weights(build_network("tiny.cfg"), "whole.weights")
    assert darknet("partial tiny.cfg whole.weights tiny.cut 3")[0] == 0
    status, out, err = darknet(f"detector train {training} tiny.cfg tiny.cut -clear")
    assert status == 0, err
    assert len(STEP.findall(out)) == 4


def test_classifier_train(colours: Path, darknet: Darknet) -> None:
    cfg = CLASSIFIER_CFG.replace("channels=3", "channels=3\nbatch=2\nmax_batches=2", 1)
    Path("net.cfg").write_text(cfg)
    status, out, err = darknet("classifier train my.data net.cfg net.weights -topk")
    assert status == 0, err
    lines = re.findall(
        r"^(\d, \d\.\d{3}): \S+, \S+ avg, \S+ rate, .* (\d) images, ", out, re.MULTILINE
    )
    assert lines == [("1, 1.000", "2"), ("2, 2.000", "4")]
    assert "\n accuracy top-1 = " in out
