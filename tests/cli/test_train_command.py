"""``darknet-builder train``: a whole training in a process of its own, killed, interrupted, taken
up again."""

from __future__ import annotations

import io
import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from darknet_builder.cli import program as cli
from darknet_builder.network.build import build_network
from darknet_builder.training.checkpoints.checkpoint_file import list_checkpoints, load_checkpoint
from darknet_builder.training.log.run_log import read_log
from darknet_builder.weights.loader import load_weights
from tests.helpers.training_folder import make_folder, start_training, train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set, a cfg, and an unbroken training in ``whole``."""
    folder = tmp_path_factory.mktemp("training")
    make_folder(folder)
    status, out, err = train(
        folder, "--output", str(folder / "whole"), "--save-every", "3", "--eval-every", "10"
    )
    assert status == 0, err
    assert out.rstrip().endswith(f"weights in {folder / 'whole'}")
    return folder


def _wait_for_step(output: Path, step: int) -> None:
    """Until a checkpoint of this step or a later one is there."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        paths = list_checkpoints(output)
        if paths and int(paths[-1].stem.split("_")[1]) >= step:
            return
        time.sleep(0.005)
    raise AssertionError(f"no checkpoint of step {step}")


def _same(first: Any, second: Any) -> bool:
    """Equal to the last bit, all the way down."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(
            _same(first[key], second[key]) for key in first
        )
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(_same, first, second))
    return bool(first == second)


def test_killed_and_resumed_gives_equal_numbers(folder: Path) -> None:
    """SIGKILL leaves no chance to save; what comes out is what the unbroken training gives, to the
    last bit."""
    output = folder / "killed-6"
    options = ("--output", str(output), "--save-every", "3", "--eval-every", "10")
    process = start_training(folder, *options)
    _wait_for_step(output, 6)
    process.kill()
    process.communicate()
    assert not (output / "tiny_final.weights").exists()
    status, out, err = train(folder, *options, "--resume")
    assert status == 0, err
    assert "resuming after step" in out
    assert (output / "tiny_final.weights").read_bytes() == (
        folder / "whole" / "tiny_final.weights"
    ).read_bytes()
    ours, theirs = (
        load_checkpoint(list_checkpoints(path)[-1]) for path in (output, folder / "whole")
    )
    assert _same(ours, theirs)
    # The log continues after the checkpoint, without the steps that were run twice.
    steps, expected = (
        [
            (record["iteration"], record["loss"])
            for record in read_log(path / "log.jsonl")
            if "loss" in record
        ]
        for path in (output, folder / "whole")
    )
    assert steps == expected
    assert [iteration for iteration, _ in steps] == list(range(1, 21))


def test_ctrl_c_saves_and_ends_cleanly(folder: Path) -> None:
    """Status 130, a checkpoint of the very step, and no traceback."""
    output = folder / "interrupted"
    process = start_training(
        folder, "--output", str(output), "--max-batches", "100000", "--save-every", "3"
    )
    _wait_for_step(output, 3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    finished = load_checkpoint(list_checkpoints(output)[-1])["finished"]
    assert out.rstrip().endswith(
        f"stopped after step {finished}; to resume, repeat the command with --resume"
    )


def test_what_is_written(folder: Path) -> None:
    """The files of Darknet's own names, the last three checkpoints, the best, log and chart."""
    output = folder / "whole"
    names = {path.name for path in output.iterdir()}
    assert {
        "tiny_last.weights",
        "tiny_best.weights",
        "tiny_final.weights",
        "best.pt",
        "log.jsonl",
    } <= names
    assert [path.name for path in list_checkpoints(output)] == [
        "checkpoint_0000015.pt",
        "checkpoint_0000018.pt",
        "checkpoint_0000020.pt",
    ]
    assert not [name for name in names if name.startswith(".")]
    scores = [record for record in read_log(output / "log.jsonl") if "map" in record]
    assert [record["iteration"] for record in scores] == [10, 20]
    assert (output / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_seen_is_what_darknet_counts(folder: Path) -> None:
    """Steps times batch, in a header of version 0.2.5, so that Darknet resumes from there."""
    network = build_network(folder / "tiny.cfg")
    report = load_weights(network, folder / "whole" / "tiny_final.weights")
    assert (report.header.major, report.header.minor, report.header.seen) == (0, 2, 20 * 4)


def test_logged_numbers(folder: Path) -> None:
    """One line a step: loss, average, rate as the schedule says, and what the head says."""
    records = [record for record in read_log(folder / "whole" / "log.jsonl") if "loss" in record]
    assert records[3]["rate"] == pytest.approx(0.001)
    assert records[0]["rate"] == pytest.approx(0.001 * (1 / 4) ** 4)
    assert records[-1]["rate"] == pytest.approx(0.0001)
    assert {"iou", "box", "objectness", "classes"} <= records[0].keys()
    expected = records[0]["average"] * 0.9 + records[1]["loss"] * 0.1
    assert records[1]["average"] == pytest.approx(expected)


def test_workers_change_nothing(folder: Path) -> None:
    """Samples follow from the seed and their place, whoever prepares them."""
    command = [
        "train",
        "--data",
        str(folder / "scenes" / "scenes.data"),
        "--cfg",
        str(folder / "tiny.cfg"),
        "--max-batches",
        "4",
        "--eval-every",
        "0",
    ]
    losses = []
    for workers in (0, 2):
        output = folder / f"workers-{workers}"
        assert cli.main([*command, "--output", str(output), "--workers", str(workers)]) == 0
        losses.append(
            [
                json.loads(line).get("loss")
                for line in (output / "log.jsonl").read_text().splitlines()
            ]
        )
    assert losses[0] == losses[1]


def _error(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.main(["train", *words]) == 2
    return capsys.readouterr().err


def test_used_folder_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Unless --resume or --overwrite is given."""
    words = [
        "--data",
        str(folder / "scenes" / "scenes.data"),
        "--cfg",
        str(folder / "tiny.cfg"),
        "--output",
    ]
    error = _error(capsys, *words, str(folder / "whole"))
    assert (
        "already contains a training (log.jsonl); resume it, continue it with something changed,"
        " overwrite it, or use another folder" in error
    )
    assert error.endswith(" (--resume, --continue, --overwrite)\n")
    output = folder / "twice"
    for options in ([], ["--overwrite"]):
        assert cli.main(["train", *words, str(output), "--max-batches", "4", *options]) == 0
    assert [
        record["iteration"] for record in read_log(output / "log.jsonl") if "loss" in record
    ] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "change, message",
    [
        (("filters=16", "filters=8"), "belongs to another cfg:"),
        (("learning_rate=0.001", "learning_rate=0.002"), "learning_rate=0.001 in the checkpoint"),
        (("[dropout]\nprobability=.3\n", ""), "[dropout]"),
    ],
)
def test_checkpoint_of_another_cfg(
    folder: Path, capsys: pytest.CaptureFixture[str], change: tuple[str, str], message: str
) -> None:
    """The first difference is named."""
    other = folder / "other.cfg"
    other.write_text((folder / "tiny.cfg").read_text().replace(*change))
    error = _error(
        capsys,
        "--data",
        str(folder / "scenes" / "scenes.data"),
        "--cfg",
        str(other),
        "--output",
        str(folder / "whole"),
        "--resume",
    )
    assert "belongs to another cfg" in error and message in error


def test_other_seed_cannot_go_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The training would not be the same."""
    error = _error(
        capsys,
        "--data",
        str(folder / "scenes" / "scenes.data"),
        "--cfg",
        str(folder / "tiny.cfg"),
        "--output",
        str(folder / "whole"),
        "--resume",
        "--seed",
        "5",
    )
    assert "was made with seed 0, this training has 5; it cannot be resumed exactly" in error


@pytest.mark.parametrize(
    "change, message",
    [
        (
            ("subdivisions=2", "subdivisions=3"),
            "subdivisions=3: expected a divisor of batch=4",
        ),
        (("classes=8", "classes=3"), "needs filters=24"),
        (
            ("max_batches=20", "max_batches=0"),
            "needs max_batches=, the number of steps (--max-batches)",
        ),
    ],
)
def test_cfgs_that_cannot_be_trained(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: tuple[str, str],
    message: str,
) -> None:
    """Each is told before anything is written."""
    (tmp_path / "bad.cfg").write_text((folder / "tiny.cfg").read_text().replace(*change))
    error = _error(
        capsys,
        "--data",
        str(folder / "scenes" / "scenes.data"),
        "--cfg",
        str(tmp_path / "bad.cfg"),
        "--output",
        str(tmp_path / "run"),
    )
    assert message in error and "bad.cfg" in error
    assert not (tmp_path / "run").exists()


def test_cfg_without_head(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A network without a loss."""
    (tmp_path / "bad.cfg").write_text((folder / "tiny.cfg").read_text().split("[yolo]")[0])
    error = _error(
        capsys,
        "--data",
        str(folder / "scenes" / "scenes.data"),
        "--cfg",
        str(tmp_path / "bad.cfg"),
        "--output",
        str(tmp_path / "run"),
    )
    assert "the network cannot be trained: expected a detection head" in error


@pytest.mark.parametrize(
    "words, message",
    [
        (["--seed", "-1"], "argument --seed: -1: expected a whole number from 0 to 4294967295 "),
        (
            ["--seed", "1" * 23],
            f"argument --seed: {'1' * 23}: expected a whole number from 0 to 4294967295 ",
        ),
        (["--seed", "x"], "argument --seed: x: expected a whole number from 0 to 4294967295 "),
        (["--eval-every", "-5"], "--eval-every -5: expected 0 or more"),
        (["--save-every", "0"], "--save-every 0: expected 1 or more"),
        (["--keep", "0"], "--keep 0: expected 1 or more"),
        (["--workers", "-1"], "--workers -1: expected 0 or more"),
        (["--threads", "0"], "--threads 0: expected 1 or more"),
        (["--max-batches", "0"], "--max-batches 0: expected 1 or more"),
    ],
)
def test_numbers_that_make_no_sense(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    """One line that names the flag."""
    try:
        status = cli.main(
            [
                "train",
                "--data",
                str(folder / "scenes" / "scenes.data"),
                "--cfg",
                str(folder / "tiny.cfg"),
                "--output",
                str(folder / "none"),
                *words,
            ]
        )
    except SystemExit as end:
        status = int(end.code or 0)
    error = capsys.readouterr().err
    assert status == 2 and message in error and error.count("\n") == 1
    assert not (folder / "none").exists()


@pytest.mark.parametrize(
    "command",
    [
        ["anchors", "--data", "x.data", "--num", "3"],
        ["plot-weights", "x.cfg"],
        ["adapt-cfg", "x.cfg", "--output", "y.cfg"],
    ],
)
def test_seeds_of_other_commands(capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    """Likewise."""
    for seed in ("-1", "1" * 23):
        with pytest.raises(SystemExit) as end:
            cli.main([*command, "--seed", seed])
        assert end.value.code == 2
        assert (
            f"argument --seed: {seed}: expected a whole number from 0 to" in capsys.readouterr().err
        )


def test_largest_seed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It works, with draws of the rate too."""
    cfg = folder / "random.cfg"
    text = (folder / "tiny.cfg").read_text()
    cfg.write_text(text.replace("policy=steps", "policy=random").replace("burn_in=4\n", ""))
    assert (
        cli.main(
            [
                "train",
                "--data",
                str(folder / "scenes" / "scenes.data"),
                "--cfg",
                str(cfg),
                "--output",
                str(folder / "seed"),
                "--workers",
                "0",
                "--max-batches",
                "2",
                "--seed",
                "4294967295",
            ]
        )
        == 0
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, as detect says it."""
    error = _error(
        capsys,
        "--data",
        str(folder / "scenes" / "scenes.data"),
        "--cfg",
        str(folder / "tiny.cfg"),
        "--output",
        str(folder / "none"),
        "--device",
        "cuda",
    )
    assert "error: device 'cuda' cannot be used here: " in error and error.count("\n") == 1


def test_burn_in_that_does_not_end(folder: Path) -> None:
    """A line warns of it, and the training continues."""
    status, _, err = train(folder, "--output", str(folder / "short"), "--max-batches", "3")
    assert status == 0
    assert (
        err == f"darknet-builder: warning: {folder / 'tiny.cfg'}:13: [net] burn_in=4: does not end"
        " before "
        "max_batches=3: the rate never reaches learning_rate=\n"
    )


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """A data set of its own, to be spoilt."""
    make_folder(tmp_path, train=2, valid=1)
    return tmp_path


@pytest.mark.parametrize(
    "labels, message",
    [
        ("8 .5 .5 .2 .2\n", "class 8: there are 8 classes, 0 to 7"),
        ("1 .5 .5 .2 0\n", "height 0: expected more than 0"),
    ],
)
def test_bad_labels(
    scenes: Path, capsys: pytest.CaptureFixture[str], labels: str, message: str
) -> None:
    """With file and line."""
    (scenes / "scenes" / "labels" / "train" / "000001.txt").write_text(labels)
    error = _error(
        capsys,
        "--data",
        str(scenes / "scenes" / "scenes.data"),
        "--cfg",
        str(scenes / "tiny.cfg"),
        "--output",
        str(scenes / "run"),
    )
    assert message in error and "000001.txt:1" in error


def test_labels_over_the_edge_are_errors_with_strict(
    scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (scenes / "scenes" / "labels" / "train" / "000001.txt").write_text("1 .5 .5 1.2 .3\n")
    data, cfg = scenes / "scenes" / "scenes.data", scenes / "tiny.cfg"
    error = _error(
        capsys, "--data", str(data), "--cfg", str(cfg), "--output", str(scenes / "run"), "--strict"
    )
    assert "000001.txt:1: '1 .5 .5 1.2 .3': the box reaches over the edge" in error


def test_no_boxes_at_all(scenes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Empty label files are fine, but not all of them."""
    for path in (scenes / "scenes" / "labels" / "train").iterdir():
        path.write_text("")
    error = _error(
        capsys,
        "--data",
        str(scenes / "scenes" / "scenes.data"),
        "--cfg",
        str(scenes / "tiny.cfg"),
        "--output",
        str(scenes / "run"),
    )
    assert "none of its 2 images has a box; expected at least one labelled object" in error


@pytest.mark.parametrize("workers", ["0", "1", "2"])
def test_an_image_that_cannot_be_read(
    scenes: Path, capsys: pytest.CaptureFixture[str], workers: str
) -> None:
    """One line, whoever reads it."""
    image = scenes / "scenes" / "images" / "train" / "000001.jpg"
    image.write_text("no picture")
    error = _error(
        capsys,
        "--data",
        str(scenes / "scenes" / "scenes.data"),
        "--cfg",
        str(scenes / "tiny.cfg"),
        "--output",
        str(scenes / "run"),
        "--workers",
        workers,
    )
    assert error == (
        f"darknet-builder: error: {scenes / 'scenes' / 'scenes.data'}: 1 of 3 images cannot be read:"
        f" {image}: not an image that OpenCV can read; repair them, or train without them"
        " (--skip-bad-images)\n"
    )


def test_one_image_is_enough(scenes: Path) -> None:
    """A list with one image trains: every sample shows it."""
    (scenes / "scenes" / "train.txt").write_text("images/train/000000.jpg\n")
    assert (
        cli.main(
            [
                "train",
                "--data",
                str(scenes / "scenes" / "scenes.data"),
                "--cfg",
                str(scenes / "tiny.cfg"),
                "--output",
                str(scenes / "run"),
                "--max-batches",
                "4",
                "--workers",
                "0",
            ]
        )
        == 0
    )


def test_show_samples(scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture, and no training."""
    monkeypatch.setattr("sys.stdout", io.StringIO())
    target = scenes / "samples.png"
    assert (
        cli.main(
            [
                "train",
                "--data",
                str(scenes / "scenes" / "scenes.data"),
                "--cfg",
                str(scenes / "tiny.cfg"),
                "--show-samples",
                str(target),
            ]
        )
        == 0
    )
    assert target.read_bytes().startswith(b"\x89PNG")
    assert not (scenes / "run").exists()
