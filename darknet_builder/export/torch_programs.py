"""A traced module as PyTorch's own files: ``.pt2`` (``torch.export``) and TorchScript, as long as
PyTorch keeps it.
"""

from __future__ import annotations

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
"""The name, inside of either file, of what a program needs to know beside the numbers."""


def write_program(
    module: nn.Module,
    example: Tensor,
    path: str | Path,
    metadata: Mapping[str, str],
    dimensions: dict[int, Any] | None = None,
) -> None:
    """Write a ``torch.export`` program.

    Args:
        module: one tensor to a tuple of tensors, in eval mode.
        example: an input; two images or more where their number may change.
        path: the file.
        metadata: text by key.
        dimensions: of the input that may change, by axis, as ``torch.export`` wants them.

    Raises:
        InputError: for a module that cannot be traced.
        OSError: when the file cannot be written.
    """
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of PyTorch's own parts, to its own authors
            program = torch.export.export(
                module, (example,), dynamic_shapes=(dimensions,) if dimensions else None
            )
    except (torch._dynamo.exc.UserError, RuntimeError, ValueError) as error:
        raise InputError(
            f"PyTorch {torch.__version__} cannot trace this network: "
            f"{str(error).strip().splitlines()[0]}"
        ) from None
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # names the folders of the machine that wrote the file
    with suppress(AttributeError):  # PyTorch 2.4 lets no one change it
        program.example_inputs = None  # or the file would hold a whole batch of zeros
    torch.export.save(program, str(path), extra_files={METADATA_FILE: json.dumps(dict(metadata))})


def read_program(path: str | Path) -> tuple[nn.Module, dict[str, str]]:
    """The module of a ``.pt2`` file, and the metadata beside it.

    Raises:
        WeightsError: for a file that is none.
    """
    extra = {METADATA_FILE: ""}
    try:
        program = torch.export.load(str(path), extra_files=extra)
    except (RuntimeError, OSError, ValueError, KeyError, BadZipFile) as error:
        raise WeightsError(
            f"is no program that PyTorch {torch.__version__} reads: {str(error).splitlines()[0]}",
            path=path,
        ) from None
    return program.module(), json.loads(extra[METADATA_FILE] or "{}")


def write_script(
    module: nn.Module, example: Tensor, path: str | Path, metadata: Mapping[str, str]
) -> None:
    """Write TorchScript; the arguments are those of ``write_program``.

    Raises:
        InputError: where this PyTorch has no TorchScript any more.
    """
    trace = getattr(torch.jit, "trace", None)
    if trace is None:
        raise InputError(
            f"PyTorch {torch.__version__} has no TorchScript any more; take the format pt2"
        )
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # that it is old, and that shapes are taken from the example
        script = trace(module, example, check_trace=False)
        torch.jit.save(script, str(path), _extra_files={METADATA_FILE: json.dumps(dict(metadata))})


def read_script(path: str | Path) -> tuple[nn.Module, dict[str, str]]:
    """The module of a TorchScript file, and the metadata beside it.

    Raises:
        WeightsError: for a file that is none.
    """
    extra: dict[str, Any] = {METADATA_FILE: ""}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module: nn.Module = torch.jit.load(str(path), map_location="cpu", _extra_files=extra)
    except (RuntimeError, ValueError) as error:
        raise WeightsError(
            f"is no TorchScript that PyTorch {torch.__version__} reads: "
            f"{str(error).splitlines()[0]}",
            path=path,
        ) from None
    return module, json.loads(extra[METADATA_FILE] or "{}")
