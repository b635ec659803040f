"""Model files: a network's tensors, by PyTorch's names, and its cfg in a single file.

``.safetensors`` keeps the cfg in its metadata, ``.pt`` in the metadata that every ``state_dict``
has, so that other programs can read the file as an ordinary ``state_dict``. Opening either cannot
run code.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from darknet_builder.cfg.model_metadata import SAFETENSORS, ModelMetadata
from darknet_builder.errors import WeightsError
from darknet_builder.support.extras import load_extra
from darknet_builder.support.files import atomic_path, writing

_KEY = "darknet_builder"
"""The key of our metadata in a ``.pt`` file's ``state_dict``."""
_DAMAGED = (
    OSError,
    RuntimeError,
    EOFError,
    pickle.UnpicklingError,
    KeyError,
    ValueError,
    TypeError,
)


def write_model_file(path: str | Path, module: nn.Module, metadata: ModelMetadata) -> None:
    """Write ``.safetensors`` or ``.pt``, by the suffix; the file is complete or not written at all.

    Args:
        path: path of the new file; an existing one is replaced.
        module: the network.
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
    try:
        # Opened only for the error: both readers report a missing file in other words.
        with open(path, "rb"):
            pass
        return (
            _read_safetensors if Path(path).suffix.lower() == SAFETENSORS else _read_state_dict
        )(path)
    except FileNotFoundError:
        raise WeightsError("no such model file", path=path) from None
    except OSError as error:
        raise WeightsError(f"cannot be read: {error.strerror or error}", path=path) from None


# ---- safetensors ---------------------------------------------------------------------------------


def _unshared(module: nn.Module) -> dict[str, Tensor]:
    """Return the state with one name for each tensor, because safetensors refuses shared memory."""
    kept: dict[int, str] = {}  # id of a tensor -> its first name
    for name, tensor in module.state_dict(keep_vars=True).items():
        kept.setdefault(id(tensor), name)
    state = module.state_dict()
    return {name: state[name] for name in kept.values()}


def _read_safetensors(path: str | Path) -> tuple[dict[str, Tensor], ModelMetadata]:
    package = load_extra("safetensors", "export")
    try:
        with package.safe_open(path, "pt") as file:
            # safe_open's file is not a mapping: it has keys(), but cannot be iterated.
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, ModelMetadata.from_text(file.metadata() or {})
    except (package.SafetensorError, ValueError) as error:
        raise WeightsError(
            f"is not a safetensors file, or is damaged: {error}", path=path
        ) from None


# ---- state_dict ----------------------------------------------------------------------------------


def _with_metadata(module: nn.Module, metadata: ModelMetadata) -> OrderedDict[str, Tensor]:
    state: OrderedDict[str, Tensor] = OrderedDict(
        (name, tensor.detach().cpu()) for name, tensor in module.state_dict().items()
    )
    # torch saves and loads this attribute with the state; "" is the name of the root module.
    carried = {"version": 1, _KEY: metadata.as_text()}
    state._metadata = OrderedDict({"": carried})  # type: ignore[attr-defined]
    return state


def _read_state_dict(path: str | Path) -> tuple[dict[str, Tensor], ModelMetadata]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGED:
        raise WeightsError(
            "is damaged, or PyTorch cannot load it with weights_only=True; export it "
            "again as a state_dict",
            path=path,
        ) from None
    if (
        isinstance(state, dict)
        and isinstance(state.get("network"), dict)
        and isinstance(state.get("cfg"), list)
    ):
        # A training checkpoint: the network's state_dict is one of its entries.
        metadata = ModelMetadata.from_text(state.get("model") or {})
        return dict(state["network"]), replace(metadata, cfg=_cfg_text(state["cfg"]))
    if not isinstance(state, dict) or not all(
        isinstance(tensor, Tensor) for tensor in state.values()
    ):
        raise WeightsError("is not a state_dict: expected tensors by name", path=path)
    carried = getattr(state, "_metadata", {}).get("", {})
    return dict(state), ModelMetadata.from_text(carried.get(_KEY, {}))


def _cfg_text(sections: list[Any]) -> str:
    lines: list[str] = []
    for name, options in sections:
        lines.append(f"[{name}]")
        lines += [f"{key}={value}" for key, value in options.items()]
    return "\n".join(lines) + "\n"
