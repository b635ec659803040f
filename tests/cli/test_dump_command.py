"""``darknet-builder dump``: every listing as text and as JSON, filters, and what a user may get
wrong."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from darknet_builder import build_network, parse_cfg, summarize
from darknet_builder.cli.program import main
from tests.helpers.unit_networks import UNIT_CFGS

ROOT = Path(__file__).parents[2]
CFG = str(ROOT / "cfg" / "lesson.cfg")
KINDS = ("modules", "children", "parameters", "buffers", "summary", "blocks")


@pytest.fixture
def dump(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command and gives what it wrote; it must succeed without a word on stderr."""

    def run(*words: str) -> str:
        assert main(["dump", *words]) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        return captured.out

    return run


def last(text: str) -> str:
    return text.splitlines()[-1]


# ---- text ----------------------------------------------------------------------------------------


def test_summary_is_the_default(dump: Any) -> None:
    assert dump(CFG) == str(summarize(build_network(CFG)))


def test_modules(dump: Any) -> None:
    lines = dump(CFG, "--what", "modules").splitlines()
    assert lines[:5] == [
        "name                  type           parameters  output        details",
        "(the network)         Network            28,868",
        "layers                ModuleList         28,868",
        (
            "layers.0              Convolutional         232  64 x 64 x 8   "
            "filters=8, size=3, stride=1, activation=leaky"
        ),
        (
            "layers.0.conv         Convolution           216                "
            "3, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False"
        ),
    ]
    assert (
        "layers.7              Route                   0  16 x 16 x 16  layers=[6], groups=2,"
        " group_id=1" in lines
    )
    assert lines[-1] == "51 modules, 28,868 parameters"
    assert len(lines) == 51 + 2


def test_children_are_only_the_first_generation(dump: Any) -> None:
    assert (
        dump(CFG, "--what", "children") == "name    type        parameters  output  details\n"
        "layers  ModuleList      28,868\n"
        "1 child, 28,868 parameters\n"
    )
    assert (
        dump(CFG, "--what", "children", "--of", "layers.11")
        == "name                  type         parameters  output  details\n"
        "layers.11.conv        Convolution         357          "
        "16, 21, kernel_size=(1, 1), stride=(1, 1)\n"
        "layers.11.activation  Identity              0\n"
        "2 children, 357 parameters\n"
    )


def test_parameters_of_one_layer(dump: Any) -> None:
    assert (
        dump(CFG, "--what", "parameters", "--filter", "layers.11")
        == "name                   shape           values  dtype\n"
        "layers.11.conv.weight  (21, 16, 1, 1)     336  float32\n"
        "layers.11.conv.bias    (21,)               21  float32\n"
        "2 of 29 parameters, 357 of 28,868 values\n"
    )


def test_parameters_are_all_and_in_order(dump: Any) -> None:
    network = build_network(CFG)
    names = [line.split()[0] for line in dump(CFG, "--what", "parameters").splitlines()[1:-1]]
    assert names == [name for name, _ in network.named_parameters()]


def test_buffers_say_which_are_saved(dump: Any, tmp_path: Path) -> None:
    cfg = tmp_path / "blur.cfg"
    cfg.write_text(UNIT_CFGS["conv-antialiasing"])
    text = dump(str(cfg), "--what", "buffers", "--filter", "layers.1")
    assert text.splitlines()[1:] == [
        "layers.1.norm.running_mean         (8,)               8  float32  yes",
        "layers.1.norm.running_var          (8,)               8  float32  yes",
        "layers.1.norm.num_batches_tracked  ()                 1  int64    yes",
        "layers.1.blur.kernel               (8, 1, 3, 3)      72  float32  no",
        last(text),
    ]


def test_an_empty_listing(dump: Any) -> None:
    assert dump(CFG, "--what", "buffers", "--of", "layers.4") == "0 buffers, 0 values\n"


def test_blocks_are_cfg_text_again(dump: Any) -> None:
    text = dump(CFG, "--what", "blocks")
    assert parse_cfg(text) == parse_cfg(CFG)
    assert text.startswith("# net, line 5\n[net]\nwidth=64\n")
    assert "# layers.19, line 143\n[yolo]\nmask=0,1,2\n" in text
    assert last(text) == "# 21 blocks, 95 options"


