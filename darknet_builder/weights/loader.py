"""Load and save ``.weights`` files: a header, then float32 in the order of ``weight_entries``.

The same entries serve to load, to save, to count and to locate errors. Sources: parser.c:2254
(load), parser.c:1999 (save).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from darknet_builder.cfg.dialects import Dialect
from darknet_builder.cfg.model_files import read_model_file
from darknet_builder.cfg.model_metadata import is_model_file
from darknet_builder.errors import InputError, WeightsError
from darknet_builder.layers.base import WeightsHeader, tensor_kind
from darknet_builder.network.network import Network
from darknet_builder.network.stored_values import CHUNK, StoredTensor, load_tensors
from darknet_builder.support.files import atomic_path, writing
from darknet_builder.weights.entries import Entry, weight_entries
from darknet_builder.weights.header import FLOAT, has_short_seen, open_weights, pack_header
from darknet_builder.weights.mismatch import check_length

_LITTLE = sys.byteorder == "little"


@dataclass(frozen=True)
class LoadReport:
    """The result of ``load_weights``.

    Attributes:
        path: path of the file.
        header: the file's version and ``seen``, the number of training images.
        num_floats: number of floats read.
        num_layers: number of layers that got weights.
        until: index of the first layer that was not loaded, or None if all were.
    """

    path: str
    header: WeightsHeader
    num_floats: int
    num_layers: int
    until: int | None


def load_weights(network: Network, path: str | Path, *, until: int | None = None) -> LoadReport:
    """Load a ``.weights`` file into a network.

    The file is read twice, first in small parts to check it, then directly into the tensors. This
    needs no second copy in memory. A file that does not fit leaves the network unchanged. Only if
    another program shortens the file between the two reads, some tensors may be loaded already
    when the error is raised.

    Args:
        network: built from the cfg that the file was trained with.
        path: the file; a ``.safetensors`` or ``.pt`` file of tensors by name is accepted, too.
        until: load only layers before this index, for cut-offs such as ``name.conv.N``; None for
            all.

    Raises:
        WeightsError: if the file does not fit or is damaged, in one line with the likely cause.
        InputError: if ``until`` is not the index of a layer.

    Example:
        >>> from darknet_builder import build_network
        >>> from darknet_builder.support.bundled import default_model
        >>> cfg, weights, names = default_model()
        >>> network = build_network(cfg)
        >>> load_weights(network, weights, until=2).num_layers
        2
    """
    source = str(path)
    if is_model_file(path):
        return _load_model_file(network, source, until)
    header, start, available = open_weights(network.dialect, source)
    entries = weight_entries(network, header, until, loading=True)
    check_length(network, source, available, entries, until)
    with open(source, "rb", buffering=0) as file:
        _check_finite(source, file, start, entries)
        for entry in entries:
            file.seek(start + entry.start * FLOAT.itemsize)
            _read_into(file, entry.tensor)
    network.header = header
    layers = {entry.index for entry in entries}
    return LoadReport(source, header, entries[-1].stop if entries else 0, len(layers), until)


def _load_model_file(network: Network, source: str, until: int | None) -> LoadReport:
    if until is not None:
        raise InputError(
            f"{source} holds tensors by name, which can only be loaded all together",
            argument="until",
            value=until,
        )
    tensors, metadata = read_model_file(source)
    load_tensors(network, tensors, source)
    network.header = WeightsHeader(*metadata.header)
    entries = weight_entries(network)
    return LoadReport(
        source, network.header, network.num_stored, len({entry.index for entry in entries}), None
    )


def look_at_weights(path: str | Path, dialect: Dialect) -> None:
    """Check that a file exists, is a weights file and has a whole number of floats.

    Args:
        path: a ``.weights`` file or a model file.
        dialect: the version of Darknet whose header is expected.

    Raises:
        WeightsError: in one line, with the likely cause.
    """
    if is_model_file(path):
        read_model_file(path)
    else:
        open_weights(dialect, str(path))


def save_weights(network: Network, path: str | Path, *, until: int | None = None) -> None:
    """Write a ``.weights`` file; the file is complete or not written at all.

    Args:
        network: the network, whose ``header`` gives version and ``seen``.
        path: path of the new file; an existing one is replaced.
        until: write only layers before this index, as ``darknet partial`` does; None for all.

    Raises:
        WeightsError: if the file cannot be written.
        InputError: if ``until`` is not the index of a layer.

    Example:
        >>> import tempfile
        >>> from darknet_builder import build_network
        >>> network = build_network("yolov4-tiny")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_weights(network, f"{folder}/tiny.weights")
        ...     load_weights(network, f"{folder}/tiny.weights").num_floats
        6062814
    """
    entries = weight_entries(network, until=until)
    with writing(path, WeightsError), atomic_path(path) as temporary, open(temporary, "wb") as file:
        header = network.header
        file.write(pack_header(header, has_short_seen(network.dialect, header.major, header.minor)))
        for entry in entries:
            values = entry.tensor.detach().to("cpu", torch.float32).contiguous().numpy()
            file.write(values.astype(FLOAT, copy=False).tobytes())


def _check_finite(source: str, file: FileIO, start: int, entries: list[Entry]) -> None:
    buffer = np.empty(CHUNK, FLOAT)
    for entry in entries:
        layer = f"layer {entry.index} [{entry.layer.section}]"
        stored = StoredTensor(source, entry.name, layer, tensor_kind(entry.name) == "var")
        for first in range(entry.start, entry.stop, CHUNK):
            file.seek(start + first * FLOAT.itemsize)
            values = _read(file, buffer[: min(CHUNK, entry.stop - first)])
            stored.check(values, first)


def _read(file: FileIO, values: np.ndarray) -> np.ndarray:
    """Fill an array from the file's position; a single ``readinto`` may read less."""
    rest = values.data.cast("B")
    while rest:
        count = file.readinto(rest)
        if not count:
            raise WeightsError("became shorter while it was read", path=file.name)
        rest = rest[count:]
    return values


@torch.no_grad()
def _read_into(file: FileIO, tensor: Tensor) -> None:
    """Read a tensor's values, directly if its memory has the file's format."""
    same_layout = tensor.is_contiguous() and tensor.dtype == torch.float32 and _LITTLE
    if same_layout and tensor.device.type == "cpu":
        # NumPy shares the tensor's memory, so reading fills the parameter without a copy.
        _read(file, tensor.detach().view(-1).numpy())
    else:
        values = _read(file, np.empty(tensor.numel(), FLOAT)).astype(np.float32, copy=False)
        # The floats are in the order of the shape, also for a transposed view.
        tensor.copy_(torch.from_numpy(values).view(tensor.shape))
