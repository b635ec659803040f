"""``adapt_cfg``: the mistakes that it is there to mend, and every kind of head.

Darknet's rule for the layer before a head: filters = len(mask) * (classes + 5) for [yolo] (parser.c:443
asserts it), output = side^2 * (5 * num + classes) for [detection] (detection_layer.c:27).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from darknet_builder import CfgError, InputError, build_network, parse_cfg
from darknet_builder.cli.program import main
from darknet_builder.inspection.adapt import Adaptation, adapt_cfg, build_for_adapting
from tests.helpers.training_folder import TINY_CFG, make_folder

CFGS = Path(__file__).parents[2] / "cfg"


def adapt(text: str, adaptation: Adaptation) -> tuple[str, list[str]]:
    """The new text, and what was changed but for the schedule."""
    edited = adapt_cfg(text, parse_cfg(text), adaptation)
    return edited.text(), [line for line in edited.changes if "[net]" not in line]


@pytest.mark.parametrize("wrong", ["255", "18", "1"])
def test_wrong_filters_before_a_head(wrong: str) -> None:
    """They are replaced in any case, so it does not matter that the cfg does not build."""
    text = TINY_CFG.replace("filters=39", f"filters={wrong}")
    with pytest.raises(CfgError, match="needs filters=39"):
        build_network(text)
    new, changes = adapt(text, Adaptation(3))
    assert changes == [
        f"line 39: [convolutional] filters=24, was {wrong}",
        "line 48: [yolo] classes=3, was 8",
    ]
    assert build_network(new).heads[0].classes == 3


def test_wrong_classes() -> None:
    """The other half of the same mistake: classes= was changed, filters= was not."""
    new, changes = adapt(TINY_CFG.replace("classes=8", "classes=3"), Adaptation(3))
    assert changes == ["line 39: [convolutional] filters=24, was 39"]
    assert build_network(new).heads[0].classes == 3


def test_every_head_of_a_large_cfg() -> None:
    """Three heads, all wrong, in one go."""
    text = (CFGS / "yolov3.cfg").read_text().replace("classes=80", "classes=1")
    new, changes = adapt(text, Adaptation(2))
    assert [line.partition(": ")[2] for line in changes] == 3 * [
        "[convolutional] filters=21, was 255",
        "[yolo] classes=2, was 1",
    ]
    assert [head.classes for head in build_network(new, initialize=False).heads] == [2, 2, 2]


def test_other_mistakes_are_still_errors() -> None:
    """Only what is replaced may be wrong; nothing else is guessed."""
    for old, new, message in (
        ("stride=4", "stride=0", "expected 1 or more"),
        ("filters=16", "filters=x", "expected a whole number"),
        ("[dropout]\nprobability=.3", "[shortcut]\nfrom=-9", "layer -9 does not exist"),
    ):
        with pytest.raises(CfgError, match=message):
            adapt(TINY_CFG.replace(old, new), Adaptation(3))
    with pytest.raises(CfgError, match="which has no filters= to adapt"):
        adapt(TINY_CFG.replace("[yolo]", "[route]\nlayers=-1\n\n[yolo]"), Adaptation(3))


def test_the_first_detection_head() -> None:
    """YOLO v1: the [connected] before it gets its ``output=``."""
    text = (CFGS / "yolov1-tiny.cfg").read_text()
    new, changes = adapt(text, Adaptation(3))
    assert [line.partition(": ")[2] for line in changes] == [
        "[connected] output=637, was 1470",
        "[detection] classes=3, was 20",
    ]
    head = build_network(new, initialize=False).heads[0]
    assert (head.classes, head.in_shape.size) == (3, 7 * 7 * (3 + 2 * 5))
    wrong = text.replace("output=1470", "output=1715")
    assert adapt(wrong, Adaptation(3))[0] == new


def test_anchors_for_a_head_without_any() -> None:
    """They would be lost."""
    text = (CFGS / "yolov1-tiny.cfg").read_text()
    with pytest.raises(InputError, match="no head of the cfg has anchors"):
        adapt(text, Adaptation(3, np.ones((2, 2))))


@pytest.mark.parametrize("steps", [0, -5])
def test_a_training_without_steps(
    steps: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 is not the default, and the error names the argument instead of a line of the new text."""
    with pytest.raises(InputError, match=f"^max_batches={steps}: expected 1 or more$"):
        adapt(TINY_CFG, Adaptation(3, max_batches=steps))
    cfg, output = tmp_path / "tiny.cfg", tmp_path / "new.cfg"
    cfg.write_text(TINY_CFG)
    words = ["adapt-cfg", str(cfg), "--classes", "3", "--max-batches", str(steps)]
    assert main([*words, "--output", str(output)]) == 2
    error = capsys.readouterr().err
    assert error == f"darknet-builder: error: --max-batches {steps}: expected 1 or more\n"
    assert not output.exists()


def test_the_blocks_are_left_as_they_were() -> None:
    """What was mended is in the network alone."""
    blocks = parse_cfg(TINY_CFG.replace("filters=39", "filters=255"))
    assert build_for_adapting(blocks).heads[0].in_shape.channels == 39
    assert blocks[4]["filters"] == "255"


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With fitted anchors too, which need the network."""
    data, source, target = make_folder(tmp_path), tmp_path / "a.cfg", tmp_path / "b.cfg"
    source.write_text(TINY_CFG.replace("filters=39", "filters=255"))
    words = ["adapt-cfg", str(source), "--data", str(data), "--anchors", "fit"]
    assert main([*words, "--output", str(target)]) == 0
    assert "line 39: [convolutional] filters=39, was 255" in capsys.readouterr().out
    assert build_network(target).heads[0].classes == 8
