"""``darknet-builder get-weights``: what it says, where it puts things, and its exit status."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from darknet_builder.cli.program import main
from darknet_builder.weights import official as official_weights
from darknet_builder.weights.downloads import Download
from darknet_builder.weights.official import OfficialFile
from tests.helpers.web_server import Site, serve

ROOT = Path(__file__).parents[2]
CONTENT = {
    name: bytes([number]) * 420 for number, name in enumerate(("checked", "unchecked", "replaced"))
}
UNCHECKED = hashlib.sha256(CONTENT["unchecked"]).hexdigest()


def entry(name: str, site: Site, **checksums: tuple[str, ...]) -> OfficialFile:
    """One line of a table whose files have 100 numbers each."""
    known = {"sha256": (), "sha1": (), "md5": ()} | checksums
    return OfficialFile(
        kind="detector",
        name=name,
        file=f"{name}.weights",
        cfg=f"{name}.cfg",
        num_floats=100,
        checksums=known,
        urls=(f"{site.url}/{name}.weights",),
        page="",
        note="",
    )


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    """A table of three files, a server that has them, and a working directory of our own."""
    monkeypatch.chdir(tmp_path)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serve() as site:
        site.files = {f"/{name}.weights": content for name, content in CONTENT.items()}
        digest = hashlib.sha1(CONTENT["replaced"]).hexdigest()
        entries = [
            entry("checked", site, sha256=(hashlib.sha256(CONTENT["checked"]).hexdigest(),)),
            entry("unchecked", site),
            entry("replaced", site, sha1=("0" * 40, digest)),
        ]
        monkeypatch.setattr(
            official_weights, "official_files", lambda: {entry.name: entry for entry in entries}
        )
        yield site


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs it: exit status, stdout, stderr."""

    def run(*words: str) -> tuple[int, str, str]:
        status = main(["get-weights", *words])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def weights() -> list[str]:
    return sorted(str(path) for path in Path(".").rglob("*") if path.is_file())


def next_line(name: str, folder: str) -> str:
    """What is said last of a file whose cfg does not come with the project."""
    return (
        f"next: darknet-builder detect photo.jpg --cfg {name}.cfg --weights"
        f" {folder}/{name}.weights\n"
    )


# ---- fetching ------------------------------------------------------------------------------------


def test_one(site: Site, command: Any) -> None:
    assert command("checked") == (
        0,
        "weights/checked.weights: 420 bytes, sha256 matches\n" + next_line("checked", "weights"),
        "",
    )
    assert Path("weights/checked.weights").read_bytes() == CONTENT["checked"]


def test_several_each_once(site: Site, command: Any) -> None:
    assert command("unchecked", "replaced.weights", "unchecked", "--output", "here") == (
        0,
        (
            "here/unchecked.weights: 420 bytes, no checksum is published, only the size was"
            f" checked; to require this file another time, give --sha256 {UNCHECKED}\n"
            f"{next_line('unchecked', 'here')}here/replaced.weights: 420 bytes, sha1"
            f" matches\n{next_line('replaced', 'here')}"
        ),
        "",
    )
    assert weights() == ["here/replaced.weights", "here/unchecked.weights"]


def test_again(site: Site, command: Any) -> None:
    command("checked")
    assert command("checked") == (
        0,
        "weights/checked.weights: already present, 420 bytes, sha256 matches\n"
        + next_line("checked", "weights"),
        "",
    )
    assert len(site.requests) == 1


def test_json(site: Site, command: Any) -> None:
    status, out, _ = command("checked", "unchecked", "--json")
    assert (status, json.loads(out)) == (
        0,
        [
            {
                "path": "weights/checked.weights",
                "size": 420,
                "checksum": "sha256",
                "fetched": True,
                "sha256": "",
                "name": "checked",
            },
            {
                "path": "weights/unchecked.weights",
                "size": 420,
                "checksum": "",
                "fetched": True,
                "sha256": UNCHECKED,
                "name": "unchecked",
            },
        ],
    )


