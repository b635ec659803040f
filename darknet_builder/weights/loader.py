"""``.weights`` files: a header of 16 or 20 bytes, then float32 without names, in the order of ``weight_layout``.

One walk over that layout loads, saves, counts and names the place of every error. Source: parser.c:2254 (load),
parser.c:1999 (save).
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from darknet_builder.cfg.dialects import Dialect
from darknet_builder.cfg.model_files import is_model_file, load_tensors, read_model_file
from darknet_builder.errors import InputError, WeightsError
from darknet_builder.layers.base import NORM_KINDS, Layer, WeightsHeader, tensor_kind
from darknet_builder.network.network import Network
from darknet_builder.support.files import atomic_path, is_web_page, writing

_VERSION = struct.Struct("<iii")
_SHORT_SEEN = struct.Struct("<I")
_LONG_SEEN = struct.Struct("<Q")
_FLOAT = np.dtype("<f4")
_LARGE_VERSION = 1000
_CHUNK = 2 ** 18
"""Floats that are checked at a time: few enough for the processor's cache."""
_LITTLE = sys.byteorder == "little"
_LFS_MARK = b"version https://git-lfs"


@dataclass(frozen=True)
class Entry:
    """One run of floats of a weights file.

    Attributes:
        index: of the layer.
        layer: itself.
        name: of the tensor, as ``weight_layout`` calls it.
        tensor: where the floats belong.
        start: how many floats of the file stand before it.
    """

    index: int
    layer: Layer
    name: str
    tensor: Tensor
    start: int

    @property
    def stop(self) -> int:
        """How many floats of the file stand before its end."""
        return self.start + self.tensor.numel()


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

    The file is read twice, in small parts and then straight into place: there is no second copy in memory, and nothing
    is written to the network before the whole file has been found to fit.

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
    header, start, available = _open(network.dialect, source)
    entries = weight_entries(network, header, until, loading=True)
    _check_length(network, source, available, entries, until)
    with open(source, "rb", buffering=0) as file:
        _check_finite(source, file, start, entries)
        for entry in entries:
            file.seek(start + entry.start * _FLOAT.itemsize)
            _pour(file, entry.tensor)
    network.header = header
    layers = {entry.index for entry in entries}
    return LoadReport(source, header, entries[-1].stop if entries else 0, len(layers), until)


def _load_model_file(network: Network, source: str, until: int | None) -> LoadReport:
    if until is not None:
        raise InputError(f"{source} holds tensors by name, of which all are loaded",
                         argument="until", value=until)
    tensors, metadata = read_model_file(source)
    load_tensors(network, tensors, source)
    network.header = WeightsHeader(*metadata.header)
    entries = weight_entries(network)
    return LoadReport(source, network.header, network.num_stored, len({entry.index for entry in entries}), None)


def look_at_weights(path: str | Path, dialect: Dialect) -> None:
    """What can be said of a weights file without its network: that it is there, is one, and holds whole floats.

    Raises:
        WeightsError: one line that says in which way the file is wrong.
    """
    if is_model_file(path):
        read_model_file(path)
    else:
        _open(dialect, str(path))


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
        file.write(_pack_header(header, _short_seen(network.dialect, header.major, header.minor)))
        for entry in entries:
            values = entry.tensor.detach().to("cpu", torch.float32).contiguous().numpy()
            file.write(values.astype(_FLOAT, copy=False).tobytes())


