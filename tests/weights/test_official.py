"""The table of official weights: whole, consistent, and in agreement with the networks that it is
about."""

from __future__ import annotations

import csv
import hashlib
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from darknet_builder.errors import InputError
from darknet_builder.network.build import build_network
from darknet_builder.weights import official
from darknet_builder.weights.downloads import CHECKSUMS
from darknet_builder.weights.official import find_official, official_files, recognize_official

CFGS = Path(__file__).parents[2] / "cfg"
ENTRIES = official_files()
DIGITS = {"sha256": 64, "sha1": 40, "md5": 32}


def floats_of(cfg: Path, name: str) -> int:
    """What the network has, or its first N layers for ``*.conv.N``."""
    layers = build_network(cfg, initialize=False).sequence()
    cut = re.search(r"\.conv\.(\d+)$", name)
    return sum(layer.num_stored() for layer in layers[: int(cut[1]) if cut else None])


@pytest.mark.parametrize("name", ENTRIES)
def test_line(name: str) -> None:
    entry = ENTRIES[name]
    assert entry.name == name and entry.kind in ("detector", "classifier", "cutoff")
    assert (entry.kind == "cutoff") == (".conv." in name)
    assert entry.file.endswith(".weights") or entry.file == name
    for kind in CHECKSUMS:
        assert all(
            re.fullmatch(rf"[0-9a-f]{{{DIGITS[kind]}}}", digest) for digest in entry.checksums[kind]
        )
    assert all(
        urlsplit(url).scheme in ("https", "http") and url.endswith(f"/{entry.file}")
        for url in entry.urls
    )
    assert not entry.urls or entry.urls[0].startswith("https://")
    assert entry.urls or entry.page or entry.note, "without an address there is a word about it"


def test_files_are_not_shared() -> None:
    files = [entry.file for entry in ENTRIES.values()]
    assert len(files) == len(set(files)) == 47


@pytest.mark.parametrize(
    "name", [name for name, entry in ENTRIES.items() if (CFGS / entry.cfg).is_file()]
)
def test_sizes_are_those_of_the_networks(name: str) -> None:
    entry = ENTRIES[name]
    assert entry.num_floats == floats_of(CFGS / entry.cfg, name)
    assert entry.expected.sizes == (4 * entry.num_floats + 20, 4 * entry.num_floats + 16)


@pytest.mark.pack
@pytest.mark.filterwarnings("ignore::darknet_builder.errors.CfgWarning")
def test_sizes_are_those_of_darknets_cfgs(pack: Path, request: pytest.FixtureRequest) -> None:
    cfgs = request.config.getoption("--pack-cfgs") or pack.resolve().parent / "cfgs"
    checked = [
        name
        for name, entry in ENTRIES.items()
        if (cfg := cfgs / "alexeyab" / entry.cfg).is_file()
        and entry.num_floats == floats_of(cfg, name)
    ]
    there = [name for name, entry in ENTRIES.items() if (cfgs / "alexeyab" / entry.cfg).is_file()]
    assert checked == there and len(there) > 25


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("yolov4", 257717640),
        ("yolov4-tiny", 24251276),
        ("yolov2-tiny", 44948600),  # stated by other projects
        ("darknet53.conv.74", 162482580),
        ("yolov4.conv.137", 170038676),
        ("yolov4-tiny.conv.29", 19789716),
    ],
)
def test_known_sizes(name: str, size: int) -> None:
    assert ENTRIES[name].expected.sizes[0] == size


def test_the_table_says_all_that_was_collected(shared: Path) -> None:
    """Every address and checksum of the collection, under the same name."""
    lines = [
        line
        for line in (shared / "models.tsv").read_text().splitlines()
        if not line.startswith("#")
    ]
    for row in csv.DictReader(lines, delimiter="\t"):
        entry = ENTRIES[row["name"].split(" ")[0]]
        assert entry.kind == row["kind"] and entry.file in (row["file"] or "yolov7x.weights")
        assert all(row[kind] in ("", *entry.checksums[kind]) for kind in CHECKSUMS)
        assert {row["url"], *row["other_urls"].split()} <= {"", *entry.urls, entry.page}
        assert int(row["cfg_params"] or entry.num_floats) == entry.num_floats
        assert int(row["bytes_stated"] or entry.expected.sizes[0]) == entry.expected.sizes[0]


