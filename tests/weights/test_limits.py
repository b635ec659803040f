"""Weights files and downloads at their limits: exact sizes, cut-offs, classes, space on the disk."""

from __future__ import annotations

import hashlib
import shutil
import struct
from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from darknet_builder.cfg.dialects import get_dialect
from darknet_builder.cfg.model_files import write_model_file
from darknet_builder.cfg.model_metadata import ModelMetadata
from darknet_builder.errors import DownloadError, InputError, WeightsError
from darknet_builder.layers.base import WeightsHeader
from darknet_builder.network.build import build_network
from darknet_builder.network.network import Network
from darknet_builder.weights import downloads
from darknet_builder.weights.downloads import (
    Download,
    Expected,
    _check,
    _check_space,
    _Part,
    download,
)
from darknet_builder.weights.entries import weight_entries
from darknet_builder.weights.header import has_short_seen, open_weights
from darknet_builder.weights.loader import load_weights, look_at_weights
from darknet_builder.weights.models import find_model
from darknet_builder.weights.official import official_files
from tests.helpers.web_server import serve

NET = "[net]\nwidth=8\nheight=8\nchannels=3\n"
ONE = "[convolutional]\nfilters=2\nactivation=linear\n"
"""2 biases and 2 * 3 weights after the image, or 2 * 2 after another of them."""
HEADER = struct.pack("<iiiQ", 0, 2, 5, 0)


def write(path: Path, floats: int, header: bytes = HEADER) -> Path:
    path.write_bytes(header + np.full(floats, 0.5, "<f4").tobytes())
    return path


def refusal(network: Network, floats: int, folder: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        load_weights(network, write(folder / "a.weights", floats))
    return str(caught.value)


# ---- the header ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("major", "minor", "short", "short_in_pjreddie"),
    [
        (0, 0, True, True),
        (0, 1, True, True),
        (0, 2, False, False),
        (1, 0, False, False),
        (1, -8, False, False),  # 10 * 1 - 8 = 2
        (1, -9, True, True),
        (0, 999, False, False),
        (0, 1000, False, True),
        (999, 0, False, False),
        (1000, 0, False, True),
    ],
)
def test_the_size_of_seen(major: int, minor: int, short: bool, short_in_pjreddie: bool) -> None:
    """parser.c:2260: below 0.2, and pjreddie's from 1000 on."""
    assert has_short_seen(get_dialect("alexeyab"), major, minor) is short
    assert has_short_seen(get_dialect("pjreddie"), major, minor) is short_in_pjreddie


@pytest.mark.parametrize(
    ("header", "start"), [(HEADER, 20), (struct.pack("<iiiI", 0, 1, 5, 7), 16)]
)
def test_a_file_that_is_only_a_header(header: bytes, start: int, tmp_path: Path) -> None:
    path = tmp_path / "a.weights"
    for floats in (0, 1, 3):
        write(path, floats, header)
        assert open_weights(get_dialect("alexeyab"), str(path))[1:] == (start, floats)
    path.write_bytes(header[:-1])
    with pytest.raises(WeightsError, match=f"has {start - 1} bytes, less than"):
        open_weights(get_dialect("alexeyab"), str(path))


def test_a_file_of_text(tmp_path: Path) -> None:
    path = tmp_path / "a.weights"
    path.write_bytes("Größe und Gewicht, 0.5 0.25\r\n".encode())
    with pytest.raises(WeightsError, match="is text, not weights"):
        open_weights(get_dialect("alexeyab"), str(path))


@pytest.mark.parametrize(
    ("byte", "is_text"),
    [
        (0x1F, False),
        (0x20, True),
        (0x7E, True),
        (0x7F, False),
        (0x80, True),
        (0xFF, True),
        (0x09, True),
        (0x0B, False),
    ],
)
def test_bytes_of_text(byte: int, is_text: bool, tmp_path: Path) -> None:
    """Control characters are in no text. Only the bytes of a header are looked at."""
    path = tmp_path / "a.weights"
    path.write_bytes(b"a" * 19 + bytes([byte]) + bytes(4))
    try:
        open_weights(get_dialect("alexeyab"), str(path))
    except WeightsError as error:
        assert is_text and "is text, not weights" in str(error)
    else:
        assert not is_text


def test_a_network_without_weights(tmp_path: Path) -> None:
    network = build_network(f"{NET}[avgpool]\n")
    report = load_weights(network, write(tmp_path / "a.weights", 0))
    assert (report.num_floats, report.num_layers) == (0, 0)
    assert "1 floats are left over after the 0" in refusal(network, 1, tmp_path)


# ---- cut-offs and classes ------------------------------------------------------------------------


