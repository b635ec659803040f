"""Everything that is wrong or odd with a cfg and its weights, at once."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from darknet_builder.cfg.block import NET_SECTIONS, Block
from darknet_builder.cfg.diagnostics import Collector
from darknet_builder.cfg.dialects import get_dialect
from darknet_builder.cfg.model_files import load_tensors
from darknet_builder.cfg.model_metadata import refuse_second_weights
from darknet_builder.cfg.net_options import NetOptions
from darknet_builder.cfg.source import read_cfg
from darknet_builder.errors import CfgWarning, DarknetError, Located, ShapeError, nearest
from darknet_builder.inspection.lint import odd_layers, odd_options
from darknet_builder.layers.base import Graph, Layer
from darknet_builder.network.build import build_network
from darknet_builder.network.factory import build_layers, locate, read_layer
from darknet_builder.network.network import Network
from darknet_builder.shapes import Shape
from darknet_builder.weights.loader import load_weights, look_at_weights

_SIZE = {"width": "416", "height": "416", "channels": "3"}
"""What stands in for a [net] that says none, so that the sections behind it are looked at all the
same."""


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        level: ``error`` where the network cannot be used, ``warning`` where something is odd.
        text: one line, located.
        path: the file in which it was found; None where unknown, like the others.
        line: in that file, counted from 1.
        section: of the cfg.
        key: the option that is wrong or missing.
        hint: what to do about it.
    """

    level: str
    text: str
    path: str | None = None
    line: int | None = None
    section: str | None = None
    key: str | None = None
    hint: str | None = None

    @classmethod
    def of(cls, level: str, error: Located) -> Finding:
        """An error or a warning as a finding."""
        return cls(level, str(error), error.path, error.line, error.section, error.key, error.hint)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def check(
    cfg: str | Path, weights: str | Path | None = None, *, dialect: str | None = None
) -> list[Finding]:
    """Find everything that is wrong or odd, not only the first thing.

    Args:
        cfg: a path or the text; or a ``.safetensors`` or ``.pt`` file, which holds weights too.
        weights: a file that should fit the cfg.
        dialect: whose rules hold; None is what the file notes.

    Returns:
        Errors first; an empty list when all is well.
    """
    diagnostics = Collector()
    odd: list[CfgWarning] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CfgWarning)
        try:
            source = read_cfg(cfg, diagnostics=diagnostics)
            blocks, own, dialect = source.blocks, source.tensors, dialect or source.dialect
            network = _check_cfg(blocks, dialect, diagnostics, odd) if blocks else None
            if own is not None and network is not None:
                load_tensors(network, own, str(cfg))
        except DarknetError as error:
            own, network = None, None
            diagnostics.report(error)
        try:
            if own is not None:
                refuse_second_weights(cfg, weights)
            _check_weights(network, weights, dialect)
        except DarknetError as error:
            diagnostics.report(error)
    odd += [warning.message for warning in caught if isinstance(warning.message, CfgWarning)]
    return [*_findings("error", diagnostics.errors), *_findings("warning", odd)]


def _findings(level: str, found: Iterable[Located]) -> list[Finding]:
    """Each text once."""
    return list({str(one): Finding.of(level, one) for one in found}.values())


def _check_cfg(
    blocks: list[Block], dialect: str | None, diagnostics: Collector, odd: list[CfgWarning]
) -> Network | None:
    """The network, unless something is wrong with it."""
    if blocks[0].name not in NET_SECTIONS:
        blocks.insert(0, Block("net", _SIZE, line=blocks[0].line, source=blocks[0].source))
    options = _net_options(blocks[0], diagnostics)
    odd += odd_options(blocks, options)
    build_layers(
        blocks, options, get_dialect(dialect), build=_LayersPastMistakes(diagnostics).build
    )
    if diagnostics.errors:
        return None
    network = build_network(blocks, dialect=dialect, initialize=False)
    odd += odd_layers(network)
    return network


def _net_options(net: Block, diagnostics: Collector) -> NetOptions:
    """As ``NetOptions.from_block``, past everything that is wrong."""
    options = diagnostics.read_past(net, NetOptions.from_block)
    if options is None:  # no size
        net.ignore(*(nearest(key, net.unread()) or key for key in _SIZE))  # which the error names
        options = diagnostics.read_past(net.changed(**_SIZE), NetOptions.from_block)
    assert options is not None, "the size is all that [net] must have"
    return options


class _PassedOver(Layer):
    """Keeps the place of a section that could not be built, so that the others keep their
    indices.
    """

    def __init__(self, in_shape: Shape) -> None:
        super().__init__(in_shape, in_shape)


class _LayersPastMistakes:
    """Builds layers past all mistakes of their sections; what only follows from one is not
    reported.

    Args:
        diagnostics: where mistakes go.
    """

    def __init__(self, diagnostics: Collector) -> None:
        self.diagnostics = diagnostics

    def build(self, block: Block, previous: Block, graph: Graph) -> Layer:
        """As ``factory.build_layer``; a ``_PassedOver`` where something is wrong."""

        def read(section: Block) -> Layer | None:
            try:
                return read_layer(section, graph)
            except ShapeError as error:
                if _is_doubtful(graph, graph.index - 1):
                    return None
                raise locate(error, block, previous) from None

        before = len(self.diagnostics.errors)
        layer = self.diagnostics.read_past(block, read)
        if layer is None:
            block.ignore(
                *block
            )  # not all options were reached: none of them is to be called unknown
        return (
            layer
            if layer is not None and len(self.diagnostics.errors) == before
            else _PassedOver(graph.shape)
        )


def _is_doubtful(graph: Graph, index: int) -> bool:
    """Whether a layer's shape depends on a section that was passed over."""
    if index < 0:
        return False
    layer = graph.layers[index]
    return isinstance(layer, _PassedOver) or any(
        _is_doubtful(graph, source) for source in layer.sources
    )


def _check_weights(
    network: Network | None, weights: str | Path | None, dialect: str | None
) -> None:
    """Hold a file against the network; where there is none, look at the file alone."""
    if weights is None:
        return
    if network is None:
        look_at_weights(weights, get_dialect(dialect))
    else:
        load_weights(network, weights)
