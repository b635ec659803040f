"""Weights files: the bytes, the memory, and every way in which a file can be wrong."""

from __future__ import annotations

import re
import struct
import tracemalloc
from pathlib import Path

import generator
import numpy as np
import pytest
import torch

from darknet_builder.errors import InputError, WeightsError
from darknet_builder.layers.base import WeightsHeader
from darknet_builder.network.build import build_network
from darknet_builder.network.folding import fold_batch_norm
from darknet_builder.network.network import Network
from darknet_builder.weights.entries import weight_entries
from darknet_builder.weights.loader import load_weights, save_weights

DATA = Path(__file__).parents[1] / "data"
DETECTOR = """\
[net]
width=32
height=32
channels=3
[convolutional]
batch_normalize=1
filters=4
size=3
stride=2
pad=1
activation=leaky
[maxpool]
size=2
stride=2
[convolutional]
filters=21
size=1
activation=linear
[yolo]
mask=0,1,2
anchors=1,2, 3,4, 5,6
num=3
classes=2
"""
FLOATS = (4 * 4 + 4 * 3 * 9) + (21 + 21 * 4)
PER_CLASS = 3 * (4 + 1)


def write(
    path: Path,
    count: int = FLOATS,
    *,
    header: bytes | None = None,
    values: np.ndarray | None = None,
) -> Path:
    """A file with a header and ``count`` floats of 0.5."""
    floats = np.full(count, 0.5, "<f4") if values is None else values.astype("<f4")
    path.write_bytes(
        (struct.pack("<iiiQ", 0, 2, 5, 64000) if header is None else header) + floats.tobytes()
    )
    return path


@pytest.fixture
def network() -> Network:
    """A small detector."""
    return build_network(DETECTOR)


def refused(network: Network, path: Path, **options: int) -> str:
    """The error's text without the path, and a check that nothing was written to the network."""
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        load_weights(network, path, **options)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and "\n" not in text
    return text.removeprefix(f"{path}: ")


def test_load_and_save_give_the_same_bytes(network: Network, tmp_path: Path) -> None:
    """Every float has its place, and the header is kept."""
    source = write(tmp_path / "a.weights", values=np.random.default_rng(1).random(FLOATS))
    report = load_weights(network, source)
    assert (report.num_floats, report.num_layers, report.until) == (FLOATS, 2, None)
    assert report.header == WeightsHeader(0, 2, 5, 64000) == network.header
    save_weights(network, tmp_path / "b.weights")
    assert (tmp_path / "b.weights").read_bytes() == source.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.weights", "b.weights"]


def test_order_within_a_convolution(network: Network, tmp_path: Path) -> None:
    """bias, scale, mean, var, weight."""
    load_weights(network, write(tmp_path / "a.weights", values=np.arange(FLOATS)))
    conv = network.layers[0]
    assert conv.norm.bias.tolist() == [0, 1, 2, 3]
    assert conv.norm.weight.tolist() == [4, 5, 6, 7]
    assert conv.norm.running_mean.tolist() == [8, 9, 10, 11]
    assert conv.norm.running_var.tolist() == [12, 13, 14, 15]
    assert conv.conv.weight.flatten().tolist() == list(range(16, 124))
    assert network.layers[2].conv.bias[0].item() == 124


@pytest.mark.parametrize(
    ("version", "layout", "dialect"),
    [
        ((0, 1, 0), "<iiiI", "alexeyab"),
        ((0, 2, 0), "<iiiQ", "alexeyab"),
        ((1, 0, 0), "<iiiQ", "alexeyab"),
        ((0, 1000, 0), "<iiiQ", "alexeyab"),
        ((0, 1000, 0), "<iiiI", "pjreddie"),
        ((0, 2, 5), "<iiiQ", "pjreddie"),
    ],
)
def test_header_by_version(
    version: tuple[int, int, int], layout: str, dialect: str, tmp_path: Path
) -> None:
    """``seen`` has 64 bits from version 0.2 on; pjreddie's large versions have 32."""
    network = build_network(DETECTOR, dialect=dialect)
    source = write(tmp_path / "a.weights", header=struct.pack(layout, *version, 77))
    assert load_weights(network, source).header.seen == 77
    save_weights(network, tmp_path / "b.weights")
    assert (tmp_path / "b.weights").read_bytes() == source.read_bytes()