def test_until_the_last_layer(tmp_path: Path) -> None:
    network = build_network(NET + ONE + ONE)
    assert len(weight_entries(network, until=2)) == 4
    assert load_weights(network, write(tmp_path / "a.weights", 14), until=2).num_floats == 14
    for until in (0, 3, -1):
        with pytest.raises(InputError, match="expected a layer from 1 to 2"):
            weight_entries(network, until=until)


@pytest.mark.parametrize(
    ("text", "floats", "until"),
    [
        (ONE + ONE, 8, 1),
        (ONE + "[maxpool]\n[maxpool]\n" + ONE, 8, 1),
        ("[maxpool]\n" + ONE + ONE + ONE, 14, 3),
        (ONE + ONE + "[maxpool]\n" + ONE, 14, 2),
    ],
)
def test_a_cut_off_is_named(text: str, floats: int, until: int, tmp_path: Path) -> None:
    """By the smallest number that loads all of it."""
    network = build_network(NET + text)
    assert f"load such a cut-off with until={until}," in refusal(network, floats, tmp_path)
    path = write(tmp_path / "a.weights", floats)
    assert load_weights(network, path, until=until).num_floats == floats


@pytest.mark.parametrize("floats", [0, 1, 2, 7, 9, 10])
def test_what_is_not_a_cut_off(floats: int, tmp_path: Path) -> None:
    """It ends within a layer, between the biases and the weights of one, or before all."""
    assert "cut-off" not in refusal(build_network(NET + ONE + ONE), floats, tmp_path)


def detector(*classes: int, filters: int | None = None) -> str:
    """A cfg with a head for each number of classes, of one anchor each."""
    text = NET + ONE
    for index, number in enumerate(classes):
        source = "" if not index else "[route]\nlayers=0\n"
        text += f"{source}[convolutional]\nfilters={filters or 5 + number}\nactivation=linear\n"
        text += f"[yolo]\nanchors=1,2\nclasses={number}\n"
    return text


@pytest.mark.parametrize(
    ("classes", "difference", "found"),
    [
        ((3,), 3, 4),  # a class is a bias and two weights
        ((3,), -3, 2),
        ((3,), -6, 1),
        ((3,), -9, None),  # no class would be left
        ((3,), 4, None),
        ((3, 3), 6, 4),
        ((3, 3), 3, None),
        ((3, 2), 6, None),  # heads of different classes
    ],
)
def test_the_number_of_classes_that_fits(
    classes: tuple[int, ...], difference: int, found: int | None, tmp_path: Path
) -> None:
    network = build_network(detector(*classes))
    text = refusal(network, network.num_stored + difference, tmp_path)
    expected = f"it fits this cfg with classes={found} (and filters to match) instead of 3"
    assert (expected in text) == (found is not None)
    assert ("it fits" in text) == (found is not None)


def test_a_head_after_a_layer_without_weights(tmp_path: Path) -> None:
    """No number of classes would change the length of the file."""
    text = NET + "[convolutional]\nfilters=8\nactivation=linear\n[maxpool]\nsize=1\n"
    network = build_network(text + "[yolo]\nanchors=1,2\nclasses=3\n")
    for difference in (-1, 1):
        assert "belongs to another cfg" in refusal(
            network, network.num_stored + difference, tmp_path
        )


# ---- model files ---------------------------------------------------------------------------------


def test_a_model_file(tmp_path: Path) -> None:
    """Its tensors have names, so all are loaded; the header is in its metadata."""
    path = tmp_path / "a.pt"
    source, network = build_network(NET + ONE + "[maxpool]\n" + ONE), build_network(NET + ONE + ONE)
    for layer in source.sequence()[::2]:
        layer.conv.weight.data.fill_(0.25)
    write_model_file(path, source, ModelMetadata(header=(1, 3, 7, 640)))
    look_at_weights(path, get_dialect("alexeyab"))
    with pytest.raises(InputError, match="holds tensors by name, .* all together") as error:
        load_weights(network, path, until=1)
    assert (error.value.argument, error.value.value) == ("until", "1")
    with pytest.raises(WeightsError):
        load_weights(network, path)  # its second convolution is layer 2
    network = build_network(NET + ONE + "[maxpool]\n" + ONE)
    report = load_weights(network, path)
    assert report.header == network.header == WeightsHeader(1, 3, 7, 640)
    assert (report.num_floats, report.num_layers, report.until) == (14, 2, None)
    assert (network.sequence()[2].conv.weight == 0.25).all()


def test_a_look_at_weights(tmp_path: Path) -> None:
    """Kind and length, without a network."""
    look_at_weights(write(tmp_path / "a.weights", 3), get_dialect("alexeyab"))
    (tmp_path / "a.weights").write_bytes(b"abc" * 9)
    with pytest.raises(WeightsError, match="is text"):
        look_at_weights(tmp_path / "a.weights", get_dialect("alexeyab"))
    (tmp_path / "a.pt").write_bytes(b"abc" * 9)
    with pytest.raises(WeightsError):
        look_at_weights(tmp_path / "a.pt", get_dialect("alexeyab"))


