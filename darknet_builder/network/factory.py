"""Build layers from Blocks: look up each section's class and give it the graph so far."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import torch

from darknet_builder import layers as _layers  # noqa: F401  (importing it registers every section)
from darknet_builder.cfg.block import TEXT_SOURCE, Block
from darknet_builder.cfg.dialects import Dialect
from darknet_builder.cfg.net_options import NetOptions
from darknet_builder.errors import CfgError, ShapeError
from darknet_builder.layers.base import CommonOptions, Graph, Layer, find_layer_class
from darknet_builder.layers.plugins import load_installed

_MOST_VALUES = 2**61
"""Maximum number of float32 values, so that 64 bits can count their bytes."""
LayerBuilder = Callable[[Block, Block, Graph], Layer]
"""The type of ``build_layer``."""


def build_layer(block: Block, previous: Block, graph: Graph) -> Layer:
    """Build the layer of one section.

    Args:
        block: the section to build.
        previous: the section before it, for errors that must be corrected there.
        graph: the layers so far; the new one is not added.

    Raises:
        CfgError: located, if the layer cannot be built.
    """
    try:
        return read_layer(block, graph)
    except ShapeError as error:
        raise locate(error, block, previous) from None


def build_layers(
    blocks: Sequence[Block],
    options: NetOptions,
    dialect: Dialect,
    *,
    build: LayerBuilder = build_layer,
) -> list[Layer]:
    r"""Build one layer for each Block after ``[net]``, at Darknet's own indices.

    Parameters are on the meta device: they have shapes but no memory yet.

    Args:
        blocks: the whole cfg, ``[net]`` first.
        options: the options of ``[net]``.
        dialect: the Darknet variant whose rules apply.
        build: builds one layer; ``check`` gives one that continues after a mistake.

    Raises:
        CfgError: located, if a layer cannot be built.

    Example:
        >>> from darknet_builder.cfg import NetOptions, get_dialect, parse_cfg
        >>> blocks = parse_cfg("[net]\nwidth=8\nheight=8\nchannels=3\n[maxpool]\nstride=2\n")
        >>> layers = build_layers(blocks, NetOptions.from_block(blocks[0]), get_dialect(None))
        >>> str(layers[0].out_shape)
        '4 x 4 x 3'
    """
    load_installed()
    folder = "" if blocks[0].source == TEXT_SOURCE else str(Path(blocks[0].source).parent)
    graph = Graph(options.input_shape, dialect, options.time_steps, folder)
    # On the meta device a wrong cfg of any size is refused before memory is allocated.
    with torch.device("meta"):
        for previous, block in pairwise(blocks):
            graph.add(build(block, previous, graph))
    _warn_of_unread(blocks)
    return graph.layers


def read_layer(block: Block, graph: Graph) -> Layer:
    """Build the layer of one section.

    Raises:
        CfgError: located, for a mistake in an option.
        ShapeError: not located, if sizes do not fit.
    """
    try:
        layer = find_layer_class(block, graph.dialect).from_block(block, graph)
        # Checked here, because the sum over all layers may not fit into PyTorch's 64 bits.
        layer.num_stored()
        _check_count(layer.out_shape.size)
    except (RuntimeError, OverflowError):
        # Tensors on the meta device have no values: only the product of their sizes can be wrong.
        raise block.error("is too large: its values cannot be counted in 64 bits") from None
    layer.options = CommonOptions.from_block(block)
    return layer


def _check_count(count: int) -> None:
    if count > _MOST_VALUES:
        raise OverflowError


def locate(error: ShapeError, block: Block, previous: Block) -> CfgError:
    """Turn a ``ShapeError`` into a ``CfgError`` with file and line.

    The location is this section's, or that of the option before it that has to change.
    """
    if error.source_key in previous:
        located = previous.error(
            f"the [{block.name}] of line {block.line} {error.message}",
            error.source_key,
            hint=error.hint,
        )
        located.expected = error.source_value
        return located
    return block.error(error.message, hint=error.hint)


def _warn_of_unread(blocks: Sequence[Block]) -> None:
    for block in blocks:
        for key, hint in block.unread().items():
            warnings.warn(
                block.warning("unknown option, it has no effect", key, hint=hint), stacklevel=4
            )