def weight_entries(network: Network, header: WeightsHeader | None = None, until: int | None = None, *,
                   loading: bool = False) -> list[Entry]:
    """Every run of floats of the network's weights file, in order.

    Args:
        network: whose.
        header: of the file; the network's own by default.
        until: only the layers before this index.
        loading: leave out what ``dontload`` and ``dontloadscales`` say is not in a file to be loaded (parser.c:2274).

    Raises:
        InputError: for an ``until`` that is no layer.
    """
    layers = network.sequence()
    if until is not None and not 0 < until <= len(layers):
        raise InputError(f"expected a layer from 1 to {len(layers)}", argument="until", value=until)
    entries: list[Entry] = []
    for index, layer in enumerate(layers[:until]):
        for name, tensor in layer.weight_layout(header or network.header):
            absent = layer.options.dontload or (layer.options.dontloadscales and tensor_kind(name) in NORM_KINDS)
            if not (loading and absent):
                entries.append(Entry(index, layer, name, tensor, entries[-1].stop if entries else 0))
    return entries


# ---- the header -------------------------------------------------------------------------------------


def _short_seen(dialect: Dialect, major: int, minor: int) -> bool:
    """Whether ``seen`` has 32 bits (parser.c:2260; pjreddie's parser.c:1236)."""
    too_large = major >= _LARGE_VERSION or minor >= _LARGE_VERSION
    return major * 10 + minor < 2 or (too_large and dialect.large_version_is_short)


def _pack_header(header: WeightsHeader, short: bool) -> bytes:
    """Return the bytes of a header; ``short`` says whether ``seen`` has 32 bits."""
    seen = _SHORT_SEEN if short else _LONG_SEEN
    return _VERSION.pack(header.major, header.minor, header.revision) + seen.pack(header.seen)


def _open(dialect: Dialect, source: str) -> tuple[WeightsHeader, int, int]:
    """The header, its length in bytes, and how many floats come after it."""
    size = _file_size(source)
    with open(source, "rb") as file:
        head = file.read(_VERSION.size + _LONG_SEEN.size)
    _check_kind(source, head, size)
    major, minor, revision = _VERSION.unpack_from(head)
    short = _short_seen(dialect, major, minor)
    layout = _SHORT_SEEN if short else _LONG_SEEN
    start = _VERSION.size + layout.size
    if size < start:
        raise WeightsError(f"has {size} bytes, less than the header of {start}", path=source,
                           hint="download it again")
    if (size - start) % _FLOAT.itemsize:
        raise WeightsError(f"its {size - start} bytes after the header are no whole number of floats; "
                           "it was cut off while it was copied, or it is no .weights file", path=source)
    header = WeightsHeader(major, minor, revision, layout.unpack_from(head, _VERSION.size)[0])
    return header, start, (size - start) // _FLOAT.itemsize


def _file_size(source: str) -> int:
    path = Path(source)
    if path.is_dir():
        raise WeightsError("is a folder, not a .weights file", path=source)
    try:
        with path.open("rb"):
            return path.stat().st_size
    except FileNotFoundError:
        raise WeightsError("no such weights file", path=source) from None
    except OSError as error:
        raise WeightsError(f"cannot be read: {error.strerror}", path=source) from None


def _check_kind(source: str, head: bytes, size: int) -> None:
    """Name the files that are often saved under a weights file's name."""
    start = head.lstrip().lower()
    if head.startswith(_LFS_MARK[:len(head)]) and head:
        raise WeightsError("is a Git LFS pointer, not the weights", path=source,
                           hint="run 'git lfs pull' where it came from")
    if is_web_page(head):
        raise WeightsError("is a web page, not the weights", path=source,
                           hint="open its address in a browser and look")
    if start.startswith(b"[net"):
        raise WeightsError("is a cfg, not weights", path=source, hint="were cfg and weights exchanged?")
    if head.startswith(b"PK\x03\x04"):
        raise WeightsError("is a zip archive or a PyTorch file, not Darknet weights", path=source)
    if size < _VERSION.size + _SHORT_SEEN.size:
        raise WeightsError(f"has {size} bytes, less than a header of 16 or 20", path=source,
                           hint="download it again")


# ---- whether the floats fit -------------------------------------------------------------------------


