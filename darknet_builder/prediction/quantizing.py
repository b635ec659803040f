"""Quantize a network on first use, keep the file beside its weights, and run it in int8."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch

from darknet_builder.cfg.parser import format_cfg
from darknet_builder.engines.choice import (
    choose_engine,
    default_backend,
    is_depthwise,
    measure_engines,
)
from darknet_builder.engines.names import AUTO, WORTHWHILE
from darknet_builder.engines.optimized import OptimizedNetwork
from darknet_builder.errors import InputError
from darknet_builder.export.export import export_network
from darknet_builder.export.quantized.calibration import find_photographs
from darknet_builder.export.quantized.settings import INT8, NUM_IMAGES, Int8Settings
from darknet_builder.export.settings import ExportSettings
from darknet_builder.network.build import build_graph_network
from darknet_builder.network.network import Network
from darknet_builder.support.extras import load_extra
from darknet_builder.support.version import VERSION

_HASH_LETTERS = 12


@dataclass(frozen=True)
class Calibration:
    """Photographs to calibrate on.

    Attributes:
        source: an image, a folder, a glob or a ``.data`` file; see ``find_photographs``.
        count: most photographs to use.
        resize: how they are fitted; None for the network's default.

    Example:
        >>> Calibration("photos").count
        300
    """

    source: str | Path
    count: int = NUM_IMAGES
    resize: str | None = None

    @classmethod
    def of(
        cls, source: str | Path | None, count: int = NUM_IMAGES, resize: str | None = None
    ) -> Calibration | None:
        """Return the calibration, or None without a source."""
        return None if source is None else cls(source, count, resize)


def quantized_runner(
    network: Network, beside: object, calibration: Calibration, backend: str | None, batch: int
) -> OptimizedNetwork:
    """Return a copy that runs in int8, or in float32 where the backend ``auto`` finds no gain.

    Args:
        network: a loaded network in eval mode on the CPU.
        beside: path of the file with its weights.
        calibration: the photographs.
        backend: a backend for quantized files; None for the preferred one; ``auto`` compares int8
            with float32.
        batch: number of images in a call.

    Raises:
        DarknetError: as ``export_network``; ``InputError`` if ``beside`` is not a file.
    """
    if backend != AUTO:
        graph = quantize_once(network, beside, calibration)
        return graph.optimized(INT8, backend or default_backend(graph), batch)
    if is_depthwise(network):
        remark = "networks with depthwise convolutions gain no speed in int8, so auto leaves it out"
        choice, engine, timings = choose_engine(network, AUTO, "float32", batch)
    else:
        graph = quantize_once(network, beside, calibration)
        choice, engine, timings = choose_engine(network, AUTO, "float32", batch)
        small, small_engine, _ = choose_engine(graph, AUTO, INT8, batch)
        x = torch.rand(network.input_shape.batched(batch))
        timings = timings | measure_engines({choice: engine, small: small_engine}, x)
        remark = f"int8 is not {WORTHWHILE} times as fast as float32 here"
        if timings[choice] >= WORTHWHILE * timings[small]:
            network, choice, engine, remark = graph, small, small_engine, ""
    seconds = {":".join(measured): value for measured, value in timings.items()}
    return OptimizedNetwork(network, engine, *choice, seconds, remark)


def quantize_once(network: Network, beside: object, calibration: Calibration) -> Network:
    """Return the network of a quantized file, which is written on first use.

    The file is called ``NAME-HASH.int8.onnx``. The hash is that of the weights, the cfg, the
    photographs and the versions in use.

    Args:
        network: a loaded network in eval mode on the CPU.
        beside: path of the file with its weights, in whose folder the quantized file is kept.
        calibration: the photographs.

    Raises:
        DarknetError: as ``export_network``; ``InputError`` if ``beside`` is not a file.
    """
    if not isinstance(beside, str | Path) or not Path(beside).is_file():
        raise InputError(
            f"precision={INT8!r} keeps a file beside the weights, so it needs the path of a"
            " weights or model file; export the network in int8 instead, and load that file"
        )
    images = find_photographs(calibration.source, calibration.count)
    name = f"{Path(beside).stem}-{_key(network, images, calibration)}.{INT8}.onnx"
    path = Path(beside).with_name(name)
    if not path.is_file():
        settings = ExportSettings(
            any_batch=True, resize=calibration.resize, int8=Int8Settings(images)
        )
        export_network(network, path, settings=settings)
    return build_graph_network(path)


def _key(network: Network, images: list[Path], calibration: Calibration) -> str:
    """Return a hash of everything that a quantized file depends on."""
    runtime = load_extra("onnxruntime", INT8)
    digest = hashlib.sha256()
    texts = (VERSION, runtime.__version__, format_cfg(network.blocks), network.dialect.name)
    for text in (*texts, str(network.input_size), str(calibration.resize), str(network.names)):
        digest.update(f"{text}\0".encode())
    for tensor in network.state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().numpy())
    for image in images:
        try:
            digest.update(image.read_bytes())
        except OSError:
            digest.update(b"unreadable")  # left out and counted, as when calibrating
    return digest.hexdigest()[:_HASH_LETTERS]
