"""``.weights`` files: a header of 16 or 20 bytes, then float32 without names, in the order of
``weight_layout``.

One walk over that layout loads, saves, counts and names the place of every error. Source:
parser.c:2254 (load), parser.c:1999 (save).
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
from darknet_builder.cfg.model_files import load_tensors, read_model_file
from darknet_builder.cfg.model_metadata import is_model_file
from darknet_builder.errors import InputError, WeightsError
from darknet_builder.layers.base import WeightsHeader, tensor_kind
from darknet_builder.layers.parts import BATCH_NORM_EPSILON
from darknet_builder.network.network import Network
from darknet_builder.support.files import atomic_path, writing
from darknet_builder.weights.entries import Entry, weight_entries
from darknet_builder.weights.header import FLOAT, open_weights, pack_header, short_seen
from darknet_builder.weights.mismatch import check_length

_EPSILON = np.float32(BATCH_NORM_EPSILON)


_CHUNK = 2**18
"""Floats that are checked at a time: few enough for the processor's cache."""


_LITTLE = sys.byteorder == "little"


@dataclass(frozen=True)
class LoadReport:
    """What ``load_weights`` did.

    Attributes:
        path: the file.
        header: its version and ``seen``, the number of training images.
        num_floats: how many floats were read.
        num_layers: how many layers got theirs.
        until: the first layer that was left as it was, or None when all were loaded.
    """

    path: str
    header: WeightsHeader
    num_floats: int
    num_layers: int
    until: int | None


def load_weights(network: Network, path: str | Path, *, until: int | None = None) -> LoadReport:
    """Pour a ``.weights`` file into a network.

    The file is read twice, in small parts and then straight into place: there is no second copy in
    memory, and nothing is written to the network before the whole file has been found to fit.

    Args:
        network: built from the cfg that the file was trained with.
        path: the file; a ``.safetensors`` or ``.pt`` file of tensors by name goes as well.
        until: load only the layers before this index, as for the ``name.conv.N`` cut-offs.

    Raises:
        WeightsError: one line that says in which way the file is wrong.
        InputError: for an ``until`` that is no layer.
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
            _pour(file, entry.tensor)
    network.header = header
    layers = {entry.index for entry in entries}
    return LoadReport(source, header, entries[-1].stop if entries else 0, len(layers), until)


def _load_model_file(network: Network, source: str, until: int | None) -> LoadReport:
    if until is not None:
        raise InputError(
            f"{source} holds tensors by name, of which all are loaded",
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
    """What can be said of a weights file without its network: that it is there, is one, and holds
    whole floats.

    Raises:
        WeightsError: one line that says in which way the file is wrong.
    """
    if is_model_file(path):
        read_model_file(path)
    else:
        open_weights(dialect, str(path))


def save_weights(network: Network, path: str | Path, *, until: int | None = None) -> None:
    """Write a ``.weights`` file with the network's header; the file appears whole or not at all.

    Args:
        network: whose weights are written; ``network.header`` says version and ``seen``.
        path: the file.
        until: write only the layers before this index (``darknet partial``).

    Raises:
        WeightsError: when the file cannot be written.
        InputError: for an ``until`` that is no layer.
    """
    entries = weight_entries(network, until=until)
    with writing(path, WeightsError), atomic_path(path) as temporary, open(temporary, "wb") as file:
        header = network.header
        file.write(pack_header(header, short_seen(network.dialect, header.major, header.minor)))
        for entry in entries:
            values = entry.tensor.detach().to("cpu", torch.float32).contiguous().numpy()
            file.write(values.astype(FLOAT, copy=False).tobytes())


def _check_finite(source: str, file: FileIO, start: int, entries: list[Entry]) -> None:
    buffer = np.empty(_CHUNK, FLOAT)
    for entry in entries:
        for first in range(entry.start, entry.stop, _CHUNK):
            file.seek(start + first * FLOAT.itemsize)
            values = _read(file, buffer[: min(_CHUNK, entry.stop - first)])
            # One quick pass: a sum is finite only when all its parts are. It may overflow without
            # any fault of theirs.
            with np.errstate(over="ignore", invalid="ignore"):
                total = values.sum()
            if not np.isfinite(total):
                wrong = ~np.isfinite(values)
                _refuse(
                    source,
                    entry,
                    first,
                    values,
                    wrong,
                    "the training diverged or the file is damaged",
                )
            if tensor_kind(entry.name) == "var":
                # Darknet divides by sqrt(v + .00001f), so a published -9.9e-6 counts (blas.c:293).
                _refuse(
                    source,
                    entry,
                    first,
                    values,
                    values + _EPSILON <= 0,
                    f"a variance plus {BATCH_NORM_EPSILON:g} must be above 0: the file belongs to"
                    " another cfg",
                )


def _read(file: FileIO, values: np.ndarray) -> np.ndarray:
    """Fill an array from where the file stands; one call may read less than what was asked for."""
    rest = values.data.cast("B")
    while rest:
        count = file.readinto(rest)
        if not count:
            raise WeightsError("became shorter while it was read", path=file.name)
        rest = rest[count:]
    return values


@torch.no_grad()
def _pour(file: FileIO, tensor: Tensor) -> None:
    """Read a tensor's values, without a detour where its memory is as the file's."""
    if (
        tensor.is_contiguous()
        and tensor.dtype == torch.float32
        and tensor.device.type == "cpu"
        and _LITTLE
    ):
        _read(file, tensor.detach().view(-1).numpy())
    else:
        values = _read(file, np.empty(tensor.numel(), FLOAT)).astype(np.float32, copy=False)
        tensor.copy_(torch.from_numpy(values).view(tensor.shape))


def _refuse(
    source: str, entry: Entry, first: int, values: np.ndarray, wrong: np.ndarray, cause: str
) -> None:
    """Name the first float that is wrong, where there is one.

    Raises:
        WeightsError: with its place in the file.
    """
    if not wrong.any():
        return
    place = int(wrong.argmax())
    raise WeightsError(
        f"float {first + place} is {float(values[place]):g}, in {entry.name} of layer "
        f"{entry.index} [{entry.layer.section}]; {cause}",
        path=source,
    )
