"""One file that rebuilds a network, as safetensors and as a state_dict; every way in which such a
file can be wrong."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor

from darknet_builder.cfg.model_files import read_model_file, write_model_file
from darknet_builder.cfg.model_metadata import ModelMetadata, is_model_file
from darknet_builder.errors import InputError, WeightsError
from darknet_builder.export.export import export_network
from darknet_builder.export.settings import ExportSettings
from darknet_builder.layers.base import WeightsHeader
from darknet_builder.network.build import build_network
from darknet_builder.network.network import Network
from darknet_builder.prediction.detector import Detector
from darknet_builder.weights.loader import load_weights
from tests.helpers.toy_detector import NAMES, RED, squares, toy_files
from tests.helpers.unit_networks import UNIT_CFGS

SUFFIXES = (".safetensors", ".pt")


def network(name: str = "yolo-heads", **size: int) -> Network:
    """With random weights."""
    torch.manual_seed(3)
    return build_network(UNIT_CFGS[name], **size).eval()


def same(first: Network, second: Network) -> bool:
    """Every tensor, bit for bit, by name."""
    one, two = first.state_dict(), second.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", ["yolo-heads", "conv-share", "recurrent", "local", "implicit"])
def test_one_file_rebuilds_the_network(name: str, suffix: str, tmp_path: Path) -> None:
    original = network(name)
    path = tmp_path / f"model{suffix}"
    report = export_network(original, path)
    assert (report.paths, report.format, report.difference) == ((path,), suffix[1:], 0.0)
    again = build_network(path)
    assert same(original, again)
    assert again.blocks[1:] == original.blocks[1:]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_stands_beside_the_weights(suffix: str, tmp_path: Path) -> None:
    original = network(width=128, height=160)
    original.header = WeightsHeader(0, 2, 5, 2**40)
    path = tmp_path / f"model{suffix}"
    export_network(original, path, settings=ExportSettings(names=["ä", "b", "c"]))
    again = build_network(str(path))
    assert (again.input_size, again.names, again.header) == (
        (128, 160),
        ("ä", "b", "c"),
        original.header,
    )
    assert build_network(path, width=64, height=64).input_size == (64, 64)
    assert again.blocks[1].source == str(path)  # so that an error would name the file


def test_the_file_s_own_dialect_holds(tmp_path: Path) -> None:
    text = "[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\nfilters=2\n[l2norm]\n"
    export_network(build_network(text, dialect="pjreddie"), tmp_path / "a.safetensors")
    assert build_network(tmp_path / "a.safetensors").dialect.name == "pjreddie"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_detector_of_one_file(suffix: str, tmp_path: Path) -> None:
    cfg, weights, _ = toy_files(tmp_path)
    toy = build_network(cfg)
    load_weights(toy, weights)
    export_network(toy, tmp_path / f"toy{suffix}", settings=ExportSettings(names=NAMES))
    detector = Detector(tmp_path / f"toy{suffix}")
    assert detector(squares((RED, 1, 2))).labels == ["red"]


def test_a_state_dict_is_an_ordinary_one(tmp_path: Path) -> None:
    """Anyone's ``load_state_dict`` takes it."""
    original = network()
    export_network(original, tmp_path / "a.pt")
    state = torch.load(tmp_path / "a.pt", weights_only=True)
    assert all(isinstance(tensor, Tensor) for tensor in state.values())
    other = build_network(UNIT_CFGS["yolo-heads"])
    assert str(other.load_state_dict(state)) == "<All keys matched successfully>"
    assert same(original, other)


def test_weights_alone_go_into_a_network(tmp_path: Path) -> None:
    original = network()
    torch.save(original.state_dict(), tmp_path / "a.pt")
    other = build_network(UNIT_CFGS["yolo-heads"])
    report = load_weights(other, tmp_path / "a.pt")
    assert same(original, other)
    assert (report.num_floats, report.num_layers) == (original.num_stored, 5)
    with pytest.raises(
        InputError,
        match=r"^until=2: .*a\.pt holds tensors by name, which can only be loaded all together$",
    ):
        load_weights(other, tmp_path / "a.pt", until=2)
    with pytest.raises(InputError) as error:
        build_network(tmp_path / "a.pt")
    assert (
        str(error.value)
        == f"{tmp_path / 'a.pt'}: holds weights and no cfg; give the cfg, and this file as its"
        " weights"
    )


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".cfg"])
def test_the_dialect_stands_in_the_file(suffix: str, tmp_path: Path) -> None:
    """[region] and others depend on it; a dialect given as an argument takes precedence."""
    torch.manual_seed(0)
    original = build_network(UNIT_CFGS["region"], dialect="pjreddie").eval()
    export_network(original, tmp_path / f"a{suffix}")
    assert build_network(tmp_path / f"a{suffix}").dialect.name == "pjreddie"
    assert build_network(tmp_path / f"a{suffix}", dialect="alexeyab").dialect.name == "alexeyab"
    assert build_network(UNIT_CFGS["region"]).dialect.name == "alexeyab"