def test_old_files_hold_connected_weights_transposed(tmp_path: Path) -> None:
    """Version 1000 and more: inputs x outputs."""
    network = build_network("[net]\ninputs=2\n[connected]\noutput=3\nactivation=linear\n")
    source = write(
        tmp_path / "a.weights", header=struct.pack("<iiiQ", 0, 1001, 0, 0), values=np.arange(9)
    )
    load_weights(network, source)
    assert network.layers[0].linear.weight.tolist() == [[3, 6], [4, 7], [5, 8]]
    save_weights(network, tmp_path / "b.weights")
    assert (tmp_path / "b.weights").read_bytes() == source.read_bytes()


def test_flipped_convolutions(tmp_path: Path) -> None:
    """``flipped=1``: (inputs x taps) x filters."""
    text = "[net]\nwidth=4\nheight=4\nchannels=3\n[convolutional]\nfilters=2\nsize=1\nflipped={}\nactivation=linear\n"
    source = write(tmp_path / "a.weights", values=np.arange(8))
    plain, flipped = build_network(text.format(0)), build_network(text.format(1))
    for network in (plain, flipped):
        load_weights(network, source)
    assert plain.layers[0].conv.weight.flatten().tolist() == [2, 3, 4, 5, 6, 7]
    assert flipped.layers[0].conv.weight.flatten().tolist() == [2, 4, 6, 3, 5, 7]


def test_dontload_and_dontloadscales(tmp_path: Path) -> None:
    """What is not in the file keeps its start; a saved file holds everything."""
    text = DETECTOR.replace("batch_normalize=1\n", "batch_normalize=1\ndontloadscales=1\n")
    text = text.replace("filters=21\n", "filters=21\ndontload=1\n")
    network = build_network(text)
    report = load_weights(network, write(tmp_path / "a.weights", 4 + 108))
    assert report.num_floats == 112
    assert network.layers[0].norm.running_var.tolist() == [1, 1, 1, 1]
    assert network.layers[0].conv.weight[0, 0, 0, 0] == 0.5
    save_weights(network, tmp_path / "b.weights")
    assert (tmp_path / "b.weights").stat().st_size == 20 + 4 * FLOATS


def test_until(network: Network, tmp_path: Path) -> None:
    """A cut-off holds the layers before a number."""
    whole = write(tmp_path / "whole.weights", values=np.arange(FLOATS))
    load_weights(network, whole)
    save_weights(network, tmp_path / "net.conv.2", until=2)
    assert (tmp_path / "net.conv.2").read_bytes() == whole.read_bytes()[: 20 + 4 * 124]
    fresh = build_network(DETECTOR)
    untouched = fresh.layers[2].conv.weight.clone()
    assert load_weights(fresh, tmp_path / "net.conv.2", until=2).num_layers == 1
    assert torch.equal(fresh.layers[0].conv.weight, network.layers[0].conv.weight)
    assert torch.equal(fresh.layers[2].conv.weight, untouched)
    assert load_weights(fresh, whole, until=2).until == 2
    for wrong in (0, 5):
        with pytest.raises(InputError, match=rf"^until={wrong}: expected a layer from 1 to 4$"):
            load_weights(network, whole, until=wrong)


def test_a_cut_off_without_until(network: Network, tmp_path: Path) -> None:
    """It is recognised, and the number is named."""
    assert (
        refused(network, write(tmp_path / "net.conv.1", 124))
        == "ends at float 124, 105 too early: in bias (21,) of layer 2 (<text>:15:"
        " [convolutional]); it holds exactly the layers before: load such a cut-off with"
        " until=1, or the download is incomplete"
    )


def test_one_float_too_few(network: Network, tmp_path: Path) -> None:
    """Which layer, which tensor, how many."""
    assert (
        refused(network, write(tmp_path / "a.weights", FLOATS - 1))
        == "ends at float 228, 1 too early: in weight (21, 4, 1, 1) of layer 2 (<text>:15:"
        " [convolutional]); the file is incomplete, or belongs to another cfg"
    )


