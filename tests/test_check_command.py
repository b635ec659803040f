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


NET = "[net]\nwidth=64\nheight=64\nchannels=3\n"
YOLO = "[yolo]\nmask=0,1,2\nanchors=1,2,3,4,5,6\nnum=3\nclasses=2\n"


@pytest.mark.parametrize(("text", "errors", "warned"), [
    (NET + "[convolutional]\nfilters=-3\nsize=0\nstride=x\nactivaton=linear\n",
     ["6: [convolutional] filters=-3: expected 1 or more", "7: [convolutional] size=0: expected 1 or more",
      "8: [convolutional] stride=x: expected a whole number, got 'x'"],
     ["9: [convolutional] activaton=linear: no such option, it changes nothing; did you mean 'activation'?"]),
    (NET + "batch=two\npolicy=stepss\n[convolutional]\nsize=none\n",
     ["5: [net] batch=two: expected a whole number, got 'two'",
      "6: [net] policy=stepss: expected one of constant, step, steps, exp, poly, random, sigmoid, sgdr; "
      "did you mean 'steps'?", "8: [convolutional] size=none: expected a whole number, got 'none'"], []),
    (NET + "[convolutional]\nfilters=21\nsize=1\nactivation=linear\n" + YOLO.replace("0,1,2", "0,1,7"),
     ["10: [yolo] mask=0,1,7: anchor 7 does not exist: there are 3"], []),
    ("[net]\nwidht=64\nheight=64\nchannels=3\n[convolutional]\n",
     ["1: [net]: needs width=, height= and channels= above 0, or inputs=; is 'widht' meant for it?"], []),
    (NET + NET, ["5: [net]: unknown section; it stands once, at the beginning"], []),
    (NET, [], ["1: [net]: no section follows: there is no network"]),
], ids=["a section's options", "the net's options", "options that were not reached", "a misspelt size", "two nets",
        "no layers"])
def test_one_mistake_hides_no_other(text: str, errors: list[str], warned: list[str]) -> None:
    """All options of a section are read; options that an error kept from being read are not called unknown."""
    found = check(text)
    assert sorted(one.text.removeprefix("<text>:") for one in found if one.level == "error") == sorted(errors)
    assert [one.text.removeprefix("<text>:") for one in found if one.level == "warning"] == warned


def test_a_web_page(tmp_path: Path) -> None:
    """What a browser saves from a repository's page."""
    cfg = tmp_path / "a.cfg"
    cfg.write_text("\n<!DOCTYPE html>\n<html>\n")
    assert [finding.text for finding in check(cfg)] == [
        f"{cfg}: is a web page, not a cfg; open its address in a browser and take the file itself"]
