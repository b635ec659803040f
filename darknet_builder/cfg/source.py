"""Read the source of a network: a cfg, or one file with both cfg and weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from darknet_builder.cfg.block import Block
from darknet_builder.cfg.diagnostics import Diagnostics
from darknet_builder.cfg.model_metadata import ModelMetadata, is_model_file
from darknet_builder.cfg.parser import CfgText
from darknet_builder.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class CfgSource:
    """Contents of a cfg or a model file.

    Attributes:
        blocks: the sections. If they come from a model file, it is their ``source``.
        dialect: name of the dialect noted in the file, or None.
        tensors: the tensors of a model file by name; None for a cfg.
        metadata: the text that a model file has beside its tensors.
    """

    blocks: list[Block]
    dialect: str | None = None
    tensors: Mapping[str, Tensor] | None = None
    metadata: ModelMetadata = ModelMetadata()


def read_cfg(cfg: str | Path, *, diagnostics: Diagnostics | None = None) -> CfgSource:
    """Read a cfg, or a ``.safetensors`` or ``.pt`` file that contains one.

    Args:
        cfg: a path, a bundled name or text as for ``parse_cfg``, or the path of a model file.
        diagnostics: receives mistakes; the first one is raised by default.

    Raises:
        CfgError: located, for a mistake in the cfg.
        WeightsError: if a model file cannot be read.
        InputError: if a model file contains no cfg.
    """
    if not is_model_file(cfg):
        document = CfgText.read(cfg)
        return CfgSource(document.parse(diagnostics), document.dialect)
    from darknet_builder.cfg.model_files import read_model_file  # PyTorch: a cfg needs none

    tensors, metadata = read_model_file(cfg)
    if not metadata.cfg:
        raise InputError(
            "holds weights and no cfg", path=cfg, hint="give the cfg, and this file as its weights"
        )
    blocks = CfgText(str(cfg), metadata.cfg).parse(diagnostics)
    return CfgSource(blocks, metadata.dialect, tensors, metadata)