def test_one_float_too_many(network: Network, tmp_path: Path) -> None:
    """Left-over floats are never taken in silence."""
    assert (
        refused(network, write(tmp_path / "a.weights", FLOATS + 1))
        == "1 floats are left over after the 229 that the network takes; it belongs to another cfg"
    )


@pytest.mark.parametrize(
    ("classes", "text"),
    [
        (
            1,
            (
                "ends at float 214, 15 too early: in weight (21, 4, 1, 1) of layer 2 (<text>:15:"
                " [convolutional]); "
            ),
        ),
        (5, "45 floats are left over after the 229 that the network takes; "),
    ],
)
def test_another_number_of_classes(
    network: Network, tmp_path: Path, classes: int, text: str
) -> None:
    """The most common wrong file is recognised."""
    path = write(tmp_path / "a.weights", FLOATS + (classes - 2) * PER_CLASS)
    assert (
        refused(network, path)
        == f"{text}it fits this cfg with classes={classes} (and filters to match) instead of 2"
    )


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "has 0 bytes, less than a header of 16 or 20; download it again"),
        (b"\0" * 12, "has 12 bytes, less than a header of 16 or 20; download it again"),
        (
            struct.pack("<iiiI", 0, 2, 5, 0),
            "has 16 bytes, less than the header of 20; download it again",
        ),
        (
            struct.pack("<iiiQ", 0, 2, 5, 0) + b"abc",
            (
                "its 3 bytes after the header are not a whole number of floats; it was cut off while"
                " it was copied, or it is not a .weights file"
            ),
        ),
        (
            b"<!DOCTYPE html><html><body>404</body></html>",
            "is a web page, not the weights; open its address in a browser and look",
        ),
        (
            b"\n <html>" + b" " * 90,
            "is a web page, not the weights; open its address in a browser and look",
        ),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            "is a Git LFS pointer, not the weights; run 'git lfs pull' in its repository",
        ),
        (DETECTOR.encode(), "is a cfg, not weights; were cfg and weights exchanged?"),
        (b"PK\x03\x04" + b"\0" * 60, "is a zip archive or a PyTorch file, not Darknet weights"),
    ],
)
def test_files_that_are_no_weights(
    network: Network, tmp_path: Path, content: bytes, text: str
) -> None:
    """Whatever a browser or a slip may have put there."""
    path = tmp_path / "a.weights"
    path.write_bytes(content)
    assert refused(network, path) == text


def test_no_such_file_and_a_folder(network: Network, tmp_path: Path) -> None:
    """Also one line."""
    assert refused(network, tmp_path / "none.weights") == "no such weights file"
    assert refused(network, tmp_path) == "is a folder, not a .weights file"


@pytest.mark.parametrize(
    ("value", "place", "text"),
    [
        (
            np.nan,
            120,
            (
                "float 120 is nan, in weight of layer 0 [convolutional]; "
                "the training diverged or the file is damaged"
            ),
        ),
        (
            np.inf,
            130,
            (
                "float 130 is inf, in bias of layer 2 [convolutional]; "
                "the training diverged or the file is damaged"
            ),
        ),
        (
            -1.0,
            14,
            (
                "float 14 is -1, in var of layer 0 [convolutional]; a variance plus 1e-05 must be"
                " above 0: the file belongs to another cfg"
            ),
        ),
    ],
)
def test_impossible_values(
    network: Network, tmp_path: Path, value: float, place: int, text: str
) -> None:
    """NaN, infinity, and a variance below zero."""
    values = np.full(FLOATS, 0.5)
    values[place] = value
    assert refused(network, write(tmp_path / "a.weights", values=values)) == text


def test_large_finite_values_are_taken(network: Network, tmp_path: Path) -> None:
    """The check for NaN must not stumble over sums."""
    load_weights(network, write(tmp_path / "a.weights", values=np.full(FLOATS, 3e38)))
    assert network.layers[2].conv.bias[0] > 2.9e38


