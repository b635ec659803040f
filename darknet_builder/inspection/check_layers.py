"""Build the layers of a cfg despite its mistakes, so that ``check`` can report all of them."""

from __future__ import annotations

from darknet_builder.cfg.block import NET_SECTIONS, Block
from darknet_builder.cfg.diagnostics import Collector
from darknet_builder.cfg.dialects import get_dialect
from darknet_builder.cfg.net_options import NetOptions
from darknet_builder.errors import CfgError, CfgWarning, ShapeError, nearest
from darknet_builder.inspection.lint import odd_layers, odd_options
from darknet_builder.layers.base import Graph, Layer
from darknet_builder.network.build import build_network
from darknet_builder.network.factory import build_layers, locate, read_layer
from darknet_builder.network.network import Network
from darknet_builder.shapes import Shape

_SIZE = {"width": "416", "height": "416", "channels": "3"}
"""Sizes to use if [net] has none, so that the other sections are checked all the same."""


def check_layers(
    blocks: list[Block], dialect: str | None, diagnostics: Collector, odd: list[CfgWarning]
) -> Network | None:
    """Build the network despite its mistakes.

    Args:
        blocks: one or more; if the first is not [net], a [net] is inserted before it.
        dialect: ``alexeyab`` or ``pjreddie``; None for ``alexeyab``.
        diagnostics: the collector to which mistakes are added.
        odd: list to which warnings are appended.

    Returns:
        The network, or None if there was a mistake.
    """
    if blocks[0].name not in NET_SECTIONS:
        blocks.insert(0, Block("net", _SIZE, line=blocks[0].line, source=blocks[0].source))
    options = _net_options(blocks[0], diagnostics)
    build_layers(
        blocks, options, get_dialect(dialect), build=_LayersPastMistakes(diagnostics).build
    )
    odd += odd_options(blocks, options)
    if diagnostics.errors:
        return None
    network = build_network(blocks, dialect=dialect, initialize=False)
    odd += odd_layers(network)
    if network.heads:
        try:
            network.check_sees_images()
        except CfgError as error:
            diagnostics.report(error)
    return network


def _net_options(net: Block, diagnostics: Collector) -> NetOptions:
    """Read [net] despite its mistakes."""
    options = diagnostics.read_past(net, NetOptions.from_block)
    if options is None:
        # Only a missing size stops the reading. Options with similar names are already in its
        # error, so they are not reported as unknown as well.
        net.ignore(*(nearest(key, net.unread()) or key for key in _SIZE))
        options = diagnostics.read_past(net.changed(**_SIZE), NetOptions.from_block)
    assert options is not None, "the size is all that [net] must have"
    return options


class _PassedOver(Layer):
    """Stands for a section that could not be built, so that the others keep their indices."""

    def __init__(self, in_shape: Shape) -> None:
        super().__init__(in_shape, in_shape)


class _LayersPastMistakes:
    """Build layers despite mistakes in their sections.

    Mistakes that are only the consequence of another one are not reported.

    Args:
        diagnostics: the collector to which mistakes are added.
    """

    def __init__(self, diagnostics: Collector) -> None:
        self.diagnostics = diagnostics
        self.doubtful: set[int] = set()
        """Indices of layers whose shape is a guess, because a section that they depend on was
        passed over."""

    def build(self, block: Block, previous: Block, graph: Graph) -> Layer:
        """Build a layer as ``factory.build_layer`` does; on a mistake, return a ``_PassedOver``."""

        def read(section: Block) -> Layer | None:
            try:
                return read_layer(section, graph)
            except ShapeError as error:
                if graph.index - 1 in self.doubtful:
                    return None
                raise locate(error, block, previous) from None

        before = len(self.diagnostics.errors)
        layer = self.diagnostics.read_past(block, read)
        if layer is None:
            # Reading stopped early, so an unread option is not necessarily unknown.
            block.ignore(*block)
        if layer is None or len(self.diagnostics.errors) > before:
            self.doubtful.add(graph.index)
            return _PassedOver(graph.shape)
        # Only direct sources are looked at, because ``doubtful`` passes on from layer to layer. A
        # walk back to the input would double its paths with every shortcut.
        if not self.doubtful.isdisjoint(layer.sources or (graph.index - 1,)):
            self.doubtful.add(graph.index)
        return layer
