"""The worked plugins of docs/plugins.md, as files in a folder of their own: same numbers as the
sections of Darknet's that say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from darknet_builder import (
    CfgError,
    Detector,
    InputError,
    Network,
    build_network,
    export_network,
    find_unregistered,
    load_plugin,
    load_weights,
    optimize,
    save_weights,
)
from darknet_builder.cli.program import main
from darknet_builder.layers import registry
from darknet_builder.losses.base import find_loss

PAGE = Path(__file__).parents[2] / "docs" / "plugins.md"
NET = "[net]\nwidth=32\nheight=32\nchannels=3\n"
CONV = "[convolutional]\nfilters={}\nsize=3\nstride=2\npad=1\nactivation={}\n"
SE = NET + CONV.format(8, "leaky") + "[se]\nreduction=4\n"
SE_OF_DARKNET = (
    NET
    + CONV.format(8, "leaky")
    + "[avgpool]\n"
    + "[convolutional]\nfilters=2\nactivation=relu\n"
    + "[convolutional]\nfilters=8\nactivation=logistic\n"
    + "[scale_channels]\nfrom=-4\n"
)
OPTIONS = "mask=0,1\nanchors=4,5,9,7\nnum=2\nclasses=2\nscale_x_y=2\n"
YOLO4 = NET + CONV.format(14, "linear") + f"[yolo4]\n{OPTIONS}"
YOLO_OF_DARKNET = NET + CONV.format(14, "logistic") + f"[yolo]\n{OPTIONS}new_coords=1\n"


@pytest.fixture(autouse=True)
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page's files, loaded; the registry is as before after the test."""
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    folder = tmp_path / "plugins"
    folder.mkdir()
    for name, text in re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE.read_text(), re.DOTALL):
        (folder / name).write_text(text)
    assert sorted(path.name for path in folder.iterdir()) == ["se.py", "yolo4.py"]
    assert [load_plugin(path) for path in sorted(folder.iterdir())] == [["se"], ["yolo4"]]
    return folder


def pair(own: str, darknets: str, folder: Path) -> tuple[Network, Network]:
    """Both networks with the same weights, through a file that one writes and the other reads."""
    torch.manual_seed(0)
    ours, theirs = build_network(own).eval(), build_network(darknets).eval()
    save_weights(ours, folder / "a.weights")
    report = load_weights(theirs, folder / "a.weights")
    assert report.num_floats == ours.num_stored == theirs.num_stored
    return ours, theirs


@pytest.mark.parametrize(("own", "darknets"), [(SE, SE_OF_DARKNET), (YOLO4, YOLO_OF_DARKNET)])
def test_same_numbers(own: str, darknets: str, tmp_path: Path) -> None:
    """As the network of Darknet's own sections; the fast path too."""
    ours, theirs = pair(own, darknets, tmp_path)
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        expected = theirs.layer_outputs(x)[-1]
        assert torch.allclose(ours.layer_outputs(x)[-1], expected, atol=1e-6)
        raw, fast = ours(x), optimize(ours)(x)
    for one, other in zip(
        raw if isinstance(raw, list) else [raw],
        fast if isinstance(fast, list) else [fast],
        strict=True,
    ):
        assert torch.allclose(one, other, atol=1e-5)
    assert find_unregistered(ours) == []


def test_same_boxes(tmp_path: Path) -> None:
    """Of the two heads, at any threshold; and in a file that export wrote."""
    ours, theirs = pair(YOLO4, YOLO_OF_DARKNET, tmp_path)
    image = (torch.rand(20, 30, 3) * 255).byte().numpy()
    for threshold in (0.0, 0.3):
        found, expected = (
            Detector(network, threshold=threshold, nms=0.5)(image) for network in (ours, theirs)
        )
        assert len(found) == len(expected) > 0
        assert abs(found.boxes_xyxy - expected.boxes_xyxy).max() < 1e-3
        assert abs(found.scores - expected.scores).max() < 1e-6
    export_network(ours, tmp_path / "a.pt")
    again = build_network(tmp_path / "a.pt").eval()
    x = torch.rand(1, 3, 32, 32)
    assert torch.equal(again(x)[0], ours(x)[0])
    assert ours.heads[0].metadata()["logistic"] == "all values"


def test_mistakes_are_located() -> None:
    """As those of every section."""
    with pytest.raises(
        CfgError, match=r"^<text>:11: \[se\]: reduction=3 does not divide 8 channels$"
    ):
        build_network(SE.replace("reduction=4", "reduction=3"))
    with pytest.raises(CfgError, match=r"^<text>:6: \[convolutional\] filters=14: the \[yolo4\]"):
        build_network(YOLO4.replace("classes=2", "classes=3"))
    with pytest.raises(CfgError, match="the dialect pjreddie does not know this section"):
        build_network(SE, dialect="pjreddie")
    with pytest.raises(InputError, match=r"\[yolo4\] has no loss"):
        find_loss(build_network(YOLO4).heads[0])


def test_commands(plugins: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--plugin``, more than once."""
    cfg = tmp_path / "both.cfg"
    cfg.write_text(SE + CONV.format(14, "linear") + f"[yolo4]\n{OPTIONS}")
    words = [word for name in ("se", "yolo4") for word in ("--plugin", str(plugins / f"{name}.py"))]
    for command in ("check", "dump"):
        assert main([command, str(cfg), *words]) == 0
    out = capsys.readouterr().out
    assert f"{cfg}: 0 errors, 0 warnings" in out and "yolo4" in out
