"""What a training writes of itself, above all on a disk without room."""

from __future__ import annotations

import errno
import io
import threading
from pathlib import Path
from typing import Any

import pytest

from darknet_builder.errors import DarknetError, DataError, WeightsError
from darknet_builder.network.build import build_network
from darknet_builder.training.checkpoints import output_files as training_files
from darknet_builder.training.log import run_log
from darknet_builder.training.log.run_log import RunLog, read_log
from darknet_builder.training.log.step_report import StepReport
from darknet_builder.training.settings import TrainSettings
from darknet_builder.training.trainer import Trainer
from tests.training.test_trainer import STILL_CFG, Scenes

HINT = "No space left on device; free some disk space, then resume the training"
FULL = Path("/dev/full")


def fail(*args: Any, **options: Any) -> None:
    """What a full disk says."""
    raise OSError(errno.ENOSPC, "No space left on device")


def make_log(folder: Path) -> tuple[RunLog, io.StringIO]:
    """A log of ten steps, and its screen."""
    out = io.StringIO()
    return RunLog(folder, out, total=10), out


@pytest.mark.skipif(not FULL.exists(), reason="no device that is always full")
@pytest.mark.parametrize("act", [RunLog.flush, RunLog.draw_chart])
def test_no_room_for_the_log(tmp_path: Path, act: Any) -> None:
    """The training stops with an error of one line; closing the log adds no second one."""
    log, _ = make_log(tmp_path)
    log._file.close()
    log._file = FULL.open("a", encoding="utf-8")
    log.step(StepReport(1, 2.0, 0.1, 4, 0.5))
    with pytest.raises(DataError) as error:
        act(log)
    assert str(error.value) == f"{tmp_path / 'log.jsonl'}: cannot be written: {HINT}"
    log.close()


@pytest.mark.skipif(not FULL.exists(), reason="no device that is always full")
def test_no_room_for_a_long_line(tmp_path: Path) -> None:
    """A line that is too long to wait in memory fails at once."""
    log, _ = make_log(tmp_path)
    log._file.close()
    log._file = FULL.open("a", encoding="utf-8")
    with pytest.raises(DataError, match=HINT):
        log.step(StepReport(1, 2.0, 0.1, 4, 0.5, {f"part{number}": 1.5 for number in range(2000)}))
    log.close()


def test_no_room_at_the_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Likewise."""
    monkeypatch.setattr(run_log, "write_text", fail)
    with pytest.raises(DataError, match=HINT):
        make_log(tmp_path)


def test_no_room_for_the_chart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be done without."""
    pytest.importorskip("matplotlib")
    log, out = make_log(tmp_path)
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fail)
    log.draw_chart()
    log.close()
    assert out.getvalue().endswith("no chart.png: No space left on device\n")
    assert [path.name for path in tmp_path.iterdir() if "chart" in path.name] == []


def test_no_room_for_the_curves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They can be done without: one line, no traceback of the thread that writes them, and the log
    has all steps."""
    pytest.importorskip("tensorboard")
    others = threading.enumerate()  # of other tests' logs
    log, out = make_log(tmp_path)
    monkeypatch.setattr("tensorboard.summary.writer.record_writer.RecordWriter.write", fail)
    started = [thread for thread in threading.enumerate() if thread not in others]
    (writer,) = (t for t in started if type(t).__module__.startswith("tensorboard."))
    for step in range(1, 5):
        log.step(StepReport(step, 2.0, 0.1, 4, 0.5))
        writer.join(10)
    log.flush()
    log.close()
    assert (
        out.getvalue().count(
            "stopped writing curves for TensorBoard (log.jsonl has the numbers): No space left"
        )
        == 1
    )
    assert capsys.readouterr().err == ""
    assert [record["iteration"] for record in read_log(tmp_path / "log.jsonl")] == [1, 2, 3, 4]


def test_no_place_for_the_curves(tmp_path: Path) -> None:
    """From the beginning."""
    pytest.importorskip("tensorboard")
    (tmp_path / "tensorboard").write_text("")
    log, out = make_log(tmp_path)
    log.step(StepReport(1, 2.0, 0.1, 4, 0.5))
    log.close()
    assert "stopped writing curves for TensorBoard (log.jsonl has the numbers): " in out.getvalue()


@pytest.mark.parametrize(
    "line", [b"\xff\xfe", b"5", b"[]", b'{"loss": 1}', b'{"iteration": "x"}', b"[" * 100_000]
)
def test_a_log_of_something_else(line: bytes, tmp_path: Path) -> None:
    """Only the last line may be incomplete."""
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"iteration": 1}\n' + line)
    assert read_log(path) == [{"iteration": 1}]
    path.write_bytes(line + b'\n{"iteration": 1}\n')
    with pytest.raises(DataError) as error:
        read_log(path)
    assert str(error.value) == (
        f"{path}:1: cannot parse this line; expected a JSON object with a number of iterations"
    )


def test_a_log_that_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: Is a directory$"):
        read_log(tmp_path)


def test_other_threads_are_reported_as_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only TensorBoard's errors are caught; after the training the hook is restored."""
    seen: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", seen.append)
    log, _ = make_log(tmp_path)
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    log.close()
    assert len(seen) == 1 and threading.excepthook == seen.append


def make_trainer(folder: Path) -> Trainer:
    """Two steps."""
    network = build_network(STILL_CFG.replace("max_batches=20", "max_batches=2"))
    return Trainer(network, Scenes(), TrainSettings(folder, name="t"), out=io.StringIO())


def test_no_room_for_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cure is the same."""
    trainer = make_trainer(tmp_path)

    def refuse(*args: Any) -> None:
        raise WeightsError("t_last.weights: cannot be written: No space left on device")

    monkeypatch.setattr(training_files, "save_weights", refuse)
    with pytest.raises(WeightsError) as error:
        trainer.run()
    assert str(error.value) == f"t_last.weights: cannot be written: {HINT}"


@pytest.mark.skipif(not FULL.exists(), reason="no device that is always full")
def test_a_failure_is_not_hidden_by_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ended the training is what is said, though the log cannot be closed either."""
    trainer = make_trainer(tmp_path)

    def spoil(*args: Any) -> None:
        trainer.log._file = FULL.open("a", encoding="utf-8")
        trainer.log._file.write("a line")
        raise DarknetError("the cause")

    monkeypatch.setattr(trainer, "_step", spoil)
    with pytest.raises(DarknetError, match="^the cause$"):
        trainer.run()