def _check_length(network: Network, source: str, available: int, entries: list[Entry], until: int | None) -> None:
    """Compare the number of floats of a file with what the network takes.

    Raises:
        WeightsError: naming the place where the file ends too early, or the likely cause of a surplus.
    """
    needed = entries[-1].stop if entries else 0
    if available < needed:
        raise WeightsError(_too_short(network, available, entries), path=source)
    if available > needed and until is None:
        raise WeightsError(_too_long(network, needed, available - needed), path=source)


def _too_short(network: Network, available: int, entries: list[Entry]) -> str:
    broken = next(entry for entry in entries if entry.stop > available)
    block = network.blocks[broken.index + 1]
    missing = entries[-1].stop - available
    text = (f"ends at float {available}, {missing} too early: in {broken.name} "
            f"{tuple(broken.tensor.shape)} of layer {broken.index} ({block.where()}); ")
    if available and broken.start == available and entries[entries.index(broken) - 1].index != broken.index:
        return text + (f"it holds exactly the layers before: load such a cut-off with "
                       f"until={_first_without_weights(network, broken.index)}, or the download is not complete")
    return text + (_fitting_classes(network, -missing) or "the file is not complete, or belongs to another cfg")


def _first_without_weights(network: Network, index: int) -> int:
    """The smallest cut that holds the same weights as a cut at ``index``."""
    layers = network.sequence()
    while index > 1 and not layers[index - 1].num_stored():
        index -= 1
    return index


def _too_long(network: Network, needed: int, surplus: int) -> str:
    cause = _fitting_classes(network, surplus) or "it belongs to another cfg"
    return f"{surplus} floats are left over after the {needed} that the network takes; {cause}"


def _fitting_classes(network: Network, difference: int) -> str:
    """The most common cause of a wrong length: the file was trained for another number of classes."""
    heads = [head for head in network.heads if head.num_anchors]
    if not heads or len({head.classes for head in heads}) > 1:
        return ""
    per_class = 0
    layers = network.sequence()
    for head in heads:
        source = layers[head.sources[0]]
        per_class += head.num_anchors * source.num_stored() // source.out_shape.channels
    classes = heads[0].classes + difference // per_class if per_class else 0
    if classes < 1 or difference % per_class:
        return ""
    return f"it fits this cfg with classes={classes} (and filters to match) instead of {heads[0].classes}"


def _check_finite(source: str, file: FileIO, start: int, entries: list[Entry]) -> None:
    buffer = np.empty(_CHUNK, _FLOAT)
    for entry in entries:
        for first in range(entry.start, entry.stop, _CHUNK):
            file.seek(start + first * _FLOAT.itemsize)
            values = _read(file, buffer[:min(_CHUNK, entry.stop - first)])
            # One quick pass: a sum is finite only when all its parts are. It may overflow without any fault of theirs.
            with np.errstate(over="ignore", invalid="ignore"):
                total = values.sum()
            if not np.isfinite(total):
                wrong = ~np.isfinite(values)
                _refuse(source, entry, first, values, wrong, "the training diverged or the file is damaged")
            if tensor_kind(entry.name) == "var":
                _refuse(source, entry, first, values, values < 0,
                        "a variance is never negative: the file belongs to another cfg")


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
    if tensor.is_contiguous() and tensor.dtype == torch.float32 and tensor.device.type == "cpu" and _LITTLE:
        _read(file, tensor.detach().view(-1).numpy())
    else:
        values = _read(file, np.empty(tensor.numel(), _FLOAT)).astype(np.float32, copy=False)
        tensor.copy_(torch.from_numpy(values).view(tensor.shape))


def _refuse(source: str, entry: Entry, first: int, values: np.ndarray, wrong: np.ndarray, cause: str) -> None:
    """Name the first float that is wrong, where there is one.

    Raises:
        WeightsError: with its place in the file.
    """
    if not wrong.any():
        return
    place = int(wrong.argmax())
    raise WeightsError(f"float {first + place} is {float(values[place]):g}, in {entry.name} of layer "
                       f"{entry.index} [{entry.layer.section}]; {cause}", path=source)
