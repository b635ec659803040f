"""The text beside the tensors of a model file at its limits, and files made to mislead a reader."""

from __future__ import annotations

import copy
import random
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from darknet_builder.cfg import model_files
from darknet_builder.cfg.model_files import (
    load_torch_file,
    named_tensors,
    read_graph,
    read_model_file,
    write_model_file,
)
from darknet_builder.cfg.model_metadata import (
    ModelMetadata,
    is_graph_file,
    refuse_second_weights,
)
from darknet_builder.errors import InputError, WeightsError


def test_metadata_comes_back_at_its_limits() -> None:
    """The largest sizes and the largest counter of images; names in any script stay readable."""
    largest = ModelMetadata(
        "[net]\n", ("ä", "猫"), "pjreddie", 2**31 - 1, 2**31 - 1, (2**64 - 1,) * 4
    )
    text = largest.as_text()
    assert ModelMetadata.from_text({**text, "format": "pt", "unknown": "1"}) == largest
    assert (text["names"], text["format"]) == ('["ä", "猫"]', "pt")
    assert ModelMetadata.from_text({}) == ModelMetadata()
    assert ModelMetadata().header == (0, 2, 5, 0)


BEYOND: list[tuple[str, str]] = [
    ("size", f"{2**31} 8"),
    ("size", f"8 {2**31}"),
    ("size", "8 8 8"),
    ("header", f"0 2 5 {2**64}"),
    ("header", f"0 2 5 {10**20}"),
    ("header", "0 2 x 5"),
    ("header", "0 2 5 0 0"),
]


def test_metadata_beyond_its_limits() -> None:
    for key, value in BEYOND:
        with pytest.raises(ValueError, match=f"^its metadata has {key} '.*whole numbers$"):
            ModelMetadata.from_text({key: value})


@pytest.mark.parametrize(("length", "end"), [(38, "'"), (39, "...")])
def test_how_much_of_a_value_is_quoted(length: int, end: str) -> None:
    """40 characters with the quotation marks."""
    with pytest.raises(ValueError, match="its metadata has dialect") as raised:
        ModelMetadata.from_text({"dialect": "x" * length})
    shown = f"'{'x' * min(length, 39)}{end}"
    assert str(raised.value) == f"its metadata has dialect {shown}; expected alexeyab or pjreddie"


def test_second_weights() -> None:
    """Whichever kind of model file it is."""
    for cfg in ("a.pt", Path("a.safetensors"), "a.ONNX"):
        refuse_second_weights(cfg, None)
        with pytest.raises(InputError, match="^a.* holds weights already; leave b.weights out$"):
            refuse_second_weights(cfg, "b.weights")
    refuse_second_weights("a.cfg", "b.weights")
    assert not is_graph_file(["a.onnx"])


# ---- files ---------------------------------------------------------------------------------------


def test_a_folder_is_not_a_model_file(tmp_path: Path) -> None:
    for suffix in (".pt", ".safetensors"):
        path = tmp_path / f"a{suffix}"
        path.mkdir()
        with pytest.raises(WeightsError) as raised:
            read_model_file(path)
        assert str(raised.value) == f"{path}: cannot be read: Is a directory"


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_tensors_are_refused() -> None:
    """Their layout and type say nothing of it."""
    nested = torch.nested.nested_tensor([torch.zeros(2)])
    with pytest.raises(WeightsError, match="^a.pt: a is strided float32 on cpu; expected dense"):
        named_tensors({"a": nested}, "a.pt")


def test_a_reason_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of several."""

    def fail(path: Path, kind: str) -> None:
        raise RuntimeError("first\nsecond")

    monkeypatch.setattr(
        model_files, "load_extra", lambda name, extra: SimpleNamespace(safe_open=fail)
    )
    (tmp_path / "a.safetensors").write_bytes(b"x")
    with pytest.raises(WeightsError, match="is not a safetensors file, or is damaged: first$"):
        read_model_file(tmp_path / "a.safetensors")


def test_a_state_dict_has_pytorchs_version(tmp_path: Path) -> None:
    """As ``state_dict`` notes it for a module, beside our own text."""
    module = torch.nn.Conv2d(1, 1, 1)
    write_model_file(tmp_path / "a.pt", module, ModelMetadata("[net]\n"))
    written: Any = torch.load(tmp_path / "a.pt", weights_only=True)
    expected: Any = module.state_dict()
    assert written._metadata[""]["version"] == expected._metadata[""]["version"]
    assert read_model_file(tmp_path / "a.pt")[1] == ModelMetadata("[net]\n")


def archive_of(path: Path, compression: int, *, twice: bool = False) -> None:
    """Write random bytes, which cannot be made smaller, as one member or as two that share them."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("a", random.Random(0).randbytes(2000))
        if twice:
            again = copy.copy(archive.filelist[0])
            again.filename = "b"
            archive.filelist.append(again)


@pytest.mark.parametrize(
    ("compression", "twice", "message"),
    [
        (zipfile.ZIP_DEFLATED, False, "is compressed, which files of torch.save are not"),
        (zipfile.ZIP_STORED, True, "is compressed, which files of torch.save are not"),
        (zipfile.ZIP_STORED, False, "is damaged"),
    ],
)
def test_archives_that_grow(tmp_path: Path, compression: int, twice: bool, message: str) -> None:
    """By compression, or because two members share their bytes."""
    path = tmp_path / "a.pt"
    archive_of(path, compression, twice=twice)
    with pytest.raises(WeightsError, match=message):
        load_torch_file(path, "is damaged")


def test_other_onnx_files(tmp_path: Path) -> None:
    """Damaged ones, those of other programs, and one that asks for another file's bytes, which
    are not read."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    path = tmp_path / "a.onnx"
    path.write_text("text")
    with pytest.raises(WeightsError, match="is not an ONNX file, or is damaged$"):
        read_graph(path)
    tensor = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=[1])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="secret")
    (tmp_path / "secret").write_bytes(b"1234")
    model = onnx.helper.make_model(onnx.helper.make_graph([], "a", [], [], [tensor]))
    onnx.save(model, str(path))
    with pytest.raises(
        WeightsError,
        match="only ONNX files that export wrote in int8 can be run",
    ):
        read_graph(path)
    onnx.helper.set_model_props(model, {"darknet_builder": '{"cfg": "[net]"}'})
    onnx.save(model, str(path))
    found, metadata = read_graph(path)
    assert metadata == ModelMetadata("[net]")
    assert not found.graph.initializer[0].raw_data
