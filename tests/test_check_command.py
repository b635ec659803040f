"""``check``: all mistakes at once, none that only follows from another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from darknet_builder.checking import check
from darknet_builder.cli import main

BROKEN = """\
[net]
width=100
height=64
channels=3
batch=3
subdivisions=2
width=32
[convolutinal]
filters=8
[convolutional]
filters 16
size=three
[maxpool]
size=2
stride=2
[route]
layers=-1,9
[convolutional]
filters=18
activaton=linear
[yolo]
mask=0,1,2
anchors=1,2,3,4,5,6
num=3
classes=2
"""


def test_all_mistakes_at_once() -> None:
    """In one list, errors first; the [yolo] that only follows from an unbuilt section is not blamed."""
    assert [(finding.level, finding.text.removeprefix("<text>:")) for finding in check(BROKEN)] == [
        ("error", "11: [convolutional]: 'filters16' is no option; expected key=value"),
        ("error", "8: [convolutinal]: unknown section; did you mean 'convolutional'?"),
        ("error", "12: [convolutional] size=three: expected a whole number, got 'three'"),
        ("error", "17: [route] layers=-1,9: layer 9 does not exist: this is layer 3, so write 0 to 2, or -1 to -3"),
        ("warning", "2: [net] width=100: is no multiple of 32; detectors are made for such sizes"),
        ("warning", "6: [net] subdivisions=2: does not divide batch=3; Darknet rounds down"),
        ("warning", "7: [net] width=32: is ignored, because line 2 already says width=100"),
        ("warning", "9: [convolutinal] filters=8: no such option, it changes nothing"),
        ("warning", "20: [convolutional] activaton=linear: no such option, it changes nothing; "
                    "did you mean 'activation'?"),
    ]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines or JSON, exit status 1 with errors."""
    cfg = tmp_path / "a.cfg"
    cfg.write_text("[net]\ninputs=4\n[connected]\noutput=2\n[connected]\noutput=0\n")
    assert main(["check", str(cfg)]) == 1
    assert capsys.readouterr().out == (f"error: {cfg}:6: [connected] output=0: expected 1 or more\n"
                                       f"{cfg}: 1 errors, 0 warnings\n")
    assert main(["check", str(cfg), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)[0]["level"] == "error"


def test_weights_are_held_against_a_good_cfg(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And the way in which they are wrong is named."""
    cfg, weights = tmp_path / "a.cfg", tmp_path / "a.weights"
    cfg.write_text("[net]\ninputs=4\n[connected]\noutput=2\nactivation=linear\n")
    assert main(["check", str(cfg)]) == 0
    assert capsys.readouterr().out == f"{cfg}: 0 errors, 0 warnings\n"
    weights.write_bytes(b"<html>")
    assert main(["check", str(cfg), str(weights)]) == 1
    assert "is a web page, not the weights" in capsys.readouterr().out


@pytest.mark.slow
def test_real_cfgs_have_no_errors(shared: Path) -> None:
    """Every AlexeyAB cfg of the pack; their oddities are warnings."""
    for path in sorted((shared / "cfgs" / "alexeyab").glob("*.cfg")):
        assert [finding.text for finding in check(path) if finding.level == "error"] == [], path
