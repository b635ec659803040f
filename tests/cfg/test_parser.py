"""The cfg grammar: what Darknet takes, what it warns of here, and the exact text of every error."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from darknet_builder.cfg.block import Block
from darknet_builder.cfg.diagnostics import Collector
from darknet_builder.cfg.parser import format_cfg, parse_cfg
from darknet_builder.errors import CfgError, CfgWarning
from darknet_builder.network import build
from darknet_builder.network.build import build_network

INVALID = Path(__file__).parents[1] / "data" / "cfg" / "invalid"
SMALL = """\
# a comment
[net]
  wid th = 32
height=32\t
channels=3

; another
[conv]
filters=8
activation = leaky
"""


@pytest.mark.parametrize("path", sorted(INVALID.glob("*.cfg")), ids=lambda path: path.stem)
def test_error_text(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Adding a case is adding a .cfg and a .txt with the line that it must give."""
    monkeypatch.chdir(INVALID)
    monkeypatch.setattr(build, "free_memory", lambda: 2**35)  # half of it is the limit
    with pytest.raises(CfgError) as caught:
        build_network(path.name)
    assert f"{caught.value}\n" == path.with_suffix(".txt").read_text()


def test_blocks_are_mappings_in_file_order() -> None:
    """``dict(block)`` is the plain block dict; blanks go, names and lines stay."""
    net, conv = parse_cfg(SMALL)
    assert dict(net) == {"width": "32", "height": "32", "channels": "3"}
    assert list(conv) == ["filters", "activation"]
    assert (conv.name, conv.line, conv.line_of("activation"), conv.line_of("missing")) == (
        "conv",
        8,
        10,
        8,
    )
    assert conv.where("filters") == "<text>:9: [conv] filters=8"


def test_line_endings_and_encodings(tmp_path: Path) -> None:
    """CRLF, a byte order mark and Latin-1 comments are all in real files."""
    path = tmp_path / "odd.cfg"
    path.write_bytes(b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode())
    assert parse_cfg(path) == parse_cfg(SMALL)
    path.write_bytes(b"# caf\xe9\n" + SMALL.encode())
    assert parse_cfg(str(path)) == parse_cfg(SMALL)


def test_round_trip() -> None:
    """What ``format_cfg`` writes parses to equal blocks."""
    blocks = parse_cfg(SMALL)
    assert parse_cfg(format_cfg(blocks)) == blocks
    assert blocks != parse_cfg(SMALL.replace("leaky", "relu"))
    assert blocks[0] != dict(blocks[0])


def test_round_trip_of_the_pack(shared: Path) -> None:
    """Every real cfg."""
    paths = sorted((shared / "cfgs").rglob("*.cfg"))
    assert len(paths) > 90
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CfgWarning)
        for path in paths:
            assert parse_cfg(format_cfg(parse_cfg(path))) == parse_cfg(path), path


def test_the_first_of_two_equal_keys_wins() -> None:
    """As in Darknet, but said, with both lines."""
    with pytest.warns(CfgWarning) as caught:
        blocks = parse_cfg("[net]\nwidth=32\nwidth=64\n")
    assert blocks[0]["width"] == "32"
    assert [str(warning.message) for warning in caught] == [
        "<text>:3: [net] width=64: is ignored, because line 2 already sets width=32"
    ]


@pytest.mark.parametrize(
    ("text", "value"), [("180###P6", 180), ("40#32", 40), ("-3", -3), ("+7", 7), ("5;x", 5)]
)
def test_comments_behind_numbers(text: str, value: int) -> None:
    """C's prefix rule, as real cfgs use it."""
    block = Block("net", {"key": text})
    assert block.get_int("key") == value
    assert block.get_ints("key") == [value]
    assert block.get_float("key") == value


@pytest.mark.parametrize(
    ("text", "value"), [(".5", 0.5), ("1e-3", 1e-3), ("0.7#x", 0.7), ("-2.", -2.0)]
)
def test_real_numbers(text: str, value: float) -> None:
    """Every form that atof takes in real cfgs."""
    assert Block("net", {"key": text}).get_float("key") == value