def test_a_pinned_file(site: Site, command: Any) -> None:
    """``--sha256`` takes the place of a published checksum."""
    words = ("unchecked", "--sha256", UNCHECKED.upper())
    assert command(*words)[:2] == (
        0,
        "weights/unchecked.weights: 420 bytes, sha256 matches\n"
        + next_line("unchecked", "weights"),
    )
    site.files["/unchecked.weights"] = bytes(420)
    assert command(*words, "--output", "other")[0] == 1
    assert weights() == ["weights/unchecked.weights"]


def test_mirror(site: Site, command: Any) -> None:
    site.files = {"/copies/checked.weights": CONTENT["checked"]}
    assert command("checked", "--mirror", f"{site.url}/copies")[0] == 0
    assert [path for path, _, _ in site.requests] == ["/copies/checked.weights"]


def test_interrupted_and_gone_on_from(site: Site, command: Any) -> None:
    site.cuts = [300, 0]
    assert command("checked") == (
        1,
        "",
        (
            f"darknet-builder: error: {site.url}/checked.weights: the connection ended after 300 of"
            " 420 bytes; 300 bytes are kept in weights/checked.weights.part, run the same command"
            " to resume\n"
        ),
    )
    assert weights() == ["weights/checked.weights.part", "weights/checked.weights.part.tag"]
    assert command("checked")[0] == 0
    assert weights() == ["weights/checked.weights"] and site.requests[-1][1] == "bytes=299-"


