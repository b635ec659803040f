"""Model files: a network's tensors, by PyTorch's names, and its cfg in a single file.

``.safetensors`` keeps the cfg in its metadata, ``.pt`` in the metadata that every ``state_dict``
has, so that other programs can read the file as an ordinary ``state_dict``. Opening either cannot
run code.
"""

from __future__ import annotations

import json
import os
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard

import torch
from torch import Tensor, nn

from darknet_builder.cfg.model_metadata import GRAPH_KEY, SAFETENSORS, ModelMetadata
from darknet_builder.errors import WeightsError
from darknet_builder.support.extras import load_extra
from darknet_builder.support.files import atomic_path, check_regular, writing

_KEY = "darknet_builder"
"""The key of our metadata in a ``.pt`` file's ``state_dict``."""
_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64)
"""Types of tensors in a file; int64 is that of ``num_batches_tracked`` in a batch norm."""


def write_model_file(path: str | Path, module: nn.Module, metadata: ModelMetadata) -> None:
    """Write ``.safetensors`` or ``.pt``, by the suffix; the file is complete or not written at all.

    Args:
        path: path of the new file; an existing one is replaced.
        module: the network whose tensors are stored.
        metadata: the text to store beside its tensors.

    Raises:
        WeightsError: if the file cannot be written.
        MissingExtraError: if the package safetensors is needed and not installed.
    """
    with writing(path, WeightsError), atomic_path(path) as temporary:
        if Path(path).suffix.lower() == SAFETENSORS:
            tensors = {
                name: tensor.detach().cpu().contiguous()
                for name, tensor in _unshared(module).items()
            }
            load_extra("safetensors.torch", "export").save_file(
                tensors, temporary, metadata=metadata.as_text()
            )
        else:
            torch.save(_with_metadata(module, metadata), temporary)


def read_model_file(path: str | Path) -> tuple[dict[str, Tensor], ModelMetadata]:
    """Read the tensors by name, on the CPU, and the metadata.

    Raises:
        WeightsError: if the file is of another kind, damaged, or cannot be read.
        MissingExtraError: if the package safetensors is needed and not installed.
    """
    is_safetensors = Path(path).suffix.lower() == SAFETENSORS
    with _reading(path):
        tensors, metadata = (_read_safetensors if is_safetensors else _read_state_dict)(path)
        return tensors, ModelMetadata.from_text(metadata)


@contextmanager
def _reading(path: str | Path) -> Iterator[None]:
    """Turn the errors of a block that reads a file into a ``WeightsError`` of one line."""
    try:
        # Only for the error: the readers report a missing file in other words.
        check_regular(path)
        yield
    except FileNotFoundError:
        raise WeightsError("no such model file", path=path) from None
    except OSError as error:
        raise WeightsError(f"cannot be read: {error.strerror or error}", path=path) from None
    except WeightsError:
        raise
    except (ValueError, RecursionError) as error:  # RecursionError: deeply nested JSON
        raise WeightsError(str(error).split("\n")[0], path=path) from None


def read_graph(path: str | Path) -> tuple[Any, ModelMetadata]:
    """Read a quantized ONNX file that ``export`` wrote.

    Returns:
        The ``onnx.ModelProto``, and the text from which the network can be built.

    Raises:
        WeightsError: if the file is damaged, cannot be read, or was not written so.
        MissingExtraError: if the package onnx is not installed.
    """
    onnx = load_extra("onnx", "int8")
    damaged = load_extra("google.protobuf.message", "int8").DecodeError
    with _reading(path):
        try:
            # Without external data: a file could name any other file of this machine.
            model = onnx.load(str(path), load_external_data=False)
        except damaged:
            raise WeightsError("is not an ONNX file, or is damaged", path=path) from None
        texts = {entry.key: entry.value for entry in model.metadata_props}
        if GRAPH_KEY not in texts:
            raise WeightsError(
                "only ONNX files that export wrote in int8 can be run",
                path=path,
                hint="give the .cfg and .weights that it was exported from",
            )
        return model, ModelMetadata.from_text(json.loads(texts[GRAPH_KEY]))


def named_tensors(value: object, path: str | Path) -> dict[str, Tensor]:
    """Return what a file holds as a dictionary of dense tensors of numbers on the CPU.

    A file may hold anything: other types, names that are not text, sparse or quantised tensors,
    and tensors without values.

    Args:
        value: the contents of the file.
        path: the file, for messages.

    Raises:
        WeightsError: naming the first tensor that is not such a tensor.
    """
    if not isinstance(value, Mapping):
        raise WeightsError("is not a state_dict: expected tensors by name", path=path)
    for name, tensor in value.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise WeightsError("is not a state_dict: expected tensors by name", path=path)
        is_dense = tensor.layout == torch.strided and not (tensor.is_quantized or tensor.is_nested)
        if not is_dense or tensor.device.type != "cpu" or tensor.dtype not in _DTYPES:
            layout, kind = str(tensor.layout).split(".")[-1], str(tensor.dtype).split(".")[-1]
            raise WeightsError(
                f"{name} is {layout} {kind} on {tensor.device}; expected dense floats on the CPU",
                path=path,
            )
    return dict(value)


