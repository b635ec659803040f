"""Blocks -> layers: look each section up in the registry, hand it the graph so far, check what
comes back.
"""

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

LayerBuilder = Callable[[Block, Block, Graph], Layer]
"""Like ``build_layer``."""


def build_layer(block: Block, previous: Block, graph: Graph) -> Layer:
    """The layer of one section.

    Args:
        block: the section.
        previous: the one before it.
        graph: the layers so far; the new one is not added.

    Raises:
        CfgError: located, for whatever cannot be built.
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
    """One layer a block after ``[net]``, at Darknet's own indices.

    Parameters are made on the meta device: they have shapes and no memory yet.

    Args:
        blocks: the whole cfg.
        options: what its ``[net]`` says.
        dialect: whose rules hold.
        build: makes one layer; ``check`` gives one that goes on after a mistake.

    Raises:
        CfgError: located, for whatever cannot be built.
        InputError: for an installed plugin that cannot be loaded.
    """
    load_installed()
    folder = "" if blocks[0].source == TEXT_SOURCE else str(Path(blocks[0].source).parent)
    graph = Graph(options.input_shape, dialect, options.time_steps, folder)
    with torch.device("meta"):
        for previous, block in pairwise(blocks):
            graph.add(build(block, previous, graph))
    _warn_of_unread(blocks)
    return graph.layers


def read_layer(block: Block, graph: Graph) -> Layer:
    """The layer of one section.

    Raises:
        CfgError: located, for a mistake in an option.
        ShapeError: not located, where sizes do not fit.
    """
    layer = find_layer_class(block, graph.dialect).from_block(block, graph)
    layer.options = CommonOptions.from_block(block)
    return layer


def locate(error: ShapeError, block: Block, previous: Block) -> CfgError:
    """A ``ShapeError`` with file and line: this section's, or those of the option before it that
    has to change.
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
                block.warning("no such option, it changes nothing", key, hint=hint), stacklevel=4
            )