def test_a_checkpoint_of_a_training_is_one_too(tmp_path: Path) -> None:
    original = network()
    cfg = [[block.name, dict(block)] for block in original.blocks]
    torch.save(
        {"format": 1, "cfg": cfg, "network": original.state_dict(), "finished": 7},
        tmp_path / "best.pt",
    )
    assert same(build_network(tmp_path / "best.pt"), original)


def test_safetensors_metadata_can_be_read_without_this_package(tmp_path: Path) -> None:
    from safetensors import safe_open

    export_network(
        network(), tmp_path / "a.safetensors", settings=ExportSettings(names=["a", "b", "c"])
    )
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        facts = file.metadata()
    assert facts["cfg"].startswith("[net]\n") and "scale_x_y=1.2\n" in facts["cfg"]
    assert (facts["names"], facts["dialect"], facts["size"]) == (
        '["a", "b", "c"]',
        "alexeyab",
        "64 96",
    )


def test_half_precision_comes_back_as_float32(tmp_path: Path) -> None:
    original = network("route")
    write_model_file(
        tmp_path / "a.safetensors", original.half(), ModelMetadata(cfg=UNIT_CFGS["route"])
    )
    again = build_network(tmp_path / "a.safetensors")
    assert {tensor.dtype for tensor in again.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("a.safetensors", True),
        (Path("b.PT"), True),
        ("c.weights", False),
        ("d.cfg", False),
        ("[net]\nx=a.pt", False),
        (["x.pt"], False),
    ],
)
def test_which_paths_are_model_files(path: object, answer: bool) -> None:
    assert is_model_file(path) is answer


# ---- what can be wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_file(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as error:
        build_network(tmp_path / f"a{suffix}")
    assert str(error.value) == f"{tmp_path / f'a{suffix}'}: no such model file"


@pytest.mark.parametrize("content", [b"", b"[net]\nwidth=8\n", b"\0" * 100, b"PK\x03\x04garbage"])
def test_damaged_files(content: bytes, tmp_path: Path) -> None:
    for suffix, expected in (
        (".safetensors", "is not a safetensors file, or is damaged: "),
        (
            ".pt",
            (
                "is damaged, or PyTorch cannot load it with weights_only=True; "
                "export it again as a state_dict"
            ),
        ),
    ):
        path = tmp_path / f"a{suffix}"
        path.write_bytes(content)
        with pytest.raises(WeightsError) as error:
            build_network(path)
        assert str(error.value).startswith(f"{path}: {expected}")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("cut", [1, 1000])
def test_files_that_were_cut_off(suffix: str, cut: int, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    export_network(network(), path)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(WeightsError, match="is damaged"):
        build_network(path)


def test_a_pickle_is_not_run(tmp_path: Path) -> None:
    """A whole module, as torch.save writes it, could run anything when it is opened."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(network("route"), tmp_path / "a.pt")
    with pytest.raises(
        WeightsError, match="is damaged, or PyTorch cannot load it with weights_only=True"
    ):
        build_network(tmp_path / "a.pt")


def test_a_list_is_no_state_dict(tmp_path: Path) -> None:
    torch.save([torch.zeros(1)], tmp_path / "a.pt")
    with pytest.raises(
        WeightsError, match=r"a\.pt: is not a state_dict: expected tensors by name$"
    ):
        build_network(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda state: state.pop("layers.0.conv.weight"),
            (
                "1 of the network's 12 tensors are missing, the first is layers.0.conv.weight (8,"
                " 3, 3, 3); it belongs to another cfg"
            ),
        ),
        (
            lambda state: state.update({"layers.0.conv.weigth": torch.zeros(1)}),
            (
                "holds layers.0.conv.weigth, which the network does not have; did you mean"
                " 'layers.0.conv.weight'?; it belongs to another cfg"
            ),
        ),
        (
            lambda state: state.update({"layers.0.conv.weight": torch.zeros(4, 3, 3, 3)}),
            (
                "layers.0.conv.weight is (4, 3, 3, 3), the network needs (8, 3, 3, 3); it belongs"
                " to another cfg"
            ),
        ),
    ],
)
def test_tensors_that_do_not_fit(change: object, message: str, tmp_path: Path) -> None:
    text = (
        "[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\nfilters=8\nsize=3\npad=1\nbatch_normalize=1\n"
        * 1
    )
    text += "[convolutional]\nfilters=2\nsize=1\nbatch_normalize=1\n"
    original = build_network(text)
    state = original.state_dict()
    assert callable(change)
    change(state)
    torch.save(state, tmp_path / "a.pt")
    before = [tensor.clone() for tensor in original.state_dict().values()]
    with pytest.raises(WeightsError) as error:
        load_weights(original, tmp_path / "a.pt")
    assert str(error.value) == f"{tmp_path / 'a.pt'}: {message}"
    assert all(map(torch.equal, before, original.state_dict().values()))  # nothing was written


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        with pytest.raises(WeightsError, match=r"cannot be written: No such file or directory$"):
            export_network(network("route"), tmp_path / "none" / f"a{suffix}")


def test_reading_needs_no_network(tmp_path: Path) -> None:
    export_network(network("route"), tmp_path / "a.safetensors")
    tensors, metadata = read_model_file(tmp_path / "a.safetensors")
    assert "layers.0.conv.weight" in tensors and metadata.dialect == "alexeyab"