def test_blocks_need_no_network(dump: Any, tmp_path: Path) -> None:
    cfg = tmp_path / "odd.cfg"
    cfg.write_text("[net]\nwidth=8\n\n[no_such_section]\nkey=1\n")
    assert "[no_such_section]\nkey=1\n" in dump(str(cfg), "--what", "blocks")


def test_shared_modules_are_listed_once_and_reached_by_both_names(
    dump: Any, tmp_path: Path
) -> None:
    cfg = tmp_path / "share.cfg"
    cfg.write_text(UNIT_CFGS["conv-share"])
    assert "layers.2.conv" not in dump(str(cfg), "--what", "modules")
    assert "layers.2.conv.weight" in dump(str(cfg), "--what", "parameters", "--of", "layers.2")


# ---- options -------------------------------------------------------------------------------------


def test_cfg_as_an_option_and_another_size(dump: Any) -> None:
    text = dump("--cfg", CFG, "--width", "96", "--height", "32", "--filter", "layers.0")
    assert "96 x  32 x    3 ->   96 x  32 x    8" in text


def test_dialect(dump: Any, tmp_path: Path) -> None:
    cfg = tmp_path / "strided.cfg"
    cfg.write_text(
        "[net]\nwidth=8\nheight=8\nchannels=4\n\n[maxpool]\nsize=2\nstride=2\n\n"
        "[maxpool]\nsize=2\nstride=2\n\n[shortcut]\nfrom=-2\nactivation=linear\n"
    )
    assert "StridedShortcut" in dump(str(cfg), "--what", "modules", "--dialect", "pjreddie")


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("layers.1", ["1.norm.weight", "1.norm.bias"]),  # whole parts: not layer 10
        ("layers.1.", ["1.norm.weight", "1.norm.bias"]),
        ("conv.weight", ["0.conv.weight", "10.conv.weight"]),
        ("bias", ["0.norm.bias", "1.norm.bias", "10.norm.bias"]),
        ("*.norm.bias", ["0.norm.bias", "1.norm.bias", "10.norm.bias"]),
        ("layers.?.norm.bias", ["0.norm.bias", "1.norm.bias"]),
        ("layers.1*bias", ["1.norm.bias", "10.norm.bias"]),
        ("layers.[1-9].norm.*", ["1.norm.weight", "1.norm.bias"]),
    ],
)
def test_filter(dump: Any, tmp_path: Path, pattern: str, names: list[str]) -> None:
    cfg = tmp_path / "net.cfg"
    cfg.write_text(
        "[net]\nwidth=8\nheight=8\nchannels=3\n\n[conv]\nfilters=2\nbatch_normalize=1\n\n[batchnorm]\n\n"
        + "[max]\n\n" * 8
        + "[conv]\nfilters=2\nbatch_normalize=1\n"
    )
    rows = dump(str(cfg), "--what", "parameters", "--filter", pattern).splitlines()[1:-1]
    assert [row.split()[0] for row in rows] == [f"layers.{name}" for name in names]


@pytest.mark.parametrize(
    ("what", "pattern", "total"),
    [
        ("modules", "BatchNorm2d", "8 of 51 modules, 336 of 28,868 parameters"),
        ("modules", "layers.0", "4 of 51 modules, 232 of 28,868 parameters"),
        ("children", "ModuleList", "1 child, 28,868 parameters"),
        (
            "summary",
            "yolo",
            "2 of 20 layers, 0 of 29,204 parameters (0 trainable), 0.000 of 0.019 BFLOPs",
        ),
        (
            "summary",
            "layers.1",
            "1 of 20 layers, 0 of 29,204 parameters (0 trainable), 0.000 of 0.019 BFLOPs",
        ),
        ("blocks", "layers.1?", "# 10 of 21 blocks, 39 of 95 options"),
        ("blocks", "net", "# 1 of 21 blocks, 13 of 95 options"),
    ],
)
def test_filter_by_name_or_type(dump: Any, what: str, pattern: str, total: str) -> None:
    assert last(dump(CFG, "--what", what, "--filter", pattern)) == total


