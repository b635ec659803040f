"""Build a network from a cfg or a model file, and allocate its parameters."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import torch
from torch import Tensor, nn

from darknet_builder.cfg.block import Block
from darknet_builder.cfg.dialects import Dialect, get_dialect
from darknet_builder.cfg.model_files import read_graph
from darknet_builder.cfg.net_options import NetOptions
from darknet_builder.cfg.parser import CfgText
from darknet_builder.cfg.source import CfgSource, read_cfg
from darknet_builder.errors import CfgError, CfgWarning, InputError
from darknet_builder.layers.base import WeightsHeader
from darknet_builder.network.factory import build_layers
from darknet_builder.network.network import Network
from darknet_builder.network.stored_values import load_tensors
from darknet_builder.support.resident_memory import free_memory

DEFAULT_MEMORY_LIMIT = 16 * 2**30
"""Maximum size in bytes of the weights and one image's outputs in ``build_network``, if the amount
of free memory is unknown. If it is known, the limit is half of it."""
_chosen_limit: ContextVar[int | None] = ContextVar("memory_limit", default=None)
_FLOAT_BYTES = 4
_STEP = 32
"""Pixels of the input for each cell of the smallest map of most networks."""


def build_network(
    cfg: str | Path | Sequence[Block],
    *,
    width: int | None = None,
    height: int | None = None,
    dialect: str | None = None,
    initialize: bool = True,
    memory_limit: int | None = None,
) -> Network:
    """Build a network from a cfg.

    Args:
        cfg: a path, a bundled name or text as for ``parse_cfg``, or the Blocks that it returns. A
            ``.safetensors`` or ``.pt`` file that ``export`` wrote, or a checkpoint, gives cfg,
            dialect, weights and names.
        width: width of the input in pixels; None for the cfg's.
        height: height of the input in pixels; None for the cfg's.
        dialect: ``alexeyab`` or ``pjreddie``; None for the one noted in the file by ``export``, or
            else ``alexeyab``.
        initialize: draw weights as Darknet does. False leaves them undefined, to be loaded next.
        memory_limit: largest size in bytes of weights and one image's live outputs, in float32;
            None for half of the memory that is free.

    Raises:
        CfgError: located, for a mistake in the cfg, or above ``memory_limit``.
        InputError: for an unknown dialect, an impossible size or another module.

    Example:
        >>> network = build_network("yolov4-tiny", width=320, height=320, initialize=False)
        >>> network.input_size, len(network.layers)
        ((320, 320), 38)
    """
    if isinstance(cfg, nn.Module):
        raise InputError(
            f"expected a cfg or a Network, got a {type(cfg).__name__}",
            hint="give the network that it was made from",
        )
    source = read_cfg(cfg) if isinstance(cfg, str | Path) else CfgSource(list(cfg))
    _check_sizes(width=width, height=height)
    network = _build(source, width, height, dialect)
    _check_memory(network, _limit() if memory_limit is None else memory_limit)
    # A layer with dontload=1 keeps its initial values when a file is loaded, so it needs some.
    keeps_initial = any(layer.options.dontload for layer in network.sequence())
    _materialize(network, (initialize and source.tensors is None) or keeps_initial)
    _load(network, source, str(cfg))
    return network


def build_graph_network(path: str | Path, *, dialect: str | None = None) -> Network:
    """Build the network of a quantized ONNX file, without its weights.

    The network decodes the raw maps that an engine computes by the file; it cannot run itself.

    Args:
        path: an ONNX file that ``export`` wrote with ``int8``.
        dialect: ``alexeyab`` or ``pjreddie``; None for the one noted in the file.

    Raises:
        WeightsError: if the file cannot be read, or is another kind of ONNX file.
        CfgError: for a mistake in its cfg.
    """
    _, metadata = read_graph(path)
    blocks = CfgText(str(path), metadata.cfg).parse()
    network = _build(CfgSource(blocks, metadata.dialect, None, metadata), None, None, dialect)
    network.names = metadata.names
    network.header = WeightsHeader(*metadata.header)
    network.graph_file = Path(path)
    return network.eval()


def _load(network: Network, source: CfgSource, path: str) -> None:
    if source.tensors is not None:
        load_tensors(network, source.tensors, path)
        network.names = source.metadata.names
        network.header = WeightsHeader(*source.metadata.header)


def _check_sizes(**sizes: int | None) -> None:
    for name, size in sizes.items():
        if size is not None and size < 1:
            raise InputError("expected 1 or more pixels", argument=name, value=size)


def _build(
    source: CfgSource, width: int | None, height: int | None, dialect: str | None
) -> Network:
    """Build the network with its parameters on the meta device."""
    blocks, metadata = source.blocks, source.metadata
    rules = get_dialect(dialect or source.dialect)
    options = NetOptions.from_block(
        blocks[0], width=width or metadata.width or None, height=height or metadata.height or None
    )
    try:
        layers = build_layers(blocks, options, rules)
    except CfgError as error:
        if sizes := _possible_sizes(blocks, options, rules):
            reason = (
                f"the input is {options.width} x {options.height}; width and height must be"
                f" multiples of {_STEP}, such as {' or '.join(sizes)}"
            )
            error.hint = "; ".join(filter(None, (error.hint, reason)))
            error.args = (error.describe(),)
        raise
    return Network(blocks, options, rules, layers)


def _possible_sizes(blocks: Sequence[Block], options: NetOptions, rules: Dialect) -> list[str]:
    """Return the nearest input sizes with which a failed cfg builds; empty if none helps.

    Most networks halve an image five times. With another size than a multiple of 32 the halves are
    rounded, and a [route] or [shortcut] then joins maps of different sizes.
    """
    sides = options.width, options.height
    if not any(side % _STEP for side in sides):
        return []
    below = tuple(max(1, side // _STEP) * _STEP for side in sides)
    above = tuple(-(-side // _STEP) * _STEP for side in sides)
    sizes = []
    for width, height in (below, above):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CfgWarning)
                other = NetOptions.from_block(blocks[0], width=width, height=height)
                build_layers(blocks, other, rules)
        except CfgError:
            continue
        sizes.append(f"{width} x {height}")
    return list(dict.fromkeys(sizes))


@contextmanager
def limiting_memory(limit: int | None) -> Iterator[None]:
    """Set the ``memory_limit`` of all calls of ``build_network`` in the block that give none.

    Args:
        limit: in bytes; None for half of the memory that is free.
    """
    token = _chosen_limit.set(limit)
    try:
        yield
    finally:
        _chosen_limit.reset(token)


def _limit() -> int:
    chosen = _chosen_limit.get()
    if chosen is not None:
        return chosen
    free = free_memory()
    return DEFAULT_MEMORY_LIMIT if free is None else free // 2


def _check_memory(network: Network, limit: int) -> None:
    weights = _FLOAT_BYTES * network.num_stored
    outputs = _FLOAT_BYTES * network.peak_values()
    if weights + outputs > limit:
        raise CfgError(
            f"the network needs {_gigabytes(weights)} for its weights and "
            f"{_gigabytes(outputs)} for one image, more than the limit of {_gigabytes(limit)}; "
            "if that is intended, raise it with build_network(..., memory_limit=BYTES)",
            argument="memory_limit",
            **network.blocks[0].place(),
        )


def _gigabytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"


def _materialize(network: Network, initialize: bool) -> None:
    """Allocate the meta parameters, and initialise those that no file will fill."""
    for module in network.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None and parameter.is_meta:
                setattr(module, name, nn.Parameter(_allocate(parameter)))
        for name, buffer in module._buffers.items():
            if buffer is not None and buffer.is_meta:
                module._buffers[name] = _allocate(buffer)
        # Batch norm is always initialised: it has buffers (num_batches_tracked) that no weights
        # file contains.
        reset = getattr(module, "reset_parameters", None)
        if reset is not None and (
            initialize or isinstance(module, nn.modules.batchnorm._BatchNorm)
        ):
            reset()


def _allocate(tensor: Tensor) -> Tensor:
    """Return a tensor like a meta one, with memory."""
    # Not empty_like: for a meta tensor, PyTorch imports sympy for it, which takes half a second.
    return torch.empty(tensor.shape, dtype=tensor.dtype)
