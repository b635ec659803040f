"""Model files that anyone may have written: one line for each, and nothing of them is run or read
from elsewhere."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from darknet_builder import build_network
from darknet_builder.cfg.model_files import read_model_file
from darknet_builder.errors import DarknetError, WeightsError
from darknet_builder.training.checkpoints.checkpoint_file import (
    check_complete,
    load_checkpoint,
    restoring,
)

DAMAGED = "is damaged, or PyTorch cannot load it with weights_only=True; export it again as a "
NOT_DENSE = "expected dense floats on the CPU"
CFG = "[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\n"


def message_of(path: Path) -> str:
    """Return the error message for a file, without its path."""
    with pytest.raises(DarknetError) as error:
        build_network(path)
    text = str(error.value)
    assert text.startswith(str(path)) and "\n" not in text
    return text.removeprefix(f"{path}: ")


def safetensors(path: Path, metadata: dict[str, Any], **tensors: Any) -> Path:
    """Write a file with any header."""
    header = json.dumps({"__metadata__": metadata, **tensors}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    return path


def with_metadata(path: Path, metadata: object) -> Path:
    """Write a state_dict with any metadata of ours."""
    state: OrderedDict[str, Any] = OrderedDict()
    state._metadata = OrderedDict({"": {"darknet_builder": metadata}})  # type: ignore[attr-defined]
    torch.save(state, path)
    return path


def test_a_cfg_is_text(tmp_path: Path) -> None:
    """Never the path of a file, and not the name of a bundled one."""
    secret = tmp_path / "secret.cfg"
    secret.write_text(CFG.replace("8", "16"))
    for text in (str(secret), "yolov4-tiny"):
        path = safetensors(tmp_path / "a.safetensors", {"cfg": text})
        with pytest.raises(DarknetError) as error:
            build_network(path)
        assert str(error.value) == (
            f"{path}:1: {text!r} is before the first section; begin the file with [net]"
        )


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("names", "5", "a JSON list of texts"),
        ("names", "[1]", "a JSON list of texts"),
        ("names", "[" * 100_000, "a JSON list of texts"),
        ("size", "x", "2 whole numbers"),
        ("size", "8", "2 whole numbers"),
        ("size", "-8 8", "2 whole numbers"),
        ("size", f"{2**31} 8", "2 whole numbers"),
        ("size", "9" * 5000 + " 1", "2 whole numbers"),
        ("size", "\N{SUPERSCRIPT TWO} 8", "2 whole numbers"),
        ("header", "0 2 5", "4 whole numbers"),
        ("dialect", "klingon", "alexeyab or pjreddie"),
    ],
)
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_metadata(tmp_path: Path, suffix: str, key: str, value: str, expected: str) -> None:
    """Each text is checked, and quoted in part."""
    write = safetensors if suffix == ".safetensors" else with_metadata
    message = message_of(write(tmp_path / f"a{suffix}", {"cfg": CFG, key: value}))
    assert message.startswith(f"its metadata has {key} '{value[:30]}")
    assert message.endswith(f"; expected {expected}") and len(message) < 120


@pytest.mark.parametrize("metadata", [5, [], {"cfg": 5}, {"cfg": CFG, "names": ["a"]}])
def test_metadata_of_other_types(tmp_path: Path, metadata: object) -> None:
    """A pickle can hold anything."""
    assert "metadata" in message_of(with_metadata(tmp_path / "a.pt", metadata))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b".", DAMAGED),
        (b"\x80\x02]q\x00.", DAMAGED),
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.", DAMAGED),
        (b"PK\x03\x04", DAMAGED),
    ],
)
def test_pickles(tmp_path: Path, content: bytes, message: str) -> None:
    """Whatever the unpickler raises."""
    (tmp_path / "a.pt").write_bytes(content)
    assert message_of(tmp_path / "a.pt").startswith(message)
    with pytest.raises(WeightsError, match="is not a checkpoint, or is damaged"):
        load_checkpoint(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.zeros(2, 2).to_sparse(), f"a is sparse_coo float32 on cpu; {NOT_DENSE}"),
        (torch.zeros(2, device="meta"), f"a is strided float32 on meta; {NOT_DENSE}"),
        (torch.zeros(2, dtype=torch.complex64), f"a is strided complex64 on cpu; {NOT_DENSE}"),
        (torch.zeros(2, dtype=torch.bool), f"a is strided bool on cpu; {NOT_DENSE}"),
        ("text", "is not a state_dict: expected tensors by name"),
        ({"b": torch.zeros(2)}, "is not a state_dict: expected tensors by name"),
    ],
)
def test_tensors(tmp_path: Path, value: object, message: str) -> None:
    """Nothing but dense numbers with values."""
    torch.save({"a": value}, tmp_path / "a.pt")
    assert message_of(tmp_path / "a.pt") == message


def test_names_that_are_not_text(tmp_path: Path) -> None:
    """Numbers, for instance."""
    torch.save({1: torch.zeros(2)}, tmp_path / "a.pt")
    assert message_of(tmp_path / "a.pt") == "is not a state_dict: expected tensors by name"


def rewritten(path: Path, compression: int) -> None:
    """Write an archive again with another compression."""
    with zipfile.ZipFile(path) as archive:
        members = [(member.filename, archive.read(member)) for member in archive.infolist()]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    path.write_bytes(packed.getvalue())


def test_a_compressed_file(tmp_path: Path) -> None:
    """A hundred megabytes of zeros in a hundred kilobytes are not unpacked; the same file without
    compression is read."""
    path = tmp_path / "a.pt"
    torch.save({"a": torch.zeros(2**18)}, path)
    rewritten(path, zipfile.ZIP_STORED)
    assert read_model_file(path)[0]["a"].shape == (2**18,)
    rewritten(path, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10_000
    message = (
        "is compressed, which files of torch.save are not; load it in PyTorch and save it again"
    )
    assert message_of(path) == message
    with pytest.raises(WeightsError, match="is compressed"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "cfg", [[1], [["net"]], [["net", 5]], [[5, {}]], [["net", {"width": 8}]], [["net", {}, 1]]]
)
def test_a_checkpoint_with_another_cfg(tmp_path: Path, cfg: object) -> None:
    """Its cfg is a list of names and options of text."""
    torch.save({"format": 1, "cfg": cfg, "network": {}}, tmp_path / "a.pt")
    expected = "has a cfg that is not a list of names and options"
    assert message_of(tmp_path / "a.pt") == expected
    with pytest.raises(WeightsError, match=expected):
        load_checkpoint(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("network", {"a": 1}, "is not a state_dict: expected tensors by name"),
        ("average", {"a": torch.zeros(2, device="meta")}, "a is strided float32 on meta; "),
        ("facts", [], "is not a checkpoint, or is damaged: facts is a list"),
        ("finished", "7", "is not a checkpoint, or is damaged: finished is a str"),
    ],
)
def test_entries_of_a_checkpoint(tmp_path: Path, key: str, value: object, message: str) -> None:
    """Of other types than a training writes."""
    torch.save({"format": 1, "cfg": [], "network": {}, key: value}, tmp_path / "a.pt")
    with pytest.raises(WeightsError) as error:
        load_checkpoint(tmp_path / "a.pt")
    assert str(error.value).startswith(f"{tmp_path / 'a.pt'}: {message}")


def test_a_checkpoint_that_lacks_an_entry(tmp_path: Path) -> None:
    """It can be read as a model file, and not resumed."""
    torch.save({"format": 1, "cfg": [], "network": {}, "finished": 1}, tmp_path / "a.pt")
    state = load_checkpoint(tmp_path / "a.pt")
    with pytest.raises(WeightsError, match="is not a checkpoint, or is damaged: it has no facts$"):
        check_complete(tmp_path / "a.pt", state)


def test_an_optimizer_of_another_network(tmp_path: Path) -> None:
    """Every error of PyTorch becomes one line that names the file."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    for wrong in ({}, {"state": {}, "param_groups": [5]}, {"state": {}, "param_groups": []}):
        with pytest.raises(WeightsError) as error, restoring(tmp_path / "a.pt"):
            optimizer.load_state_dict(wrong)
        text = str(error.value)
        assert text.startswith(f"{tmp_path / 'a.pt'}: is not a checkpoint, or is damaged: ")
        assert "\n" not in text
