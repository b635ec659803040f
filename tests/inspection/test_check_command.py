"""``check``: all mistakes at once, none that only follows from another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from darknet_builder.cfg.net_options import NetOptions
from darknet_builder.cfg.parser import parse_cfg
from darknet_builder.cli.program import main
from darknet_builder.errors import CfgWarning
from darknet_builder.export.export import export_network
from darknet_builder.inspection.check import check
from darknet_builder.network.build import build_network
from darknet_builder.training.schedules import rate_at

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
    """In one list, errors first; the [yolo] that only follows from an unbuilt section is not
    blamed."""
    assert [(finding.level, finding.text.removeprefix("<text>:")) for finding in check(BROKEN)] == [
        ("error", "11: [convolutional]: cannot parse 'filters16'; expected key=value"),
        (
            "error",
            "8: [convolutinal]: unknown section; did you mean 'convolutional'? A plugin can add sections",
        ),
        ("error", "12: [convolutional] size=three: expected a whole number, got 'three'"),
        (
            "error",
            (
                "17: [route] layers=-1,9: layer 9 does not exist: this is layer 3, so write 0 to 2,"
                " or -1 to -3"
            ),
        ),
        ("warning", "2: [net] width=100: is not a multiple of 32, which detectors expect"),
        ("warning", "6: [net] subdivisions=2: does not divide batch=3; Darknet rounds down"),
        ("warning", "7: [net] width=32: is ignored, because line 2 already sets width=100"),
        (
            "warning",
            (
                "20: [convolutional] activaton=linear: unknown option, it has no effect; "
                "did you mean 'activation'?"
            ),
        ),
    ]


@pytest.mark.parametrize(
    ("options", "end"),
    [
        ("burn_in=4000\nmax_batches=1500", "max_batches=1500"),
        ("burn_in=6\nmax_batches=5", "max_batches=5"),
        ("burn_in=5\nmax_batches=5", ""),  # the last step has the whole rate
        ("burn_in=5\nmax_batches=9\npolicy=steps\nsteps=5,8\nscales=.1,.1", "steps=5"),
        ("burn_in=4\nmax_batches=9\npolicy=steps\nsteps=5,8\nscales=.1,.1", ""),
        ("burn_in=4\nmax_batches=9\npolicy=sgdr\nsteps=2,8\nscales=.1,.1", ""),
        ("burn_in=4000", ""),  # nothing is to be trained
        ("max_batches=9", ""),
    ],
)
def test_a_burn_in_without_an_end(options: str, end: str) -> None:
    """And what the schedule really gives: the whole rate in some step, or in none."""
    text = f"[net]\nwidth=32\nheight=32\nchannels=3\nlearning_rate=.1\n{options}\n[convolutional]\n"
    schedule = NetOptions.from_block(parse_cfg(text)[0]).schedule
    burn_in = f"burn_in={schedule.burn_in}"
    assert [finding.text for finding in check(text) if "burn_in" in finding.text] == (
        [
            f"<text>:6: [net] {burn_in}: does not end before {end}: the rate never reaches"
            " learning_rate="
        ]
        if end
        else []
    )
    if schedule.max_batches and schedule.policy != "sgdr":
        reached = max(rate_at(schedule, number) for number in range(1, schedule.max_batches + 1))
        assert (reached == 0.1) == (not end)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines or JSON, exit status 1 with errors."""
    cfg = tmp_path / "a.cfg"
    cfg.write_text("[net]\ninputs=4\n[connected]\noutput=2\n[connected]\noutput=0\n")
    assert main(["check", str(cfg)]) == 1
    assert (
        capsys.readouterr().out
        == f"error: {cfg}:6: [connected] output=0: expected 1 or more\n{cfg}: 1 error, 0 warnings\n"
    )
    assert main(["check", str(cfg), "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == [
        {
            "level": "error",
            "text": f"{cfg}:6: [connected] output=0: expected 1 or more",
            "path": str(cfg),
            "line": 6,
            "section": "connected",
            "key": "output",
            "hint": None,
        }
    ]


def test_findings_have_fields() -> None:
    """Mistakes, warnings and oddities alike: file, line, section, key and cure."""
    found = {
        (one.line, one.section, one.key, one.hint) for one in check(BROKEN) if one.path == "<text>"
    }
    assert found == {
        (11, "convolutional", None, "expected key=value"),
        (8, "convolutinal", None, "did you mean 'convolutional'? A plugin can add sections"),
        (12, "convolutional", "size", None),
        (17, "route", "layers", None),
        (2, "net", "width", None),
        (6, "net", "subdivisions", None),
        (7, "net", "width", None),
        (20, "convolutional", "activaton", "did you mean 'activation'?"),
    }


def test_weights_are_held_against_a_good_cfg(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the way in which they are wrong is named."""
    cfg, weights = tmp_path / "a.cfg", tmp_path / "a.weights"
    cfg.write_text("[net]\ninputs=4\n[connected]\noutput=2\nactivation=linear\n")
    assert main(["check", str(cfg)]) == 0
    assert capsys.readouterr().out == f"{cfg}: 0 errors, 0 warnings\n"
    weights.write_bytes(b"<html>")
    assert main(["check", str(cfg), str(weights)]) == 1
    assert "is a web page, not the weights" in capsys.readouterr().out


@pytest.mark.parametrize(
    "cfg", ["[net]\ninputs=4\n[connected]\noutput=0\n", "", "none.cfg", "[connected]\n"]
)
def test_weights_are_looked_at_whatever_the_cfg_is(cfg: str, tmp_path: Path) -> None:
    """Whether they are there, are weights at all, and hold whole floats."""
    for content, message in (
        (None, "no such weights file"),
        (b"<html>", "is a web page"),
        (b"short", "has 5 bytes"),
        (b"\0" * 23, "not a whole number of floats"),
        (b"\0" * 24, ""),
    ):
        weights = tmp_path / "a.weights"
        if content is not None:
            weights.write_bytes(content)
        errors = [finding.text for finding in check(cfg, weights) if finding.level == "error"]
        assert len(errors) == (2 if message else 1)
        assert not message or errors[1].startswith(f"{weights}: ") and message in errors[1]


def test_a_model_file(tmp_path: Path) -> None:
    """It holds cfg and weights; a second file of weights is one too many, a file without cfg is one
    too few."""
    text = "[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\nactivaton=linear\n"
    with pytest.warns(CfgWarning):
        network = build_network(text, dialect="pjreddie").eval()
    export_network(network, tmp_path / "a.pt")
    model = tmp_path / "a.pt"
    (warning,) = check(model)
    assert warning.level == "warning" and warning.text.startswith(f"{model}:")
    assert "[convolutional] activaton=linear: unknown option" in warning.text
    assert (
        check(model, "b.weights")[0].text == f"{model} holds weights already; leave b.weights out"
    )
    torch.save(network.state_dict(), tmp_path / "b.pt")
    assert (
        check(tmp_path / "b.pt")[0].text
        == f"{tmp_path / 'b.pt'}: holds weights and no cfg; give the cfg, and this file as its"
        " weights"
    )


NET = "[net]\nwidth=64\nheight=64\nchannels=3\n"
YOLO = "[yolo]\nmask=0,1,2\nanchors=1,2,3,4,5,6\nnum=3\nclasses=2\n"
CONV = "[convolutional]\nfilters=21\nsize=1\nactivation=linear\n"


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        (
            NET
            + "learning_rate=100\nmax_batches=500\npolicy=steps\nsteps=400,500\nscales=.1,.1\n"
            + CONV,
            [
                "5: [net] learning_rate=100: expected a number above 0 and up to 1",
                "8: [net] steps=400,500: the training ends before step 500, with max_batches=500",
            ],
        ),
        (
            NET + CONV + YOLO + "ignore_thresh=7\ntruth_thresh=-1\njitter=3\nrandom=.5\n",
            [
                "14: [yolo] ignore_thresh=7: expected a fraction from 0 to 1",
                "15: [yolo] truth_thresh=-1: expected a fraction from 0 to 1",
                "16: [yolo] jitter=3: expected a fraction from 0 to 1",
                ("17: [yolo] random=.5: expected 0, 1, or the largest scale factor, up to 3"),
            ],
        ),
        (
            NET + CONV.replace("21", "14") + YOLO.replace("0,1,2", "0,2"),
            ["10: [yolo] mask=0,2: anchor 1 (3,4) of 3: in no mask"],
        ),
        (
            NET + CONV.replace("linear", "leaky\nbatch_normalize=1") + YOLO,
            [
                (
                    "8: [convolutional] activation=leaky: the [yolo] of line 10 expects"
                    " activation=linear"
                ),
                (
                    "9: [convolutional] batch_normalize=1: the [yolo] of line 10 expects a"
                    " convolution without batch norm"
                ),
            ],
        ),
        (NET + CONV.replace("linear", "logistic\nbatch_normalize=1") + YOLO + "new_coords=1\n", []),
        (
            NET + CONV + YOLO + CONV.replace("21", "2") + "[maxpool]\nsize=2\n",
            [
                "18: [maxpool]: no layer reads layer 3, and it is not a head: its output is never"
                " used"
            ],
        ),
        (NET + CONV + "[avgpool]\n[softmax]\n[cost]\n", []),
    ],
    ids=[
        "schedule",
        "head",
        "anchors",
        "the convolution before",
        "new_coords",
        "dead layers",
        "a classifier",
    ],
)
def test_oddities(text: str, warned: list[str]) -> None:
    """What builds, but is seldom meant; nothing is odd where it is right."""
    assert [(one.level, one.text.removeprefix("<text>:")) for one in check(text)] == [
        ("warning", line) for line in warned
    ]


@pytest.mark.pack
def test_real_cfgs_are_seldom_odd(shared: Path) -> None:
    """They have no errors, and few oddities: an anchor of no head, a key given twice."""
    found = [
        finding
        for folder in ("alexeyab", "pjreddie")
        for path in sorted((shared / "cfgs" / folder).glob("*.cfg"))
        for finding in check(path, dialect=folder)
    ]
    assert len(found) < 12
    assert {finding.level for finding in found} == {"warning"}
    oddities = ("in no mask", "already sets", "is beyond num=")
    assert all(any(oddity in finding.text for oddity in oddities) for finding in found)


@pytest.mark.parametrize(
    ("text", "errors", "warned"),
    [
        (
            NET + "[convolutional]\nfilters=-3\nsize=0\nstride=x\nactivaton=linear\n",
            [
                "6: [convolutional] filters=-3: expected 1 or more",
                "7: [convolutional] size=0: expected 1 or more",
                "8: [convolutional] stride=x: expected a whole number, got 'x'",
            ],
            [
                "9: [convolutional] activaton=linear: unknown option, it has no effect; did you"
                " mean 'activation'?"
            ],
        ),
        (
            NET + "batch=two\npolicy=stepss\n[convolutional]\nsize=none\n",
            [
                "5: [net] batch=two: expected a whole number, got 'two'",
                (
                    "6: [net] policy=stepss: expected one of constant, step, steps, exp, poly,"
                    " random, sigmoid, sgdr; did you mean 'steps'?"
                ),
                "8: [convolutional] size=none: expected a whole number, got 'none'",
            ],
            [],
        ),
        (
            NET
            + "[convolutional]\nfilters=21\nsize=1\nactivation=linear\n"
            + YOLO.replace("0,1,2", "0,1,7"),
            ["10: [yolo] mask=0,1,7: anchor 7 does not exist: there are 3"],
            [],
        ),
        (
            "[net]\nwidht=64\nheight=64\nchannels=3\n[convolutional]\n",
            [
                "1: [net]: needs width=, height= and channels= above 0, or inputs=; is 'widht'"
                " meant for it?"
            ],
            [],
        ),
        (
            NET
            + "[convolutional]\nfilters=21\nsize=1\nactivation=linear\n"
            + YOLO.replace("5,6", "5")
            + "nms_kind=gredynms\nmax=0\n",
            [
                (
                    "11: [yolo] anchors=1,2,3,4,5: num=3 needs 6 numbers, but 5 are given: pairs"
                    " (1,2) (3,4); the head uses anchor 2, which is incomplete"
                ),
                (
                    "14: [yolo] nms_kind=gredynms: expected one of default, greedynms, diounms,"
                    " cornersnms; did you mean 'greedynms'?"
                ),
                "15: [yolo] max=0: expected 1 or more",
            ],
            [],
        ),
        (
            "[net]\nchannels=3\npolicy=steps\nscales=.1\nmomentum=much\n[convolutional]\nsize=none\n",
            [
                "1: [net]: needs width=, height= and channels= above 0, or inputs=",
                (
                    "3: [net] policy=steps: needs as many scales as steps: 0 steps and 1 scales are"
                    " given"
                ),
                "5: [net] momentum=much: expected a whole number, got 'much'".replace("whole ", ""),
                "7: [convolutional] size=none: expected a whole number, got 'none'",
            ],
            [],
        ),
        (
            "[convolutional]\nsize=none\n[maxpol]\n",
            [
                "1: [convolutional]: the first section must be [net]",
                "2: [convolutional] size=none: expected a whole number, got 'none'",
                "3: [maxpol]: unknown section; did you mean 'maxpool'? A plugin can add sections",
            ],
            [],
        ),
        ("", [": is empty: a cfg begins with [net]".removeprefix(":")], []),
        (NET + NET, ["5: [net]: unknown section; a cfg has only one, at its beginning"], []),
        (NET, [], ["1: [net]: no section follows, so the network has no layers"]),
    ],
    ids=[
        "a section's options",
        "the net's options",
        "options that were not reached",
        "a misspelt size",
        "a bad list",
        "no size",
        "no net",
        "nothing",
        "two nets",
        "no layers",
    ],
)
def test_one_mistake_hides_no_other(text: str, errors: list[str], warned: list[str]) -> None:
    """All options of a section are read; options that an error kept from being read are not called
    unknown."""
    found = check(text)
    assert sorted(
        one.text.removeprefix("<text>:") for one in found if one.level == "error"
    ) == sorted(errors)
    assert [one.text.removeprefix("<text>:") for one in found if one.level == "warning"] == warned


def test_a_web_page(tmp_path: Path) -> None:
    """What a browser saves from a repository's page."""
    cfg = tmp_path / "a.cfg"
    cfg.write_text("\n<!DOCTYPE html>\n<html>\n")
    assert [finding.text for finding in check(cfg)] == [
        f"{cfg}: is a web page, not a cfg; open its address in a browser and take the file itself"
    ]
