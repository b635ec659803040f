"""Blocks -> layers: look each section up in the registry, hand it the graph so far, check what comes back."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch

from darknet_builder import layers as _layers  # noqa: F401  (importing it registers every section)
from darknet_builder.dialects import Dialect
from darknet_builder.errors import CfgError, CfgWarning, ShapeError
from darknet_builder.layers.base import CommonOptions, Graph, Layer, find_layer_class
from darknet_builder.options import NetOptions
from darknet_builder.parser import TEXT_SOURCE, Block
from darknet_builder.shapes import Shape


def build_layers(blocks: Sequence[Block], options: NetOptions, dialect: Dialect, *,
                 problems: list[CfgError] | None = None) -> list[Layer]:
    """One layer a block after ``[net]``, at Darknet's own indices.

    Parameters are made on the meta device: they have shapes and no memory yet.

    Args:
        blocks: the whole cfg.
        options: what its ``[net]`` says.
        dialect: whose rules hold.
        problems: where given, mistakes are collected here instead of raising at the first, all of a section's options
            too; a wrong section is then passed over, and what only follows from it is not reported.

    Raises:
        CfgError: located, for whatever cannot be built.
    """
    folder = "" if blocks[0].source == TEXT_SOURCE else str(Path(blocks[0].source).parent)
    graph = Graph(options.input_shape, dialect, options.time_steps, folder)
    read = [blocks[0]]
    with torch.device("meta"):
        for previous, block in pairwise(blocks):
            try:
                layer, whole = (_build_layer(block, graph), True) if problems is None else (
                    _try_layer(block, previous, graph, problems))
            except (CfgError, ShapeError) as error:
                raise _locate(error, block, previous) from None
            if whole:
                read.append(block)
            graph.add(layer)
    _warn_of_unread(read)
    return graph.layers


class _PassedOver(Layer):
    """Keeps the place of a section that could not be built, so that the others keep their indices."""

    def __init__(self, in_shape: Shape) -> None:
        super().__init__(in_shape, in_shape)


def _try_layer(block: Block, previous: Block, graph: Graph, problems: list[CfgError]) -> tuple[Layer, bool]:
    """The layer, or what keeps its place; and whether all of the section's options were read.

    An option that ends the reading is noted and left out, and the section is read again: it hides no other one.
    """
    mistakes: list[CfgError] = []
    block.mistakes = mistakes
    attempt, layer, whole = block, None, True
    while layer is None and whole:
        try:
            layer = _build_layer(attempt, graph)
        except CfgError as error:
            # What is missing after something was left out, or what does not fit a default, only follows from that.
            if error.key in attempt or not mistakes:
                mistakes.append(error)
            whole = error.key in attempt
            attempt = attempt.changed(without=error.key)
        except ShapeError as error:
            if not mistakes and not _is_doubtful(graph, graph.index - 1):
                mistakes.append(_locate(error, block, previous))
            whole = False
    problems += {str(mistake): mistake for mistake in mistakes}.values()
    return (_PassedOver(graph.shape) if layer is None or mistakes else layer), whole


def _build_layer(block: Block, graph: Graph) -> Layer:
    layer = find_layer_class(block, graph.dialect).from_block(block, graph)
    layer.options = CommonOptions.from_block(block)
    return layer


def _locate(error: CfgError | ShapeError, block: Block, previous: Block) -> CfgError:
    """A ``ShapeError`` with file and line: this section's, or those of the option before it that has to change."""
    if isinstance(error, CfgError):
        return error
    if error.source_key in previous:
        return previous.error(f"the [{block.name}] of line {block.line} {error}", error.source_key)
    return block.error(str(error))


def _is_doubtful(graph: Graph, index: int) -> bool:
    """Whether a layer's shape depends on a section that was passed over."""
    if index < 0:
        return False
    layer = graph.layers[index]
    return isinstance(layer, _PassedOver) or any(_is_doubtful(graph, source) for source in layer.sources)


def _warn_of_unread(blocks: Sequence[Block]) -> None:
    for block in blocks:
        for key, hint in block.unread().items():
            warnings.warn(f"{block.where(key)}: no such option, it changes nothing{hint}", CfgWarning, stacklevel=4)
