"""Errors and warnings: their parts, their text, and the options that a command adds."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest

from darknet_builder.cfg import parser
from darknet_builder.cfg.source import read_cfg
from darknet_builder.data.data_file import DataFile
from darknet_builder.data.labels import read_labels
from darknet_builder.errors import (
    CfgError,
    CfgWarning,
    DarknetError,
    DataError,
    DataWarning,
    InputError,
    WeightsError,
)
from darknet_builder.network.build import build_network
from darknet_builder.weights.loader import load_weights

NET = "[net]\nwidth=8\nheight=8\nchannels=3\n"


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({}, "m"),
        ({"path": "a"}, "a: m"),
        ({"path": Path("a"), "line": 3}, "a:3: m"),
        ({"path": "a", "line": 3, "section": "net"}, "a:3: [net]: m"),
        ({"path": "a", "line": 3, "section": "net", "key": "k"}, "a:3: [net]: m"),
        (
            {"path": "a", "line": 3, "section": "net", "key": "k", "value": "v", "hint": "h"},
            "a:3: [net] k=v: m; h",
        ),
        ({"path": "a", "line": 3, "key": "k", "value": "v", "hint": "; h"}, "a:3: k=v: m; h"),
        ({"argument": "batch", "value": 0}, "batch=0: m"),
        ({"argument": "resume", "hint": "h"}, "m; h"),
    ],
)
def test_the_text_is_made_of_the_parts(parts: dict[str, Any], text: str) -> None:
    """Unknown parts are left out of the text."""
    error = CfgError("m", **parts)
    assert str(error) == error.describe() == text
    assert (
        error.message == "m" and error.key == parts.get("key") and error.line == parts.get("line")
    )


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (InputError("m", argument="batch", value=0), "--batch 0: m"),
        (InputError("m", argument="other", value=0), "other=0: m"),
        (InputError("m", argument="batch", hint="h"), "m; h (--batch)"),
        (InputError("m", argument=("batch", "other", "size")), "m (--batch, --size)"),
        (InputError("m", path="a", hint="h"), "a: m; h"),
    ],
)
def test_a_command_adds_its_options(error: DarknetError, text: str) -> None:
    """The option replaces the argument's name, or follows the text; other arguments are kept."""
    assert error.describe({"batch": "--batch", "size": "--size"}.get) == text


@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_errors_travel_between_processes(again: Any) -> None:
    """Text and parts survive pickling."""
    error = again(DataError("m", path="a", line=3, hint="h"))
    assert (str(error), error.path, error.line, error.hint, error.message) == (
        "a:3: m; h",
        "a",
        3,
        "h",
        "m",
    )


def _of(error: Any) -> tuple[object, ...]:
    return error.path, error.line, error.section, error.key, error.hint


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[net]\nwidth 8\n", ("<text>", 2, "net", None, "expected key=value")),
        (
            NET + "[maxpol]\n",
            ("<text>", 5, "maxpol", None, "did you mean 'maxpool'? A plugin can add sections"),
        ),
        (NET + "[convolutional]\nsize=x\n", ("<text>", 6, "convolutional", "size", None)),
        (
            NET + "[convolutional]\nactivation=leakey\n",
            ("<text>", 6, "convolutional", "activation", "did you mean 'leaky'?"),
        ),
        (NET + "[route]\nlayer=0\n", ("<text>", 5, "route", "layers", "is 'layer' meant for it?")),
        (
            NET + "[convolutional]\nfilters=3\n[yolo]\nmask=0\nanchors=1,2\nnum=1\nclasses=1\n",
            ("<text>", 6, "convolutional", "filters", None),
        ),
    ],
)
def test_cfg_errors_know_where(text: str, parts: tuple[object, ...]) -> None:
    """Errors have file, line, section, key and hint.

    A wrong size is blamed on the option before it.
    """
    with pytest.raises(CfgError) as caught:
        build_network(text)
    assert _of(caught.value) == parts


def test_cfg_warnings_know_where() -> None:
    """A warning about an unknown option has file, line, section and key."""
    with pytest.warns(CfgWarning) as caught:
        build_network(NET + "[convolutional]\nactivaton=linear\n")
    assert _of(caught[0].message) == (
        "<text>",
        6,
        "convolutional",
        "activaton",
        "did you mean 'activation'?",
    )


def test_data_errors_and_warnings_know_where(tmp_path: Path) -> None:
    """Errors and warnings about the ``.data`` file and a label file have file and line."""
    data, labels = tmp_path / "a.data", tmp_path / "a.txt"
    data.write_text("clases=2\ntop=none\n")
    labels.write_text("0 .5 .5 .1 .1\n7 .5 .5 .1 .1\n")
    with pytest.raises(DataError) as caught:
        assert DataFile.read(data).top
    assert _of(caught.value) == (str(data), 2, None, "top", None)
    with pytest.warns(DataWarning) as warned:
        assert not DataFile.read(data).has("classes")
    assert _of(warned[0].message) == (str(data), 1, None, "clases", "did you mean 'classes'?")
    with pytest.raises(DataError) as caught:
        read_labels(labels, 2)
    assert _of(caught.value) == (str(labels), 2, None, None, None)


def test_weights_errors_know_the_file(tmp_path: Path) -> None:
    """An error about weights has the file and a hint."""
    weights = tmp_path / "a.weights"
    weights.write_bytes(b"[net]")
    with pytest.raises(WeightsError) as caught:
        load_weights(build_network(NET + "[convolutional]\n"), weights)
    assert _of(caught.value) == (str(weights), None, None, None, "were cfg and weights exchanged?")


def test_a_cfg_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text and dialect note are read together."""
    cfg = tmp_path / "a.cfg"
    cfg.write_text("# dialect: pjreddie\n" + NET)
    reads: list[Path] = []
    read = parser.read_bounded
    monkeypatch.setattr(parser, "read_bounded", lambda path: reads.append(path) or read(path))
    source = read_cfg(cfg)
    assert source.dialect == "pjreddie" and source.blocks[0].line == 2
    assert reads == [cfg]