def test_text_after_a_number_is_said() -> None:
    """Darknet stops reading at the odd character; so do we, with a warning."""
    with pytest.warns(
        CfgWarning,
        match=r"^<text>:0: \[net\] key=7\.5: '\.5' after the number is ignored; "
        r"Darknet reads 7$",
    ):
        assert Block("net", {"key": "7.5"}).get_int("key") == 7


def test_lists_end_at_a_comment() -> None:
    """Masks, anchors and steps."""
    assert Block("yolo", {"mask": "1,2,3#4,5"}).get_ints("mask") == [1, 2, 3]
    assert Block("yolo", {}).get_floats("anchors", [0.5]) == [0.5]


def test_defaults_limits_and_choices() -> None:
    """What the readers do without an option, and with a wrong one."""
    block = Block("dropout", {"probability": ".5", "kind": "fats"}, line=3, source="a.cfg")
    assert block.get_int("stride", 2) == 2
    assert not block.get_flag("flip")
    assert block.get_str("map", None) == ""
    with pytest.raises(
        CfgError, match=r"^a\.cfg:3: \[dropout\] probability=\.5: expected 1 or more$"
    ):
        block.get_float("probability", minimum=1)
    with pytest.raises(CfgError, match=r"expected one of fast, slow; did you mean 'fast'\?$"):
        block.get_choice("kind", "fast", ("fast", "slow"))
    with pytest.raises(CfgError, match=r"^a\.cfg:3: \[dropout\]: needs size=, which is missing$"):
        block.get_int("size")


def test_options_that_nobody_reads_are_reported() -> None:
    """With file, line and the nearest known key."""
    text = "[net]\nwidth=32\nheight=32\nchannels=3\n[convolutional]\nfilters=4\nactivaton=relu\n"
    with pytest.warns(CfgWarning) as caught:
        build_network(text)
    assert [str(warning.message) for warning in caught] == [
        "<text>:7: [convolutional] activaton=relu: unknown option, it has no effect; did you mean"
        " 'activation'?"
    ]


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    """One line each."""
    with pytest.raises(CfgError, match=r"no such cfg file$"):
        parse_cfg(tmp_path / "nowhere.cfg")
    with pytest.raises(CfgError, match=r"cannot be read: Is a directory$"):
        parse_cfg(tmp_path)
    for text in ("", "\n"):
        with pytest.raises(CfgError, match=r"^<text>: is empty: a cfg begins with \[net\]$"):
            parse_cfg(text)


def test_parser_needs_no_torch() -> None:
    """Nor do errors, shapes and the package itself."""
    code = (
        "import sys, darknet_builder, darknet_builder.cfg.parser, darknet_builder.errors,"
        " darknet_builder.shapes; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_lines_before_the_first_section_are_reported_once() -> None:
    """And what follows them is read."""
    found = Collector()
    blocks = parse_cfg("width=8\n\nheight=8\n# net\n[net]\nchannels=3\n", diagnostics=found)
    assert [str(error) for error in found.errors] == [
        "<text>:1: 'width=8' is before the first section; begin the file with [net]"
    ]
    assert blocks == [Block("net", {"channels": "3"})]
    nothing = Collector()
    assert parse_cfg("width=8\nheight=8\n", diagnostics=nothing) == []
    assert len(nothing.errors) == 1


def test_a_text_of_another_kind() -> None:
    with pytest.raises(CfgError, match="^<text>: is a web page, not a cfg; "):
        parse_cfg("<!DOCTYPE html>\n<html>\n[net]\n")


def test_joined_numbers_are_placed_in_their_section() -> None:
    with pytest.warns(CfgWarning) as caught:
        parse_cfg("[net]\nwidth=8\n[yolo]\nanchors=1,2 3,4\n")
    (warning,) = (entry.message for entry in caught)
    assert isinstance(warning, CfgWarning)
    assert (warning.section, warning.line, warning.key) == ("yolo", 4, "anchors")
