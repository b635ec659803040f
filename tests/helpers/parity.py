"""Compare a network with a fixture of the parity pack: weights through a real file, every layer of
every frame."""

from __future__ import annotations

import filecmp
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import generator
import numpy as np
import torch
from torch import Tensor, nn

from darknet_builder.layers.convolutional import Convolutional
from darknet_builder.network.build import build_network
from darknet_builder.network.network import Network
from darknet_builder.weights.loader import load_weights, save_weights

HEADS = ("yolo", "region", "gaussian_yolo", "detection", "softmax")
_XNOR_STEP = 256


@dataclass(frozen=True)
class Fixture:
    """One recorded network: see the pack's README."""

    meta: dict[str, Any]
    arrays: dict[str, np.ndarray]
    cfg: str | Path
    dialect: str

    @property
    def name(self) -> str:
        """The network's name."""
        return str(self.meta["name"])

    def build(self) -> Network:
        """The network at the recorded size, without weights yet."""
        return build_network(
            self.cfg,
            width=self.meta["width"] or None,
            height=self.meta["height"] or None,
            dialect=self.dialect,
            initialize=False,
        ).eval()

    def frames(self) -> Tensor:
        """The recorded input, one image (or vector) a frame."""
        meta = self.meta
        shape = (
            (meta["channels"], meta["height"], meta["width"])
            if meta["channels"]
            else (meta["inputs"],)
        )
        return torch.from_numpy(generator.input_image(meta["seed"] + 1, (meta["frames"], *shape)))

    def write_weights(self, path: Path) -> None:
        """The file that Darknet loaded."""
        generator.write_weights(
            path, [segment[1:] for segment in self.meta["segments"]], self.meta["seed"]
        )


def check_structure(fixture: Fixture, network: Network) -> None:
    """Sizes, parameters and BFLOPs."""
    for recorded, layer in zip(fixture.meta["layers"], network.sequence(), strict=True):
        if getattr(layer, "blur", None) is not None:
            continue  # Darknet records the size before the blur; the next layer's size shows what it came to
        shape = layer.out_shape
        assert shape.size == recorded["outputs"], recorded
        if recorded["out_c"] and not shape.flat:
            assert [shape.channels, shape.height, shape.width] == [
                recorded[key] for key in ("out_c", "out_h", "out_w")
            ]
    assert network.num_stored == fixture.meta["parameters"]
    if fixture.meta.get("bflops") is not None:
        assert f"{network.bflops:.3f}" == f"{fixture.meta['bflops']:.3f}"


def check_weights_file(fixture: Fixture, network: Network, folder: Path) -> None:
    """Load the generated file and save it again: the same bytes."""
    source, copy = folder / "source.weights", folder / "copy.weights"
    fixture.write_weights(source)
    report = load_weights(network, source)
    assert report.num_floats == fixture.meta["parameters"]
    save_weights(network, copy)
    assert filecmp.cmp(source, copy, shallow=False)
    source.unlink()
    copy.unlink()


Place = tuple[int, int]
"""Frame and index of a layer."""


def check_outputs(fixture: Fixture, network: Network) -> None:
    """Every layer of every frame, at the pack's bound.

    Both sides are float32, and where they round away from each other deep networks with random
    weights magnify it: with the convolutions of an AVX2 processor one [yolo] of yolov4_new is 1.2
    bounds from Darknet's, which itself is 0.8 bounds from what float64 gives, while ours is 0.4. So
    a layer beyond the bound is computed in float64, which must be within it; and float32 must be no
    further from that than Darknet's is.
    """
    _prepare(fixture, network)
    wrong = {
        place: (fault, output)
        for place, output in _outputs(fixture, network, torch.float32)
        if (fault := _fault(fixture, place, output))
    }
    if wrong:
        network.double().reset_state()
        for place, exact in _outputs(fixture, network, torch.float64):
            if (
                place in wrong
                and not _fault(fixture, place, exact)
                and _is_nearer(fixture, place, wrong[place][1], exact)
            ):
                del wrong[place]
    assert not wrong, "\n".join([fault for fault, _ in wrong.values()][:10])


def _outputs(
    fixture: Fixture, network: Network, dtype: torch.dtype
) -> Iterator[tuple[Place, np.ndarray]]:
    with torch.no_grad(), _unblurred(network) as unblurred:
        for number, frame in enumerate(fixture.frames().to(dtype)):
            for index, output in enumerate(network.layer_outputs(frame[None])):
                yield (number, index), _as_recorded(output, unblurred.get(index))


