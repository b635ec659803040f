"""Files that are not what their name says, each named for what it is."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from darknet_builder import CfgError, build_network, parse_cfg
from darknet_builder.cli.program import main
from darknet_builder.inspection.check import check
from darknet_builder.support.file_kinds import recognize

OTHER = "it describes a network for another program; take Darknet's .cfg"
EXCHANGED = "were cfg and weights exchanged?"
FILES: dict[str, tuple[bytes, str]] = {
    "pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n",
        "is a Git LFS pointer, not a cfg; run 'git lfs pull' in its repository",
    ),
    "page": (
        b"\n\n<!DOCTYPE html>\n<html lang=en>\n",
        "is a web page, not a cfg; open its address in a browser and take the file itself",
    ),
    "weights": (
        struct.pack("<iiiQ", 0, 2, 5, 32013312) + struct.pack("<5f", 1, 2, 3, 4, 5),
        "is a .weights file, not a cfg; give the cfg first, and this file as its weights",
    ),
    "old weights": (
        struct.pack("<iiiI", 0, 1, 0, 64) + struct.pack("<2f", 1, 2),
        "is a .weights file, not a cfg; give the cfg first, and this file as its weights",
    ),
    "zip": (
        b"PK\x03\x04\x14\0\0\0",
        "is a zip archive or a PyTorch file, not a cfg; unpack it, or give a .pt file by that name",
    ),
    "gzip": (b"\x1f\x8b\x08\0", "is a gzip archive, not a cfg; unpack it"),
    "UTF-16": ("[net]\n".encode("utf-16"), "is UTF-16 text, not a cfg; save it as UTF-8"),
    "binary": (b"[net]\0\0", f"is a binary file, not a cfg; {EXCHANGED}"),
    "JSON": (b'{"nodes": []}\n', f"is JSON, not a cfg; {OTHER}"),
    "JSON list": (b'[\n  {"image_id": 1}\n]\n', f"is JSON, not a cfg; {OTHER}"),
    "GitHub's error": (b'{\n  "message": "Not Found"\n}', f"is JSON, not a cfg; {OTHER}"),
    "prototxt": (
        b'name: "VGG"\nlayer {\n  type: "Convolution"\n}\n',
        f"is a Caffe prototxt, not a cfg; {OTHER}",
    ),
    "model": (
        b"# YOLOv5 by Ultralytics\nnc: 80  # classes\nanchors:\n  - [10,13, 16,30]\n"
        b"backbone:\n  # [from, number, module, args]\n  [[-1, 1, Focus, [64, 3]],\n",
        f"is an ultralytics model in YAML, not a cfg; {OTHER}",
    ),
    "data set": (
        b"---\npath: ../datasets/coco\ntrain: images/train\nnames:\n  0: person\n",
        "is an ultralytics data set in YAML, not a cfg; give the network's .cfg",
    ),
    "YAML": (b"version: 3\r\nservices: []\r\n", f"is a YAML file, not a cfg; {OTHER}"),
    "data file": (
        b"classes= 80\ntrain = train.txt\nnames=coco.names\n",
        "is a .data file, not a cfg; give the network's .cfg here, and this file as the data",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_each_is_named(name: str, tmp_path: Path) -> None:
    """In one line with the cure, whichever way the cfg is read."""
    content, message = FILES[name]
    path = tmp_path / "a.cfg"
    path.write_bytes(content)
    for read in (parse_cfg, build_network):
        with pytest.raises(CfgError) as caught:
            read(path)
        assert str(caught.value) == f"{path}: {message}"
    assert [finding.text for finding in check(path)] == [f"{path}: {message}"]


def test_in_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Under a name of its own as well."""
    path = tmp_path / "yolov5s.yaml"
    path.write_bytes(FILES["model"][0])
    assert main(["dump", str(path)]) == 2
    assert capsys.readouterr().err == f"darknet-builder: error: {path}: {FILES['model'][1]}\n"


def test_text_is_looked_at_too() -> None:
    """A cfg may be given as its text."""
    with pytest.raises(CfgError, match="^<text>: is JSON, not a cfg"):
        parse_cfg('{"a":\n1}')


@pytest.mark.parametrize(
    "text",
    [
        "[net]\nwidth=4\n",
        "# train: 90%\n# names: none\n[net]\nwidth=4\n",
        "; a comment\n\n [net] \nwidth=4\n",
        "# dialect: pjreddie\n[net]\r\nwidth=4\r\n",
        "note: made by hand\n[net]\nwidth=4\n",
        "train = 1\n[net]\n",
        "",
        "width=4\n",
        "#comment\n",
    ],
)
def test_a_cfg_is_never_taken_for_something_else(text: str) -> None:
    """Nor are its mistakes, which have lines of their own."""
    assert recognize(text.encode()) is None


def test_every_cfg_of_the_project() -> None:
    """None of them is anything else."""
    cfgs = list((Path(__file__).parents[2] / "cfg").glob("*.cfg"))
    assert cfgs and not any(recognize(path.read_bytes()) for path in cfgs)
