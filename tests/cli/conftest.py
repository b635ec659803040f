"""Fixtures of the tests of ``darknet-builder darknet``."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import pytest

from darknet_builder.cli.program import main
from darknet_builder.images.files import write_image
from darknet_builder.weights.loader import save_weights
from tests.helpers.colour_classifier import CFG as CLASSIFIER_CFG
from tests.helpers.colour_classifier import colour_network, plain
from tests.helpers.darknet_program import Darknet


@pytest.fixture
def darknet(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Darknet:
    """Runs a line; gives the exit status, stdout and stderr."""

    def run(line: str, *, stdin: str = "", device: str = "-nogpu") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            status = main(["darknet", *line.split(), *device.split()])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def colours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A classifier of three colours, and two images whose paths have their labels."""
    (tmp_path / "net.cfg").write_text(CLASSIFIER_CFG)
    save_weights(colour_network(), tmp_path / "net.weights")
    (tmp_path / "labels.txt").write_text("red\ngreen\nblue\n")
    write_image(tmp_path / "red.png", plain(0, 0, 255))
    write_image(tmp_path / "blue.png", plain(0, 200, 100))
    (tmp_path / "list.txt").write_text("red.png\nblue.png\n")
    (tmp_path / "my.data").write_text(
        "classes=3\nlabels=labels.txt\ntrain=list.txt\nvalid=list.txt\nbackup=backup\ntop=2\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path
