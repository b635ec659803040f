"""Whatever a network is read from: a cfg, or one file that holds the cfg and the weights."""

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
    """What such a file says.

    Attributes:
        blocks: the sections; of a model file they name it as their source.
        dialect: whose rules it notes, if it does.
        tensors: by name, of a model file; None of a cfg.
        metadata: the text that a model file has beside them.
    """

    blocks: list[Block]
    dialect: str | None = None
    tensors: Mapping[str, Tensor] | None = None
    metadata: ModelMetadata = ModelMetadata()


def read_cfg(cfg: str | Path, *, diagnostics: Diagnostics | None = None) -> CfgSource:
    """Read a cfg, or a ``.safetensors`` or ``.pt`` file that holds one.

    Args:
        cfg: what ``parse_cfg`` takes, or the path of such a file.
        diagnostics: where mistakes go; the first one is raised by default.

    Raises:
        CfgError: located, for what is wrong with the cfg.
        WeightsError: for a model file that cannot be read.
        InputError: for one that holds no cfg.
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