def test_a_failed_save_leaves_the_old_file(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The target is replaced at the very end or not at all."""
    target = tmp_path / "a.weights"
    target.write_bytes(b"old")
    network.layers[2].conv.bias = None
    with pytest.raises(AssertionError):
        save_weights(network, target)
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.weights"]


def test_a_save_into_a_folder_that_does_not_exist(network: Network, tmp_path: Path) -> None:
    """One line."""
    with pytest.raises(
        WeightsError, match=re.escape("x.weights: cannot be written: No such file or directory")
    ):
        save_weights(network, tmp_path / "none" / "x.weights")


def test_loading_takes_no_second_copy(tmp_path: Path) -> None:
    """20 MB of weights, less than 2 MB of Python's and NumPy's memory."""
    network = build_network("[net]\ninputs=2000\n[connected]\noutput=2500\nactivation=linear\n")
    source = write(tmp_path / "a.weights", 2500 * 2001)
    tracemalloc.start()
    load_weights(network, source)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000
    assert network.layers[0].linear.weight[0, 0] == 0.5


def test_entries_name_every_float(network: Network) -> None:
    """The one walk: no gap, no overlap, ``num_stored`` in all."""
    entries = weight_entries(network)
    assert [entry.start for entry in entries[1:]] == [entry.stop for entry in entries[:-1]]
    assert entries[-1].stop == network.num_stored == FLOATS
    assert [entry.name for entry in entries] == [
        "bias",
        "scale",
        "mean",
        "var",
        "weight",
        "bias",
        "weight",
    ]


def test_cut_offs_have_the_published_sizes(shared: Path) -> None:
    """models.tsv: darknet53.conv.74, yolov3-tiny.conv.15, yolov4.conv.137, yolov4-tiny.conv.29."""
    sizes = {
        line.split("\t")[1]: line.split("\t")
        for line in (shared / "models.tsv").read_text().splitlines()
        if line.startswith("cutoff\t")
    }
    column = next(
        line.split("\t")
        for line in (shared / "models.tsv").read_text().splitlines()
        if line.startswith("kind\t")
    ).index("bytes_if_20B_header")
    for name, cfg, until in (
        ("darknet53.conv.74", "pjreddie/yolov3", 74),
        ("yolov4.conv.137", "alexeyab/yolov4", 137),
        ("yolov3-tiny.conv.15", "pjreddie/yolov3-tiny", 15),
        ("yolov4-tiny.conv.29", "alexeyab/yolov4-tiny", 29),
    ):
        network = build_network(shared / "cfgs" / f"{cfg}.cfg", initialize=False)
        assert 20 + 4 * weight_entries(network, until=until)[-1].stop == int(sizes[name][column])


@pytest.mark.parametrize("folded", [False, True])
def test_variances_a_hair_below_zero(folded: bool) -> None:
    """-7e-44 and -9.9e-6, as published files have them: Darknet's own outputs, plain and with batch
    norm folded."""
    network = build_network(DATA / "negative-variance.cfg", initialize=False).eval()
    load_weights(network, DATA / "negative-variance.weights")
    if folded:
        network = fold_batch_norm(network)
    x = torch.from_numpy(generator.input_image(7, (1, 3, 64, 64)))
    with torch.no_grad(), np.load(DATA / "negative-variance.npz") as recorded:
        for index, output in enumerate(network.layer_outputs(x)):
            values = output.flatten()[generator.sample_positions(20 + index, output.numel(), 256)]
            expected = torch.from_numpy(recorded[f"{'folded' if folded else 'plain'}/{index}"])
            assert torch.allclose(values, expected, rtol=1e-4, atol=1e-5), index


@pytest.mark.parametrize(("variance", "fits"), [(-9.9e-6, True), (-1e-5, False), (-1.1e-5, False)])
def test_the_least_variance(variance: float, fits: bool, tmp_path: Path) -> None:
    """The root of variance plus epsilon must exist, and not be 0."""
    data = bytearray((DATA / "negative-variance.weights").read_bytes())
    struct.pack_into("<f", data, 20 + 4 * 13, variance)
    (tmp_path / "a.weights").write_bytes(data)
    network = build_network(DATA / "negative-variance.cfg", initialize=False)
    if fits:
        load_weights(network, tmp_path / "a.weights")
        return
    with pytest.raises(
        WeightsError,
        match=r"float 13 is -1(\.1)?e-05, in var of layer 0 \[convolutional\]; a variance "
        r"plus 1e-05 must be above 0",
    ):
        load_weights(network, tmp_path / "a.weights")
