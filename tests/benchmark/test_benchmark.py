"""The benchmark: the content of its reports, not the speed of anything."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from darknet_builder.benchmark.candidates import default_candidates, make_runner
from darknet_builder.benchmark.comparison import Comparison, Timing, compare
from darknet_builder.benchmark.reference_program import opencv_reference
from darknet_builder.benchmark.report import save_chart, table
from darknet_builder.cli.program import main
from darknet_builder.errors import InputError
from darknet_builder.images.files import write_image
from darknet_builder.support.devices import computes_bfloat16
from tests.engines.test_optimized import SMALL, difference, make
from tests.helpers.training_folder import make_folder

CFG = SMALL.format(activation="leaky")


def test_arithmetic() -> None:
    """Median, quartiles, ratio and rate are computed from the seconds."""
    slow, fast = (
        Timing("b:float32", "way", [0.2, 0.4, 0.3, 0.5]),
        Timing("a:float32", "way", [0.1] * 4, 2**21),
    )
    rows = Comparison("net", (416, 416), 2, 5.0, [slow, fast]).rows()
    assert [row["contender"] for row in rows] == ["a:float32", "b:float32"]
    assert [row["ratio"] for row in rows] == pytest.approx([1, 3.5])
    assert [row["gflops"] for row in rows] == pytest.approx([100, 10 / 0.35])
    assert rows[1]["iqr_ms"] == pytest.approx(250) and rows[0]["peak_mib"] == 2


def test_interleaved() -> None:
    """Every candidate is timed in every round; candidates that cannot run are reported."""
    candidates = [
        "torch:float32",
        "plain:float32",
        "plain:bfloat16",
        "channels-last:float32",
        "channels-last:int3",
    ]
    result = compare(make(CFG), "net", candidates=candidates, rounds=3)
    assert {timing.name: len(timing.seconds) for timing in result.timings} == {
        "torch:float32": 3,
        "plain:float32": 3,
        "channels-last:float32": 3,
    }
    assert result.failures == {
        "plain:bfloat16": "plain:bfloat16: plain runs only in float32",
        "channels-last:int3": "channels-last:int3: expected one of float32, bfloat16, float16",
    }
    text = table(result, {"float32": 100.0})
    assert "| plain:float32 |" in text and "not measured: plain:bfloat16" in text


@pytest.mark.pack  # takes seconds
def test_who_takes_part() -> None:
    """The outputs of the candidates equal the network's; those in bfloat16 roughly."""
    network = make(CFG)
    candidates = default_candidates(network)
    assert {"torch:float32", "plain:float32", "channels-last:float32", "opencv:float32"} <= set(
        candidates
    )
    x = torch.rand(network.input_shape.batched(2))
    wanted = network.outputs(x)[0].detach()
    for candidate in candidates:
        if candidate.startswith(("channels-last", "opencv")):
            with torch.no_grad():
                found = make_runner(network, candidate)[0](x)
            bound = 1e-5 if candidate.endswith("float32") else 0.05
            assert (
                difference([torch.as_tensor(answer).float() for answer in found], [wanted]) < bound
            ), candidate


def test_chart(tmp_path: Path) -> None:
    """A panel for each comparison, with the names of its contenders."""
    pytest.importorskip("matplotlib", reason="the extra train is not installed")
    timings = [Timing(name, "", [0.01, 0.02, 0.03]) for name in ("torch:float32", "plain:float32")]
    panels = [Comparison(name, (64, 32), 2, 5.0, timings) for name in ("first", "second")]
    save_chart(panels, tmp_path / "chart.svg")
    drawn = (tmp_path / "chart.svg").read_text()
    for text in ("first 64 x 32, batch 2", "second 64 x 32, batch 2", "torch:float32", "20.0"):
        assert text in drawn, text
    with pytest.raises(InputError):
        save_chart(panels, tmp_path / "missing" / "chart.svg")


def test_pipeline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The rate from file to picture is measured beside the network's own."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "b.png", "c.png"):
        write_image(folder / name, np.zeros((20, 30, 3), np.uint8))
    (tmp_path / "net.cfg").write_text(CFG)
    answer = tmp_path / "b.json"
    words = [
        "--contenders",
        "torch:float32",
        "plain:float32",
        "--rounds",
        "1",
        "--pipeline",
        "--batches",
        "2",
    ]
    files = ["--images", str(folder), "--json", str(answer)]
    assert main(["benchmark", str(tmp_path / "net.cfg"), *words, *files]) == 0
    out = capsys.readouterr().out
    assert "| net | torch:float32 | 2 | 3 |" in out
    assert re.search(
        r"\|  \| processor ms an image: read \d+\.\d\d, resize .*, write [\d.]+ \|", out
    )
    [pipeline] = json.loads(answer.read_text())["pipelines"]
    assert len(pipeline["pipeline_seconds"]) == 3 and min(pipeline["network_seconds"]) > 0
    stages = pipeline["processor_seconds"]
    assert list(stages) == ["read", "resize", "network", "post-process", "draw", "write"]
    assert min(stages.values()) > 0 and pipeline["cores"] >= 1


