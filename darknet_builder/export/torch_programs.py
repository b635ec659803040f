"""Write and read PyTorch's own program files: ``.pt2`` (``torch.export``) and TorchScript."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch
from torch import Tensor, nn

from darknet_builder.errors import InputError, WeightsError

METADATA_FILE = "darknet_builder.json"
"""The name of the metadata inside either file, which is a zip archive."""


def write_program(
    module: nn.Module,
    example: Tensor,
    path: str | Path,
    metadata: Mapping[str, str],
    dimensions: dict[int, Any] | None = None,
) -> None:
    """Write a ``torch.export`` program.

    Args:
        module: maps one tensor to a tuple of tensors; in eval mode.
        example: (B, C, H, W) or (B, N), with B at least 2 if the batch size may change.
        path: the file to write.
        metadata: the file's metadata, text by key.
        dimensions: for each axis of the input that may change, its ``torch.export.Dim``; None
            fixes all of them.

    Raises:
        InputError: if PyTorch cannot trace the module.
        OSError: if the file cannot be written.
    """
    try:
        with torch.no_grad(), warnings.catch_warnings():
            # PyTorch's exporter warns of deprecations in its own code, which no user can change.
            warnings.simplefilter("ignore")
            shapes = (dimensions,) if dimensions else None
            program = torch.export.export(module, (example,), dynamic_shapes=shapes)
    except (torch._dynamo.exc.UserError, RuntimeError, ValueError) as error:
        raise InputError(
            f"PyTorch {torch.__version__} cannot trace this network: "
            f"{str(error).strip().splitlines()[0]}"
        ) from None
    for node in program.graph.nodes:
        # Stack traces name the folders of the machine that writes the file.
        node.meta.pop("stack_trace", None)
    with suppress(AttributeError):  # read-only in PyTorch 2.4
        # Otherwise the file would contain the example, a whole batch of zeros.
        program.example_inputs = None
    # Into memory first: on a full disk PyTorch's writer ends the process (abort in C++).
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={METADATA_FILE: json.dumps(dict(metadata))})
    Path(path).write_bytes(buffer.getbuffer())


def read_program(path: str | Path) -> tuple[nn.Module, dict[str, str]]:
    """Return the module and the metadata of a ``.pt2`` file.

    Raises:
        WeightsError: if the file is not a ``torch.export`` program.
    """
    extra = {METADATA_FILE: ""}
    try:
        program = torch.export.load(str(path), extra_files=extra)
    except (RuntimeError, OSError, ValueError, KeyError, BadZipFile) as error:
        raise WeightsError(
            f"is not a torch.export program that PyTorch {torch.__version__} can read:"
            f" {str(error).splitlines()[0]}",
            path=path,
        ) from None
    return program.module(), json.loads(extra[METADATA_FILE] or "{}")


def write_script(
    module: nn.Module, example: Tensor, path: str | Path, metadata: Mapping[str, str]
) -> None:
    """Write a TorchScript file.

    Args:
        module: maps one tensor to a tuple of tensors; in eval mode.
        example: (B, C, H, W) or (B, N); TorchScript accepts other sizes too.
        path: the file to write.
        metadata: the file's metadata, text by key.

    Raises:
        InputError: if the installed PyTorch no longer has TorchScript.
    """
    trace = getattr(torch.jit, "trace", None)
    if trace is None:
        raise InputError(
            f"PyTorch {torch.__version__} no longer has TorchScript; use the format pt2"
        )
    with torch.no_grad(), warnings.catch_warnings():
        # Tracing warns that TorchScript is deprecated, and that Python branches become constant.
        warnings.simplefilter("ignore")
        script = trace(module, example, check_trace=False)
        buffer = io.BytesIO()  # into memory first, as in write_program
        torch.jit.save(script, buffer, _extra_files={METADATA_FILE: json.dumps(dict(metadata))})
    Path(path).write_bytes(buffer.getbuffer())


def read_script(path: str | Path) -> tuple[nn.Module, dict[str, str]]:
    """Return the module and the metadata of a TorchScript file.

    Raises:
        WeightsError: if the file is not TorchScript.
    """
    extra: dict[str, Any] = {METADATA_FILE: ""}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that TorchScript is deprecated
            module: nn.Module = torch.jit.load(str(path), map_location="cpu", _extra_files=extra)
    except (RuntimeError, ValueError) as error:
        raise WeightsError(
            f"is not a TorchScript file that PyTorch {torch.__version__} can read:"
            f" {str(error).splitlines()[0]}",
            path=path,
        ) from None
    return module, json.loads(extra[METADATA_FILE] or "{}")
