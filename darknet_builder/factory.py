"""Blocks -> layers: look each section up in the registry, hand it the graph so far, check what comes back."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch

from darknet_builder import layers as _layers  # noqa: F401  (importing it registers every section)
from darknet_builder.dialects import Dialect
from darknet_builder.errors import CfgWarning, ShapeError
from darknet_builder.layers.base import CommonOptions, Graph, Layer, find_layer_class
from darknet_builder.options import NetOptions
from darknet_builder.parser import TEXT_SOURCE, Block


def build_layers(blocks: Sequence[Block], options: NetOptions, dialect: Dialect) -> list[Layer]:
    """One layer a block after ``[net]``, at Darknet's own indices.

    Parameters are made on the meta device: they have shapes and no memory yet.

    Raises:
        CfgError: located, for whatever cannot be built.
    """
    folder = "" if blocks[0].source == TEXT_SOURCE else str(Path(blocks[0].source).parent)
    graph = Graph(options.input_shape, dialect, options.time_steps, folder)
    with torch.device("meta"):
        for previous, block in pairwise(blocks):
            graph.add(_build_layer(block, previous, graph))
    _warn_of_unread(blocks)
    return graph.layers


def _build_layer(block: Block, previous: Block, graph: Graph) -> Layer:
    layer_class = find_layer_class(block, graph.dialect)
    try:
        layer = layer_class.from_block(block, graph)
    except ShapeError as error:
        if error.source_key in previous:
            raise previous.error(f"the [{block.name}] of line {block.line} {error}", error.source_key) from None
        raise block.error(str(error)) from None
    layer.options = CommonOptions.from_block(block)
    return layer


def _warn_of_unread(blocks: Sequence[Block]) -> None:
    for block in blocks:
        for key, hint in block.unread().items():
            warnings.warn(f"{block.where(key)}: no such option, it changes nothing{hint}", CfgWarning, stacklevel=4)