def test_the_pipeline_without_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is drawn or written, in the whole pipeline or in a stage."""
    for name in ("draw_detections", "write_image"):
        monkeypatch.setattr(f"darknet_builder.benchmark.pipeline.{name}", pytest.fail)
    (tmp_path / "net.cfg").write_text(CFG)
    photograph = tmp_path / "a.png"
    photograph.write_bytes(b"P6 1 1 255 abc")
    answer = tmp_path / "b.json"
    words = ["--contenders", "torch:float32", "--rounds", "1", "--pipeline", "--no-images"]
    files = ["--images", str(photograph), "--json", str(answer)]
    assert main(["benchmark", str(tmp_path / "net.cfg"), *words, *files]) == 0
    [pipeline] = json.loads(answer.read_text())["pipelines"]
    stages = pipeline["processor_seconds"]
    assert list(stages) == ["read", "resize", "network", "post-process"]


def test_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Training steps are measured with the share of their time spent waiting for images."""
    data, answer = make_folder(tmp_path), tmp_path / "b.json"
    words = ["--batches", "2", "--rounds", "3", "--workers", "0"]
    files = ["--training", str(data), "--json", str(answer)]
    assert main(["benchmark", str(tmp_path / "tiny.cfg"), *words, *files]) == 0
    assert "| tiny | 64 x 64 | 2 | float32 |" in capsys.readouterr().out
    trainings = json.loads(answer.read_text())["trainings"]
    precisions = [training["precision"] for training in trainings]
    assert precisions == ["float32", "bfloat16"][: len(trainings)]
    assert all(len(training["seconds"]) == 6 for training in trainings)
    assert 0 <= trainings[0]["waited"][0] < trainings[0]["seconds"][0]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command writes the table, JSON and memory, and the stages end to end."""
    cfg, image, answer = tmp_path / "net.cfg", tmp_path / "a.png", tmp_path / "b.json"
    cfg.write_text(CFG)
    write_image(image, np.zeros((20, 30, 3), np.uint8))
    status = main(
        [
            "benchmark",
            str(cfg),
            "--contenders",
            "torch:float32",
            "plain:float32",
            "--rounds",
            "2",
            "--memory",
            "--images",
            str(image),
            "--json",
            str(answer),
        ]
    )
    out = capsys.readouterr().out
    assert status == 0
    assert "net at 32 x 24: the outputs need at least 0.1 MiB; 0.1 MiB are alive at once (1." in out
    assert "net, 32 x 24, batch 1" in out and "net, file to boxes at threshold 0.25" in out
    document = json.loads(answer.read_text())
    assert len(document["rows"]) == 4 and "float32" in document["matrix_gflops"]
    assert ("bfloat16" in document["matrix_gflops"]) == computes_bfloat16(torch.device("cpu"))
    assert list(document["rows"][-1]["stages_ms"]) == [
        "decode",
        "resize",
        "network",
        "post-process",
    ]


def test_a_reference_program_that_cannot_be_started() -> None:
    """The error names the interpreter and the system's reason."""
    text = "^reference_python=/no/python: No such file or directory$"
    with pytest.raises(InputError, match=text), opencv_reference(make(CFG), "/no/python", 1):
        pass


def test_a_reference_program_that_ends(tmp_path: Path) -> None:
    """The error has the last line of the program's error output."""
    python = tmp_path / "python"
    python.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('no cv2 here')\n")
    python.chmod(0o755)
    text = "exited: no cv2 here$"
    with pytest.raises(InputError, match=text), opencv_reference(make(CFG), str(python), 1):
        pass


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong options are reported before anything is measured."""
    assert main(["benchmark", "a.cfg", "b.cfg", "--weights", "w"]) == 2
    assert capsys.readouterr().err.endswith("--weights w: expected a single CFG, got 2\n")
    assert main(["benchmark", "a.cfg", "--rounds", "0"]) == 2
    assert capsys.readouterr().err.endswith(
        "--rounds, --batches and --threads: expected 1 or more\n"
    )
    assert main(["benchmark", "a.cfg", "--no-images"]) == 2
    assert capsys.readouterr().err.endswith("--no-images: needs --pipeline\n")
    assert main(["benchmark", "a.cfg", "--pipeline"]) == 2
    assert capsys.readouterr().err.endswith("--pipeline: no images given; give --images\n")
    assert main(["benchmark", "a.cfg", "--training", "my.data", "--memory"]) == 2
    assert "error: --training: cannot be combined with --images," in capsys.readouterr().err
