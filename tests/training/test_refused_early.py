"""What can be known without the images is refused before they are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from darknet_builder.cli.program import main
from darknet_builder.training import datasets
from tests.helpers.training_folder import make_folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set whose image files must not be looked at."""
    make_folder(tmp_path, train=2, valid=1)

    def fail(*arguments: object) -> None:
        raise AssertionError("the images were read")

    monkeypatch.setattr(datasets, "check_images", fail)
    return tmp_path


def error_of(folder: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """Return the line of a training that is refused."""
    data, cfg = folder / "scenes" / "scenes.data", folder / "tiny.cfg"
    status = main(["train", "--data", str(data), "--cfg", str(cfg), *options])
    (line,) = capsys.readouterr().err.splitlines()
    assert status == 2
    return line.replace(str(folder), "FOLDER")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "no output folder given; give --output DIR"),
        (["--output", "run", "--device", "cdua"], "device 'cdua' is unknown; expected cpu, "),
        (["--output", "run", "--device", "meta"], "device 'meta' cannot be used here: "),
        (["--output", "run", "--lr", "norm"], "norm"),
        (["--output", "run", "--resume", "--overwrite"], "resume and overwrite exclude each other"),
    ],
)
def test_options(
    folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    """Output, device and rules."""
    assert message in error_of(folder, capsys, *options)


def test_a_folder_with_a_training(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its files stay."""
    run = folder / "run"
    run.mkdir()
    (run / "tiny_last.weights").write_bytes(b"weights")
    error = error_of(folder, capsys, "--output", str(run))
    assert "FOLDER/run: already contains a training (tiny_last.weights)" in error
    assert [path.name for path in run.iterdir()] == ["tiny_last.weights"]


@pytest.mark.parametrize("options", [[], ["--resume"]])
@pytest.mark.parametrize("name", ["tiny_last.weights", "small_final.weights", "a_1000.weights"])
def test_weights_without_a_checkpoint(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, options: list[str]
) -> None:
    """Another program trained them: a training that starts at step 0 would overwrite them."""
    run = folder / "run"
    run.mkdir()
    (run / name).write_bytes(b"weights")
    assert error_of(folder, capsys, "--output", str(run), *options) == (
        f"darknet-builder: error: FOLDER/run: already contains a training ({name}), but no"
        " checkpoint to resume from; continue it from these weights, overwrite it, or use another"
        " folder (--continue, --weights, --overwrite)"
    )
    assert [path.read_bytes() for path in run.iterdir()] == [b"weights"]


def test_fewer_names_than_classes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Else the first validation would end the training."""
    names = folder / "scenes" / "scenes.names"
    names.write_text("\n".join(names.read_text().split()[:5]) + "\n")
    error = error_of(folder, capsys, "--output", str(folder / "run"))
    assert "5 names" in error and "8 classes" in error
    assert not (folder / "run").exists()