# ---- JSON ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", KINDS)
def test_json_has_the_rows_of_the_text(dump: Any, what: str) -> None:
    data = json.loads(dump(CFG, "--what", what, "--format", "json"))
    assert (data["cfg"], data["what"], data["of"], data["filter"]) == (CFG, what, "", None)
    assert data["totals"] == data["totals_unfiltered"]
    count = {
        "modules": 51,
        "children": 1,
        "parameters": 29,
        "buffers": 24,
        "summary": 20,
        "blocks": 21,
    }[what]
    assert len(data["rows"]) == count == data["totals"].get("entries", data["totals"].get("layers"))


def test_json_rows(dump: Any) -> None:
    def rows(*words: str) -> list[Any]:
        return json.loads(dump(CFG, "--format", "json", *words))["rows"]

    assert rows("--what", "parameters", "--filter", "layers.4") == [
        {"name": "layers.4.weight", "shape": [2, 1], "values": 2, "dtype": "float32"}
    ]
    assert rows("--what", "buffers", "--filter", "layers.0.norm.running_var") == [
        {
            "name": "layers.0.norm.running_var",
            "shape": [8],
            "values": 8,
            "dtype": "float32",
            "saved": True,
        }
    ]
    assert rows("--what", "modules", "--filter", "Yolo")[0] == {
        "name": "layers.12",
        "type": "Yolo",
        "parameters": 0,
        "output": [21, 8, 8],
        "details": "mask=[3, 4, 5], classes=2",
    }
    assert rows("--what", "summary", "--filter", "layers.16")[0]["inputs"] == [
        [16, 16, 16],
        [32, 16, 16],
    ]
    assert rows("--what", "blocks", "--filter", "upsample") == [
        {"layer": 15, "name": "upsample", "line": 121, "options": {"stride": "2"}}
    ]


def test_json_totals(dump: Any) -> None:
    data = json.loads(
        dump(CFG, "--what", "parameters", "--filter", "layers.11", "--format", "json")
    )
    assert data["totals"] == {"entries": 2, "values": 357, "bytes": 4 * 357}
    assert data["totals_unfiltered"] == {"entries": 29, "values": 28868, "bytes": 4 * 28868}
    summary = json.loads(dump(CFG, "--format", "json"))["totals"]
    assert summary == {
        "layers": 20,
        "parameters": 29204,
        "trainable": 28868,
        "bflops": summary["bflops"],
    }


def test_json_without_rows(dump: Any) -> None:
    assert (
        json.loads(dump(CFG, "--what", "buffers", "--of", "layers.4", "--format", "json"))["rows"]
        == []
    )


# ---- what a user may get wrong -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no network given; give a .cfg, as the first word or with --cfg"),
        (
            ["a.cfg", "--cfg", "b.cfg"],
            "the network is given twice, as a.cfg and as --cfg b.cfg; leave one out",
        ),
        (["no.cfg"], "no.cfg: no such cfg file"),
        (
            [CFG, "--what", "parameters", "--filter", "wieght"],
            (
                "--filter wieght: matches none of the 29 parameters (names are like"
                " layers.18.conv.bias); did you mean 'weight'?"
            ),
        ),
        (
            [CFG, "--what", "parameters", "--filter", "layers.8"],
            (
                "--filter layers.8: matches none of the 29 parameters (names are like"
                " layers.18.conv.bias); did you mean 'layers'?"
            ),
        ),
        (
            [CFG, "--filter", "lstm"],
            "--filter lstm: matches none of the 20 layers (names are like layers.19)",
        ),
        (
            [CFG, "--what", "buffers", "--of", "layers.4", "--filter", "x"],
            "--filter x: matches none of the 0 buffers",
        ),
        (
            [CFG, "--what", "modules", "--of", "layer.4"],
            "--of layer.4: the network has no such module; did you mean 'layers.4'?",
        ),
        (
            [CFG, "--of", "layers.4"],
            (
                "--of layers.4: expected --what modules, children, parameters or buffers, got"
                " summary"
            ),
        ),
        ([CFG, "--width", "0"], "--width 0: expected 1 or more pixels"),
    ],
)
def test_mistakes_are_one_line(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["dump", *words]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"darknet-builder: error: {message}\n")


def test_the_script_is_the_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["dump.py", CFG, "--what", "children"])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(ROOT / "scripts" / "dump.py"), run_name="__main__")
    assert left.value.code == 0
    assert last(capsys.readouterr().out) == "1 child, 28,868 parameters"
