"""One file that rebuilds a network: the tensors by PyTorch's own names, and the cfg text beside
them.

``.safetensors`` keeps the text in its metadata, ``.pt`` in the metadata that every ``state_dict``
carries: such a file is an ordinary ``state_dict`` to anyone else. Neither can run code when it is
opened.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from darknet_builder.cfg.model_metadata import SAFETENSORS, ModelMetadata
from darknet_builder.errors import WeightsError, did_you_mean
from darknet_builder.support.extras import load_extra
from darknet_builder.support.files import atomic_path, writing

_KEY = "darknet_builder"
"""The key of our metadata among those that a ``.pt`` file's ``state_dict`` carries."""
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
    """Write ``.safetensors`` or ``.pt``, as the suffix says; the file appears whole or not at all.

    Raises:
        WeightsError: when it cannot be written.
        MissingExtraError: without the package safetensors, where it is needed.
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
    """The tensors by name, on the CPU, and what the file says beside them.

    Raises:
        WeightsError: for a file that is none, or is damaged.
        MissingExtraError: without the package safetensors, where it is needed.
    """
    try:
        with open(path, "rb"):
            pass
        return (
            _read_safetensors if Path(path).suffix.lower() == SAFETENSORS else _read_state_dict
        )(path)
    except FileNotFoundError:
        raise WeightsError("no such model file", path=path) from None
    except OSError as error:
        raise WeightsError(f"cannot be read: {error.strerror or error}", path=path) from None


def load_tensors(module: nn.Module, tensors: Mapping[str, Tensor], source: str | Path) -> None:
    """Copy tensors into a module by name; nothing is written before all of them have been found to
    fit.

    Args:
        module: whose parameters and buffers they are.
        tensors: of any floating-point type. A tensor that the module has under two names may be
            there under one.
        source: of the tensors, for errors.

    Raises:
        WeightsError: naming the first tensor that is missing, too much or of another shape.
    """
    own = module.state_dict(keep_vars=True)
    surplus = [name for name in tensors if name not in own]
    if surplus:
        raise WeightsError(
            f"holds {surplus[0]}, which the network does not have{did_you_mean(surplus[0], own)}",
            path=source,
            hint="it belongs to another cfg",
        )
    found = {id(own[name]) for name in tensors}
    missing = [name for name, tensor in own.items() if id(tensor) not in found]
    if missing:
        raise WeightsError(
            f"{len(missing)} of the network's {len(own)} tensors are not there, "
            f"the first is {missing[0]} {tuple(own[missing[0]].shape)}",
            path=source,
            hint="it belongs to another cfg",
        )
    for name, tensor in tensors.items():
        if tensor.shape != own[name].shape:
            raise WeightsError(
                f"{name} is {tuple(tensor.shape)}, the network needs {tuple(own[name].shape)}",
                path=source,
                hint="it belongs to another cfg",
            )
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)


# ---- safetensors ---------------------------------------------------------------------------------


def _unshared(module: nn.Module) -> dict[str, Tensor]:
    """The state under one name each: the format knows no tensor with two names."""
    kept: dict[int, str] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        kept.setdefault(id(tensor), name)
    state = module.state_dict()
    return {name: state[name] for name in kept.values()}


def _read_safetensors(path: str | Path) -> tuple[dict[str, Tensor], ModelMetadata]:
    package = load_extra("safetensors", "export")
    try:
        with package.safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, ModelMetadata.from_text(
                file.metadata() or {}
            )
    except (package.SafetensorError, ValueError) as error:
        raise WeightsError(
            f"is no safetensors file, or a damaged one: {error}", path=path
        ) from None


# ---- state_dict ----------------------------------------------------------------------------------


def _with_metadata(module: nn.Module, metadata: ModelMetadata) -> OrderedDict[str, Tensor]:
    state: OrderedDict[str, Tensor] = OrderedDict(
        (name, tensor.detach().cpu()) for name, tensor in module.state_dict().items()
    )
    state._metadata = OrderedDict({"": {"version": 1, _KEY: metadata.as_text()}})  # type: ignore[attr-defined]
    return state


def _read_state_dict(path: str | Path) -> tuple[dict[str, Tensor], ModelMetadata]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGED:
        raise WeightsError(
            "is no file of tensors that PyTorch reads safely, or a damaged one; export it "
            "again as a state_dict",
            path=path,
        ) from None
    if (
        isinstance(state, dict)
        and isinstance(state.get("network"), dict)
        and isinstance(state.get("cfg"), list)
    ):
        metadata = ModelMetadata.from_text(state.get("model") or {})  # a checkpoint of a training
        return dict(state["network"]), replace(metadata, cfg=_cfg_text(state["cfg"]))
    if not isinstance(state, dict) or not all(
        isinstance(tensor, Tensor) for tensor in state.values()
    ):
        raise WeightsError("is no state_dict: expected tensors by name", path=path)
    carried = getattr(state, "_metadata", {}).get("", {})
    return dict(state), ModelMetadata.from_text(carried.get(_KEY, {}))


def _cfg_text(sections: list[Any]) -> str:
    return (
        "\n".join(
            "\n".join([f"[{name}]", *(f"{key}={value}" for key, value in options.items())])
            for name, options in sections
        )
        + "\n"
    )
