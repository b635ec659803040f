"""What holds for every network, on networks that are drawn at random."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from darknet_builder import (
    Detector,
    ExportSettings,
    Network,
    export_network,
    format_cfg,
    load_weights,
    parse_cfg,
    save_weights,
)
from darknet_builder.network.folding import fold_batch_norm
from darknet_builder.support.distributed import ProcessGroup
from tests.fuzz.networks import RandomNetwork, networks
from tests.fuzz.profiles import few_examples

_SEEDS = st.integers(0, 2**16)


def images(network: Network, seed: int, count: int = 1) -> Tensor:
    """Return random images (B, C, H, W) in [0, 1] for a network."""
    shape = network.input_shape
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, shape.channels, shape.height, shape.width, generator=generator)


def check_close(found: Sequence[Tensor], expected: Sequence[Tensor], tolerance: float) -> None:
    """Compare outputs relative to the largest value of each."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        scale = max(1.0, float(other.abs().max()))
        assert float((one - other).abs().max()) <= tolerance * scale


@given(networks())
@torch.inference_mode()
def test_shapes(random: RandomNetwork) -> None:
    """Each layer announces the shape of Darknet's formula, and its output has it."""
    network = random.build()
    outputs = network.layer_outputs(images(network, 0))
    announced = [layer.out_shape for layer in network.sequence()]
    assert [(s.channels, s.height, s.width) for s in announced] == random.shapes
    for output, shape in zip(outputs, random.shapes, strict=True):
        # A [region] gives its map as Darknet stores it, in one row.
        assert output.shape[1:] in (shape, (math.prod(shape),))
    assert all(output.isfinite().all() for output in outputs)


@given(networks())
def test_format_and_parse(random: RandomNetwork) -> None:
    blocks = parse_cfg(random.text)
    text = format_cfg(blocks)
    again = parse_cfg(text)
    assert again == blocks
    assert format_cfg(again) == text


@given(random=networks(), seed=_SEEDS)
def test_save_and_load(
    random: RandomNetwork, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Every value comes back, and the second file has the bytes of the first."""
    folder = tmp_path_factory.mktemp("saved")
    network, other = random.build(seed), random.build(seed + 1)
    save_weights(network, folder / "a.weights")
    load_weights(other, folder / "a.weights")
    save_weights(other, folder / "b.weights")
    assert (folder / "a.weights").read_bytes() == (folder / "b.weights").read_bytes()
    x = images(network, seed)
    with torch.inference_mode():
        for one, same in zip(network.outputs(x), other.outputs(x), strict=True):
            assert torch.equal(one, same)


@given(networks(), _SEEDS)
@torch.inference_mode()
def test_folding(random: RandomNetwork, seed: int) -> None:
    network = random.build(seed)
    x = images(network, seed)
    check_close(fold_batch_norm(network).outputs(x), network.outputs(x), 1e-4)


@given(networks(), _SEEDS)
@torch.inference_mode()
def test_batches(random: RandomNetwork, seed: int) -> None:
    """A batch gives what its images give one by one."""
    network = random.build(seed)
    batch = images(network, seed, 3)
    singles = [network.outputs(image[None]) for image in batch]
    joined = [torch.cat(parts) for parts in zip(*singles, strict=True)]
    check_close(network.outputs(batch), joined, 1e-5)


@pytest.mark.parametrize(
    "backend",
    [
        "torch",
        *(pytest.param(name, marks=pytest.mark.pack) for name in ("onnxruntime", "openvino")),
    ],
)
@few_examples
@given(random=networks(with_head=True), seed=_SEEDS)
@torch.inference_mode()
def test_engines(backend: str, random: RandomNetwork, seed: int) -> None:
    if backend != "torch":
        pytest.importorskip(backend, reason=f"the package {backend} is not installed")
    network = random.build(seed)
    x = images(network, seed, 2)
    expected = [output.clone() for output in network.outputs(x)]
    fast = network.optimized(backend=backend)
    check_close(fast.outputs(x), expected, 1e-4)


@pytest.mark.pack
@few_examples
@given(random=networks(), seed=_SEEDS, suffix=st.sampled_from([".onnx", ".pt2", ".cfg", ".pt"]))
def test_exports(
    random: RandomNetwork, seed: int, suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """``export_network`` reads the file back and compares the outputs by itself."""
    pytest.importorskip("onnxruntime", reason="the extra export is not installed")
    path: Path = tmp_path_factory.mktemp("exported") / f"network{suffix}"
    network = random.build(seed)
    before = copy.deepcopy(network.state_dict())
    report = export_network(network, path, settings=ExportSettings())
    assert report.difference is not None and path.stat().st_size > 0
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])


@given(st.integers(0, 50), st.integers(1, 9))
def test_shards(count: int, processes: int) -> None:
    """Every item of a list is in the shard of one process, and in order."""
    items = list(range(count))
    shards = [list(ProcessGroup(rank, processes).shard(items)) for rank in range(processes)]
    assert sorted(item for shard in shards for item in shard) == items
    assert all(shard == sorted(shard) for shard in shards)


@few_examples
@given(random=networks(with_head=True), seed=_SEEDS, batch=st.integers(1, 4))
def test_any_split_of_a_list_gives_the_same_detections(
    random: RandomNetwork, seed: int, batch: int
) -> None:
    network = random.build(seed)
    channels = network.input_shape.channels
    if channels not in (1, 3):
        return
    generator = np.random.default_rng(seed)
    photos = [generator.integers(0, 256, (20, 30, 3), np.uint8) for _ in range(4)]
    whole = Detector(network, threshold=0.1, batch=batch)(photos)
    for photo, expected in zip(photos, whole, strict=True):
        found = Detector(network, threshold=0.1)(photo)
        assert found.labels == expected.labels
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
        np.testing.assert_allclose(found.boxes_xyxy, expected.boxes_xyxy, atol=1e-2)