def load_torch_file(path: str | Path, message: str, hint: str | None = None) -> Any:
    """Read a file of ``torch.save`` without running code that it contains.

    Args:
        path: a file of ``torch.save``.
        message: error message for a file that cannot be loaded.
        hint: advice for the user, after the message.

    Raises:
        WeightsError: with ``message``, or if the file is compressed.
        OSError: if it cannot be opened.
    """
    with open(path, "rb") as file:
        try:
            _refuse_compressed(file, path)
            with warnings.catch_warnings():
                # PyTorch warns of pickles that it may not be able to read. If so, it raises below.
                warnings.simplefilter("ignore")
                return torch.load(file, map_location="cpu", weights_only=True)
        except WeightsError:
            raise
        # Any exception: what the unpickler raises depends on the bytes of a damaged file
        # (IndexError, AttributeError, struct.error, OverflowError, ...).
        except Exception:
            raise WeightsError(message, path=path, hint=hint) from None


def _refuse_compressed(file: BinaryIO, path: str | Path) -> None:
    """Refuse an archive that would grow when it is read; ``torch.save`` never compresses."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
        size = file.seek(0, os.SEEK_END)
        # Members that share their bytes grow as well.
        is_larger = sum(member.file_size for member in members) > size
        if is_larger or any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise WeightsError(
                "is compressed, which files of torch.save are not",
                path=path,
                hint="load it in PyTorch and save it again",
            )
    file.seek(0)


# ---- safetensors ---------------------------------------------------------------------------------


def _unshared(module: nn.Module) -> dict[str, Tensor]:
    """Return the state with one name for each tensor, because safetensors refuses shared memory."""
    kept: dict[int, str] = {}  # id of a tensor -> its first name
    for name, tensor in module.state_dict(keep_vars=True).items():
        kept.setdefault(id(tensor), name)
    state = module.state_dict()
    return {name: state[name] for name in kept.values()}


def _read_safetensors(path: str | Path) -> tuple[dict[str, Tensor], object]:
    package = load_extra("safetensors", "export")
    try:
        with package.safe_open(path, "pt") as file:
            # safe_open's file is not a mapping: it has keys(), but cannot be iterated.
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except OSError:
        raise
    except Exception as error:  # SafetensorError, and those of PyTorch for types it lacks
        reason = str(error).split("\n")[0]
        raise WeightsError(
            f"is not a safetensors file, or is damaged: {reason}", path=path
        ) from None
    return named_tensors(tensors, path), metadata


# ---- state_dict ----------------------------------------------------------------------------------


def _with_metadata(module: nn.Module, metadata: ModelMetadata) -> OrderedDict[str, Tensor]:
    state: OrderedDict[str, Tensor] = OrderedDict(
        (name, tensor.detach().cpu()) for name, tensor in module.state_dict().items()
    )
    # torch saves and loads this attribute with the state; "" is the name of the root module.
    carried = {"version": 1, _KEY: metadata.as_text()}
    state._metadata = OrderedDict({"": carried})  # type: ignore[attr-defined]
    return state


def _read_state_dict(path: str | Path) -> tuple[dict[str, Tensor], object]:
    state = load_torch_file(
        path,
        "is damaged, or PyTorch cannot load it with weights_only=True; export it again as a"
        " state_dict",
    )
    if isinstance(state, dict) and isinstance(state.get("cfg"), list):
        # A training checkpoint: the network's state_dict is one of its entries.
        metadata = state.get("model") or {}
        if not isinstance(metadata, Mapping):
            raise WeightsError("its metadata is not a dictionary", path=path)
        cfg = format_cfg_lists(state["cfg"], path)
        return named_tensors(state.get("network"), path), {**metadata, "cfg": cfg}
    metadata = getattr(state, "_metadata", {})
    carried = metadata.get("", {}) if isinstance(metadata, Mapping) else {}
    own = carried.get(_KEY, {}) if isinstance(carried, Mapping) else {}
    return named_tensors(state, path), own


def format_cfg_lists(sections: object, path: str | Path) -> str:
    """Return the cfg that a checkpoint stores as lists ``[name, options]``, as text.

    Args:
        sections: the cfg as the checkpoint stores it.
        path: path of the checkpoint, for messages.

    Raises:
        WeightsError: if it is anything else.
    """
    lines: list[str] = []
    listed: list[object] = sections if isinstance(sections, list) else [None]
    for section in listed:
        if not _is_section(section):
            raise WeightsError("has a cfg that is not a list of names and options", path=path)
        name, options = section
        lines.append(f"[{name}]")
        lines += [f"{key}={value}" for key, value in options.items()]
    return "\n".join(lines) + "\n"


def _is_section(value: object) -> TypeGuard[tuple[str, dict[str, str]]]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        return False
    name, options = value
    if not isinstance(name, str) or not isinstance(options, dict):
        return False
    return all(isinstance(word, str) for pair in options.items() for word in pair)
