"""Build a network from a cfg or a model file, and give its parameters memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from darknet_builder.cfg.block import Block
from darknet_builder.cfg.dialects import get_dialect
from darknet_builder.cfg.model_files import load_tensors
from darknet_builder.cfg.net_options import NetOptions
from darknet_builder.cfg.source import CfgSource, read_cfg
from darknet_builder.errors import CfgError, InputError
from darknet_builder.layers.base import WeightsHeader
from darknet_builder.network.factory import build_layers

if TYPE_CHECKING:
    pass
from darknet_builder.network.network import Network

DEFAULT_MEMORY_LIMIT = 16 * 2**30
"""Bytes of weights and of one image's outputs above which ``build_network`` refuses."""


_FLOAT_BYTES = 4


def build_network(
    cfg: str | Path | Sequence[Block],
    *,
    width: int | None = None,
    height: int | None = None,
    dialect: str | None = None,
    initialize: bool = True,
    memory_limit: int = DEFAULT_MEMORY_LIMIT,
) -> Network:
    """A network from a cfg.

    Args:
        cfg: what ``parse_cfg`` takes, or the Blocks that it gives. A ``.safetensors`` or ``.pt``
            file that ``export`` wrote, or a checkpoint, gives cfg, dialect, weights and names.
        width: of the input in pixels, instead of the cfg's.
        height: likewise.
        dialect: ``alexeyab`` or ``pjreddie``; None is what the file notes that ``export`` wrote,
            else ``alexeyab``.
        initialize: draw weights as Darknet does; False leaves them undefined, for weights that are
            loaded at once.
        memory_limit: bytes of float32 weights and of one image's live outputs that may be asked
            for.

    Raises:
        CfgError: located, for whatever is wrong with the cfg, or when it would need more than
            ``memory_limit``.
        InputError: for an unknown dialect or an impossible size.
    """
    source = read_cfg(cfg) if isinstance(cfg, str | Path) else CfgSource(list(cfg))
    blocks, metadata = source.blocks, source.metadata
    for name, size in (("width", width), ("height", height)):
        if size is not None and size < 1:
            raise InputError("expected 1 or more pixels", argument=name, value=size)
    rules = get_dialect(dialect or source.dialect)
    options = NetOptions.from_block(
        blocks[0], width=width or metadata.width or None, height=height or metadata.height or None
    )
    network = Network(blocks, options, rules, build_layers(blocks, options, rules))
    _check_memory(network, memory_limit)
    drawn = initialize and source.tensors is None
    _materialize(network, drawn or any(layer.options.dontload for layer in network.sequence()))
    if source.tensors is not None:
        load_tensors(network, source.tensors, str(cfg))
        network.names, network.header = metadata.names, WeightsHeader(*metadata.header)
    return network


def _check_memory(network: Network, limit: int) -> None:
    weights = _FLOAT_BYTES * network.num_stored
    outputs = _FLOAT_BYTES * network.peak_values()
    if weights + outputs > limit:
        raise CfgError(
            f"the network needs {_gigabytes(weights)} for its weights and "
            f"{_gigabytes(outputs)} for one image, more than the limit of {_gigabytes(limit)}; "
            "raise it with build_network(..., memory_limit=BYTES) if that is meant",
            **network.blocks[0].place(),
        )


def _gigabytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"


def _materialize(network: Network, initialize: bool) -> None:
    """Give the meta parameters memory, and values where they will not come from a file."""
    for module in network.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None and parameter.is_meta:
                setattr(module, name, nn.Parameter(torch.empty_like(parameter, device="cpu")))
        for name, buffer in module._buffers.items():
            if buffer is not None and buffer.is_meta:
                module._buffers[name] = torch.empty_like(buffer, device="cpu")
        reset = getattr(module, "reset_parameters", None)
        if reset is not None and (
            initialize or isinstance(module, nn.modules.batchnorm._BatchNorm)
        ):
            reset()