def test_found_by_name_or_file() -> None:
    assert find_official("yolov4") is find_official("yolov4.weights") is ENTRIES["yolov4"]
    assert find_official("yolo-voc.weights") is ENTRIES["yolov2-voc"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("yolov4-tny", "; did you mean 'yolov4-tiny'?"),
        ("YOLOV3", "; did you mean 'yolov3'?"),
        ("darknet53.conv.47", "; did you mean 'darknet53.conv.74'?"),
        ("vgg-16", ""),
    ],
)
def test_unknown_names(name: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        find_official(name)
    assert str(caught.value) == f"no official weights are called {name!r}{hint}"


def test_addresses() -> None:
    entry = ENTRIES["yolov4"]
    assert entry.addresses() == entry.urls
    for mirror in ("https://example.org/a", "https://example.org/a/"):
        assert entry.addresses(mirror) == ("https://example.org/a/yolov4.weights",)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "enet-coco",
            (
                "enet-coco: it can be downloaded only in a browser; open"
                " https://drive.google.com/file/d/1FlHeQjWEQVJt0ay1PVsiuuMzmtNyv36m/view"
                " and save it as enetb0-coco_final.weights, or name a mirror"
            ),
        ),
        (
            "yolov7x",
            "yolov7x: no address of its weights is known; if another server has it, name that as mirror",
        ),
        (
            "yolov3-tiny.conv.15",
            (
                "yolov3-tiny.conv.15: never published: it is what yolov3-tiny.weights holds of"
                " layers 0 to 14 (until=15); if another server has it, name that as mirror"
            ),
        ),
    ],
)
def test_what_no_program_can_fetch(name: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        ENTRIES[name].addresses()
    assert str(caught.value) == message
    assert ENTRIES[name].addresses("https://example.org") == (
        f"https://example.org/{ENTRIES[name].file}",
    )


@pytest.mark.parametrize(
    "mirror", ["example.org", "ftp://example.org", "https://", "", "/srv/weights"]
)
def test_a_mirror_must_be_a_web_address(mirror: str) -> None:
    with pytest.raises(
        InputError, match=f"^mirror={mirror}: expected an address like https://example.org/weights$"
    ):
        ENTRIES["yolov4"].addresses(mirror)


def test_the_readme_lists_every_cfg_with_its_weights() -> None:
    """``weights/README.md`` against the headers of the cfgs."""
    text = (CFGS.parent / "weights" / "README.md").read_text()
    table = text.partition("<!-- weights -->\n")[2].partition("<!-- end")[0].splitlines()
    rows = ["| cfg | weights | to train from |", "|---|---|---|"]
    for cfg in sorted(CFGS.glob("*.cfg")):
        header = cfg.read_text().partition("[net]")[0]
        whole = re.search(r"# Weights: .*get-weights (\S+)", header)
        cut = re.search(r"# To train from: .*get-weights (\S+)", header)
        cells = [f"`{match[1]}`" if match else "" for match in (whole, cut)]
        if whole or cut or f"| `{cfg.name}` |" in text:
            rows.append(f"| `{cfg.name}` | {cells[0]} | {cells[1]} |")
    assert table == rows


def test_an_official_model_is_recognized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a checksum of the weights and the file name of the cfg."""
    weights = tmp_path / "any.weights"
    weights.write_bytes(bytes(20 + 4 * 10))
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    checksums = {"sha256": (digest,), "sha1": (), "md5": ()}
    mine = replace(ENTRIES["yolov4-tiny"], num_floats=10, checksums=checksums)
    monkeypatch.setattr(official, "official_files", lambda: {"yolov4-tiny": mine})
    assert recognize_official("yolov4-tiny", weights) == mine
    assert recognize_official("some/yolov4-tiny.cfg", weights, by_name=True) == mine
    assert recognize_official("yolov4.cfg", weights) is None
    assert recognize_official("yolov4-tiny.cfg", None) is None
    assert recognize_official("yolov4-tiny.cfg", tmp_path / "none.weights") is None
    weights.write_bytes(bytes(20) + b"trained further, and more of it ..    ..")
    assert weights.stat().st_size == 60
    assert recognize_official("yolov4-tiny.cfg", weights, by_name=True) is None


def test_a_model_without_checksums_is_recognized_by_name() -> None:
    """The name must have found the weights: a user's file may have any content."""
    entry = ENTRIES["yolov4-csp"]
    assert not any(entry.checksums.values())
    assert recognize_official("yolov4-csp", f"weights/{entry.file}", by_name=True) == entry
    assert recognize_official("yolov4-csp", f"weights/{entry.file}") is None