def _recorded(fixture: Fixture, place: Place) -> tuple[np.ndarray, np.ndarray]:
    """The places of a layer's output that were recorded, and their values."""
    frame, index = place
    layers = fixture.meta["layers"]
    most = 1024 if layers[index]["type"] in HEADS or index == len(layers) - 1 else 48
    positions = generator.sample_positions(
        fixture.meta["seed"] + 2 + index, layers[index]["outputs"], most
    )
    return positions, fixture.arrays[f"{frame}/{index}/values"]


def _fault(fixture: Fixture, place: Place, output: np.ndarray) -> str:
    """A line for a layer that is further off than float32 sums in another order explain; empty for
    others."""
    frame, index = place
    recorded = fixture.meta["layers"][index]
    norm = float(fixture.arrays[f"{frame}/{index}/norm"])
    if output.size != recorded["outputs"]:
        return (
            f"frame {frame} layer {index} [{recorded['type']}]: {output.size} values, not"
            f" {recorded['outputs']}"
        )
    bound = 1e-3 * norm / np.sqrt(recorded["outputs"]) + 1e-5
    positions, values = _recorded(fixture, place)
    difference = np.abs(output[positions] - values).max()
    norm_difference = abs(np.linalg.norm(output.astype(np.float64)) - norm)
    if difference <= bound and norm_difference <= 1e-4 * norm:
        return ""
    return (
        f"frame {frame} layer {index} [{recorded['type']}]: off by {difference:.3g} (bound"
        f" {bound:.3g}), norm by {norm_difference / max(norm, 1e-30):.2g}"
    )


def _is_nearer(fixture: Fixture, place: Place, output: np.ndarray, exact: np.ndarray) -> bool:
    """Whether our float32 is at least as near to float64 as Darknet's."""
    positions, values = _recorded(fixture, place)
    return bool(
        np.abs(output[positions] - exact[positions]).max()
        <= np.abs(values - exact[positions]).max()
    )


# ---- three things that the recording programs did in their own way -------------------------------
# None of them loosens a bound: each says exactly what Darknet's memory held.


def _prepare(fixture: Fixture, network: Network) -> None:
    if fixture.dialect == "pjreddie":
        _divide_as_pjreddies_cpu(network)
    for layer in network.sequence():
        if isinstance(layer, Convolutional) and layer.xnor:
            _count_bits_as_recorded(layer)


def _divide_as_pjreddies_cpu(network: Network) -> None:
    """pjreddie's CPU code divides by sqrt(v) + 1e-6, its GPU code, which we follow, by sqrt(v +
    1e-5).

    The relative difference of 5e-6 a layer adds up to 1e-4 over 100 layers. Variances that make the
    two formulas equal hold everything else to the full bound.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.running_var is not None
            module.running_var.copy_((module.running_var.sqrt() + 1e-6).square())
            module.eps = 0.0


def _count_bits_as_recorded(layer: Convolutional) -> None:
    """Undo what Darknet's bit-counting code leaves out, and did twice, when it was recorded.

    It returns before batch norm, because the detector folds batch norm first, and the recording did
    not: only the bias was added. And with 32, 64, ... input channels it negates the weights' bits
    for the GPU's sake (``gpu_index``, 0 in the CPU library unless its main program says otherwise),
    then counts on the CPU: the sum changes its sign, and the padding up to 256 bits counts as -1
    each, twice.
    """
    assert (
        layer.norm is not None
        and layer.norm.running_mean is not None
        and layer.norm.running_var is not None
    )
    layer.norm.running_mean.zero_()
    layer.norm.running_var.fill_(1 - layer.norm.eps)
    layer.norm.weight.data.fill_(1)
    taps = layer.conv.weight[0].numel()
    if layer.in_shape.channels % 32:
        return
    mean = layer.conv.weight.detach().abs().mean((1, 2, 3)).view(1, -1, 1, 1)
    count = layer._binary_convolution
    padding = -taps % _XNOR_STEP
    layer._binary_convolution = lambda x: -count(x) - 2 * padding * mean  # type: ignore[method-assign]


@contextmanager
def _unblurred(network: Network) -> Iterator[dict[int, Tensor]]:
    """The maps that go into the blur of ``antialiasing=`` layers, by layer index."""
    maps: dict[int, Tensor] = {}
    handles = []
    for index, layer in enumerate(network.sequence()):
        blur = getattr(layer, "blur", None)
        if blur is not None:
            handles.append(
                blur.register_forward_hook(
                    lambda module, inputs, output, index=index: maps.__setitem__(index, inputs[0])
                )
            )
    yield maps
    for handle in handles:
        handle.remove()


def _as_recorded(output: Tensor, unblurred: Tensor | None) -> np.ndarray:
    """The output's memory: Darknet copies the blurred map over the beginning of the unblurred
    one."""
    values = output.flatten().numpy()
    if unblurred is None:
        return values
    memory = unblurred.flatten().numpy().copy()
    memory[: values.size] = values
    return memory