@pytest.mark.parametrize(
    ("name", "folder", "line"),
    [
        ("yolov4-tiny", "weights", "detect photo.jpg --model yolov4-tiny"),
        ("darknet19", "weights", "classify photo.jpg --model darknet19"),
        (
            "yolov4-tiny",
            "here",
            "detect photo.jpg --cfg yolov4-tiny --weights here/yolov4-tiny.weights --names coco",
        ),
        (
            "darknet19",
            "here",
            "classify photo.jpg --cfg darknet19 --weights here/darknet19.weights --names imagenet",
        ),
        (
            "yolov2-voc",
            "weights",
            "detect photo.jpg --cfg yolov2-voc.cfg --weights weights/yolo-voc.weights",
        ),
        (
            "yolov4.conv.137",
            "weights",
            "train yolov4 weights/yolov4.conv.137 --data my.data",
        ),
    ],
)
def test_what_to_type_next(
    name: str,
    folder: str,
    line: str,
    command: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The shortest command that finds the file."""
    monkeypatch.chdir(tmp_path)

    def fetch(entry: OfficialFile, folder: str, **_: object) -> Download:
        return Download(Path(folder, entry.file), 0, "", fetched=True)

    monkeypatch.setattr(OfficialFile, "fetch", fetch)
    status, out, _ = command(name, "--output", folder)
    assert (status, out.splitlines()[1:]) == (0, [f"next: darknet-builder {line}"])
    assert "next:" not in command(name, "--json")[1]


# ---- progress ------------------------------------------------------------------------------------


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_on_a_terminal(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys, "stderr", _Terminal())
    assert main(["get-weights", "checked"]) == 0
    assert "checked.weights" in sys.stderr.getvalue() and "\r" in sys.stderr.getvalue()  # type: ignore[attr-defined]


def test_no_bar_without_tqdm(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", _Terminal())
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert main(["get-weights", "checked"]) == 0
    assert sys.stderr.getvalue() == ""  # type: ignore[attr-defined]


# ---- mistakes and misfortunes --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no weights named; give a NAME (--list shows all)"),
        (
            ["cheked"],
            "no official weights are called 'cheked'; did you mean 'checked'? (--list shows all)",
        ),
        (
            ["checked", "nothing-like-it"],
            "no official weights are called 'nothing-like-it' (--list shows all)",
        ),
        (
            ["checked", "unchecked", "--sha256", "0" * 64],
            "--sha256: applies to one file; give a single NAME",
        ),
        (
            ["checked", "--mirror", "http://["],
            "--mirror http://[: expected an address like https://example.org/weights",
        ),
        (
            ["checked", "--mirror", "there"],
            "--mirror there: expected an address like https://example.org/weights",
        ),
    ],
)
def test_mistakes_fetch_nothing(site: Site, command: Any, words: list[str], message: str) -> None:
    assert command(*words) == (2, "", f"darknet-builder: error: {message}\n")
    assert weights() == [] and site.requests == []


def test_something_else_in_its_place(site: Site, command: Any) -> None:
    Path("weights").mkdir()
    Path("weights/unchecked.weights").write_bytes(b"mine")
    assert command("unchecked") == (
        2,
        "",
        (
            "darknet-builder: error: weights/unchecked.weights: exists and is not the expected"
            " file: the file has 4 bytes; expected 420 or 416; move it away, or choose another"
            " folder\n"
        ),
    )
    assert Path("weights/unchecked.weights").read_bytes() == b"mine"


def test_not_there(site: Site, command: Any) -> None:
    site.files.clear()
    assert command("checked") == (
        1,
        "",
        f"darknet-builder: error: {site.url}/checked.weights: HTTP 404 Not Found\n",
    )


def test_one_that_fails_does_not_take_back_the_one_before(site: Site, command: Any) -> None:
    del site.files["/replaced.weights"]
    status, out, err = command("checked", "replaced")
    assert (
        status == 1
        and out.startswith("weights/checked.weights: 420 bytes")
        and err.count("\n") == 1
    )
    assert weights() == ["weights/checked.weights"]


# ---- the list ------------------------------------------------------------------------------------


def test_list(command: Any) -> None:
    status, out, err = command("--list")
    lines = out.splitlines()
    assert (status, err) == (0, "")
    assert lines[0].split() == ["name", "kind", "bytes", "checksum", "from", "cfg"]
    assert ["yolov4", "detector", "257,717,640", "sha256", "github.com", "yolov4.cfg"] in [
        line.split() for line in lines
    ]
    assert ["darknet53.conv.74", "cutoff", "162,482,580", "none", "pjreddie.com", "yolov3.cfg"] in [
        line.split() for line in lines
    ]
    assert lines[48] == "47 files"
    assert "yolov2-voc: file name yolo-voc.weights" in lines
    assert (
        "yolov4-tiny: the file was replaced at the same address: any of the known checksums is"
        " accepted" in lines
    )


def test_list_some(command: Any) -> None:
    assert (
        command("--list", "yolov3", "enet-coco")[1]
        == "name       kind            bytes  checksum  from          cfg\n"
        "yolov3     detector  248,007,048  sha1      pjreddie.com  yolov3.cfg\n"
        "enet-coco  detector   19,233,100  none      browser only  enet-coco.cfg\n"
        "2 files\n"
        "enet-coco: file name enetb0-coco_final.weights\n"
    )


def test_list_as_json(command: Any) -> None:
    rows = json.loads(command("--list", "--json")[1])
    assert len(rows) == 47
    row = next(row for row in rows if row["name"] == "yolov3-tiny")
    assert row == {
        "kind": "detector",
        "name": "yolov3-tiny",
        "file": "yolov3-tiny.weights",
        "cfg": "yolov3-tiny.cfg",
        "num_floats": 8858734,
        "sizes": [35434956, 35434952],
        "page": "",
        "note": "",
        "checksums": {"sha256": [], "sha1": [], "md5": ["3bcd6b390912c18924b46b26a9e7ff53"]},
        "urls": [
            "https://pjreddie.com/media/files/yolov3-tiny.weights",
            "https://github.com/hank-ai/darknet/releases/download/v2.0/yolov3-tiny.weights",
            "https://data.pjreddie.com/files/yolov3-tiny.weights",
        ],
    }


def test_the_script_is_the_command_and_needs_no_torch() -> None:
    code = (
        "import runpy, sys; sys.argv = ['get_weights.py', '--list', 'yolov4']\n"
        "try: runpy.run_path('scripts/get_weights.py', run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0 and 'torch' not in sys.modules"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.endswith("1 file\n")
