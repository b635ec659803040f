"""Numbers of a cfg and its files that no machine can hold: one line, before memory is taken."""

from __future__ import annotations

import re
import tracemalloc
from pathlib import Path

import pytest

from darknet_builder import build_network
from darknet_builder.cli.program import main
from darknet_builder.errors import CfgError
from darknet_builder.network import build
from darknet_builder.network.build import DEFAULT_MEMORY_LIMIT, limiting_memory
from darknet_builder.support import resident_memory
from darknet_builder.support.resident_memory import free_memory

NET = "[net]\nwidth=8\nheight=8\nchannels=3\n"
INT32 = "expected a whole number of 32 bits, -2147483648 to 2147483647"


def refused(text: str | Path) -> str:
    """Return the one line about a cfg, which takes less than 16 MB of Python's memory."""
    tracemalloc.start()
    with pytest.raises(CfgError) as error:
        build_network(text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16_000_000
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "value", ["2147483648", "-2147483649", "9" * 5000, "-" + "9" * 5000, "99999999999999999999"]
)
def test_whole_numbers_have_32_bits(value: str) -> None:
    """As Darknet's int."""
    text = refused(f"{NET}[convolutional]\nfilters={value}\n")
    assert text.startswith("<text>:6: [convolutional] filters=") and text.endswith(INT32)


def test_zeros_in_front_do_not_count() -> None:
    """The number is small."""
    network = build_network(f"{NET}[convolutional]\nfilters=+{'0' * 5000}2\n")
    assert network.layers[0].out_shape.channels == 2


@pytest.mark.parametrize("section", ["yolo", "Gaussian_yolo", "region", "detection"])
def test_num(section: str) -> None:
    """No list of 400 million anchors is made."""
    extra = "coords=4\n" if section == "detection" else ""
    text = refused(
        f"{NET}[convolutional]\nfilters=6\n[{section}]\nclasses=1\n{extra}num=400000000\n"
    )
    assert text.endswith(f"[{section}] num=400000000: expected 65536 or less")


@pytest.mark.parametrize(
    "layers",
    [
        "[convolutional]\nfilters=2000000000\n" * 2,
        "[connected]\noutput=2000000000\n" * 2,
        "[upsample]\nstride=2000000000\n",
        "[upsample]\nstride=30000\n" * 12,
        "[local]\nfilters=2000000000\nsize=1\n" * 2,
        "[convolutional]\nfilters=1000000\nsize=2000000000\npadding=2000000000\n",
        "[deconvolutional]\nfilters=2000000000\nsize=2000000000\n",
        "[crnn]\noutput=2000000000\nhidden=2000000000\n",
        "[conv_lstm]\noutput=2000000000\n",
        "[gru]\noutput=2000000000\n",
    ],
)  # fmt: skip
def test_products(layers: str) -> None:
    """Of sizes that 64 bits cannot count, or that memory cannot hold."""
    dialect = "pjreddie" if "deconv" in layers else None
    with pytest.raises(CfgError, match="is too large|more than the limit") as error:
        build_network(NET + layers, dialect=dialect)
    assert "\n" not in str(error.value)


HEAD = "[convolutional]\nfilters=7\nsize=1\n[region]\nanchors=1,1\nclasses=2\nnum=1\n"


@pytest.mark.parametrize("number", ["\N{SUPERSCRIPT TWO}", "9" * 5000, "--1", "2"])
def test_map(tmp_path: Path, number: str) -> None:
    """Digits are those of ASCII."""
    (tmp_path / "a.map").write_text(f"{number}\n", encoding="utf-8")
    (tmp_path / "a.cfg").write_text(f"{NET}{HEAD}map=a.map\n")
    assert "a.map:1: " in refused(tmp_path / "a.cfg")


@pytest.mark.parametrize("number", ["\N{SUPERSCRIPT TWO}", "9" * 5000, "--1", "1-"])
def test_tree(tmp_path: Path, number: str) -> None:
    """Parents are whole numbers."""
    (tmp_path / "a.tree").write_text(f"a {number}\nb -1\n", encoding="utf-8")
    (tmp_path / "a.cfg").write_text(f"{NET}{HEAD}tree=a.tree\n")
    assert "a.tree:1: " in refused(tmp_path / "a.cfg")


def test_a_deep_tree(tmp_path: Path) -> None:
    """Classes times depth would be 10^10."""
    lines = (f"c{index} {index - 1}\n" for index in range(100_000))
    (tmp_path / "a.tree").write_text("".join(lines))
    (tmp_path / "a.cfg").write_text(f"{NET}{HEAD}tree=a.tree\n")
    assert refused(tmp_path / "a.cfg").endswith("a.tree:4097: the tree is too large and too deep")


# ---- the limit of memory -------------------------------------------------------------------------

LARGE = f"{NET}[convolutional]\nfilters=100000\nsize=1\n"


def test_the_limit_is_half_of_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """100,000 maps of 8 x 8 take 24 MiB; what is unknown counts as 32 GiB."""
    for free, fits in ((2**25, False), (2**26, True), (None, True)):
        monkeypatch.setattr(build, "free_memory", lambda free=free: free)
        if fits:
            assert build_network(LARGE, initialize=False).layers
            continue
        with pytest.raises(CfgError, match=r"more than the limit of 0\.0 GiB") as error:
            build_network(LARGE)
        assert error.value.argument == "memory_limit"
        with limiting_memory(2**26):
            assert build_network(LARGE, initialize=False).layers
    assert DEFAULT_MEMORY_LIMIT == 2**34


def test_free_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's, or what is left of a container's limit."""
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  2048 kB\nMemAvailable:  1024 kB\n")
    monkeypatch.setattr(resident_memory, "_MACHINE", meminfo)
    monkeypatch.setattr(resident_memory, "_GROUP", tmp_path)
    assert free_memory() == 2**20
    (tmp_path / "memory.current").write_text("1000\n")
    for limit, free in (("max", 2**20), ("5000", 4000), ("500", 0), (f"{2**40}", 2**20)):
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        assert free_memory() == free
    monkeypatch.setattr(resident_memory, "_MACHINE", tmp_path / "none")
    assert free_memory() is None


def test_the_message_names_the_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a command its option."""
    with pytest.raises(CfgError) as error:
        build_network(LARGE, memory_limit=2**20)
    assert re.search(
        r"raise it with build_network\(\.\.\., memory_limit=BYTES\)$", str(error.value)
    )
    text = error.value.describe({"memory_limit": "--memory-limit"}.get)
    assert text.endswith(" (--memory-limit)")


def test_the_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It raises and lowers the limit; the message of the command names it."""
    cfg = tmp_path / "a.cfg"
    cfg.write_text(LARGE)
    assert main(["dump", str(cfg), "--memory-limit", ".01"]) == 2
    assert capsys.readouterr().err.endswith(" (--memory-limit)\n")
    assert main(["dump", str(cfg), "--memory-limit", "0.1"]) == 0
    for wrong in ("0", "nan", "-1", "many", "inf"):
        with pytest.raises(SystemExit):
            main(["dump", str(cfg), "--memory-limit", wrong])
        assert "expected a number of GiB above 0" in capsys.readouterr().err
