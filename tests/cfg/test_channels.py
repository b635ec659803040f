"""``channels=``: what image files can give is said where a network is opened for them, and by
``check``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from darknet_builder import Detector, build_network
from darknet_builder.cli.program import main
from darknet_builder.errors import CfgError
from darknet_builder.evaluation.predictions import find_boxes
from darknet_builder.inspection.check import check
from darknet_builder.prediction.classifier import Classifier
from darknet_builder.weights.loader import save_weights

CFG = (
    "[net]\nwidth=32\nheight=32\nchannels={}\n[convolutional]\nfilters=6\nsize=1\nactivation=linear\n"
    "[yolo]\nmask=0\nanchors=4,4\nclasses=1\nnum=1\n"
)
CLASSIFIER = (
    "[net]\nwidth=32\nheight=32\nchannels=4\n[connected]\noutput=2\nactivation=linear\n[softmax]\n"
)
SAID = (
    ":4: [net] channels=4: images are read as 3 channels, or 1 as grey; with other numbers of"
    " channels, call network(x) with tensors"
)


def test_check_says_it() -> None:
    """An error: the network cannot be used for detection."""
    assert [finding.text for finding in check(CFG.format(4))] == [f"<text>{SAID}"]
    assert check(CFG.format(4))[0].level == "error"
    assert check(CFG.format(1)) == check(CFG.format(3)) == []


def test_whoever_reads_images_refuses() -> None:
    """In the first moment, and with the line."""
    network = build_network(CFG.format(4)).eval()
    for use in (
        lambda: Detector(network),
        lambda: list(find_boxes(network, [])),
        lambda: Classifier(build_network(CLASSIFIER)),
    ):
        with pytest.raises(CfgError, match=re.escape(SAID)):
            use()


def test_tensors_are_taken() -> None:
    """Other channels than colours are a matter of who makes the tensors."""
    assert build_network(CFG.format(4)).eval()(torch.rand(1, 4, 32, 32))[0].shape == (1, 6, 32, 32)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No advice on width and height."""
    (tmp_path / "a.cfg").write_text(CFG.format(4))
    network = build_network(tmp_path / "a.cfg")
    save_weights(network, tmp_path / "a.weights")
    (tmp_path / "a.png").write_bytes(b"x")
    status = main(
        [
            "detect",
            str(tmp_path / "a.png"),
            "--cfg",
            str(tmp_path / "a.cfg"),
            "--weights",
            str(tmp_path / "a.weights"),
        ]
    )
    error = capsys.readouterr().err
    assert status == 2 and SAID in error and "width=" not in error.splitlines()[-1]