def test_reports_are_fixed(tmp_path: Path) -> None:
    """A table's row or a report does not change after it was made."""
    network = build_network(NET + ONE)
    path = write(tmp_path / "a.weights", 8)
    for item in (
        load_weights(network, path),
        weight_entries(network)[0],
        official_files()["yolov4"],
        official_files()["yolov4"].expected,
        Download(path, 52, "", fetched=False),
        find_model("shapes"),
    ):
        with pytest.raises(FrozenInstanceError):
            setattr(item, fields(item)[0].name, None)


# ---- downloads -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("free", "kept", "start", "fits"),
    [
        (100, 0, 0, True),
        (99, 0, 0, False),
        # 40 bytes are there and 39 of them stay: 61 are needed, and the place of one is free.
        (60, 40, 39, True),
        (59, 40, 39, False),
        # All 40 are fetched again, over the old ones.
        (60, 40, 0, True),
        (59, 40, 0, False),
    ],
)
def test_space_on_the_disk(
    free: int, kept: int, start: int, fits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    part = _Part(tmp_path / "a.part")
    part.path.write_bytes(b"x" * kept)
    expected = Expected((100, 96), {})
    if fits:
        _check_space(expected, part, start)
        return
    words = f"{100 - start} bytes are needed, but {free + kept - start} are free"
    with pytest.raises(DownloadError, match=words):
        _check_space(expected, part, start)


def test_a_part_that_somebody_removed(tmp_path: Path) -> None:
    part = _Part(tmp_path / "a.part")
    part.discard()
    part.begin("http://example.org/a", "one")
    part.discard()
    assert not list(tmp_path.iterdir())


def test_every_wrong_checksum(tmp_path: Path) -> None:
    """The strongest is the one that the message names."""
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    wrong = {"sha256": ("0" * 64,), "sha1": ("1" * 40,), "md5": ("2" * 32,)}
    with pytest.raises(downloads._WrongFileError, match=f"sha256 is .*; expected {'0' * 64}$"):
        _check(Expected((3,), wrong), path)
    known = {**wrong, "md5": (hashlib.md5(b"abc").hexdigest(),)}
    assert _check(Expected((3,), known), path) == "md5"


def test_bad_answers_to_a_second_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of one byte is resumed; an error then is not answered by a request for everything; a
    file that is wrong both times is removed; the server's other total is told."""
    monkeypatch.setattr(downloads, "_CHUNK", 1000)
    content = bytes(range(256)) * 4
    expected = Expected((1024, 1020), {"sha256": (hashlib.sha256(content).hexdigest(),)})
    target, part = tmp_path / "a", tmp_path / "a.part"
    with serve() as site:
        site.files = {"/a": content[:-1] + b"?", "/long": content * 2}
        for kept, path, words, count in (
            (0, "/a", "sha256 is", 1),
            (1, "/a", "sha256 is", 2),
            (2, "/a", "sha256 is .*; it was removed$", 2),
            (2, "/none", "404", 1),
            (2, "/long", "offers a file of 2,048 bytes; expected 1,024 or 1,020", 1),
        ):
            part.write_bytes(content[:kept])
            site.requests.clear()
            with pytest.raises(DownloadError, match=words):
                download([site.url + path], target, expected)
            assert len(site.requests) == count
            assert not target.exists()


def test_progress_without_an_announced_length(tmp_path: Path) -> None:
    content, seen = b"0123456789", []
    with serve() as site:
        site.files, site.announce = {"/a": content}, ""
        download(
            [f"{site.url}/a"],
            tmp_path / "a",
            Expected((10, 6), {}),
            lambda *step: seen.append(step),
        )
    assert seen[-1] == (10, 10)


@pytest.mark.parametrize("mirror", ["http://[", "https://[::1"])
def test_a_mirror_that_cannot_be_parsed(mirror: str) -> None:
    with pytest.raises(InputError, match="expected an address like"):
        official_files()["yolov4"].addresses(mirror)


def test_a_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(InputError, match="cannot be read: Permission denied"):
        find_model(str(tmp_path))


def test_files_that_the_system_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path through a file, and a file without the right to read it: one line with the reason."""
    path = write(tmp_path / "a.weights", 0)
    with pytest.raises(WeightsError, match="b.weights: cannot be read: Not a directory"):
        open_weights(get_dialect("alexeyab"), str(path / "b.weights"))

    def refuse(expected: Expected, path: Path) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(downloads, "_check", refuse)
    with pytest.raises(InputError, match="a.weights: cannot be read: Permission denied"):
        download([], path, Expected((20,), {}))
