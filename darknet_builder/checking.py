"""Everything that is wrong or odd with a cfg and its weights, at once."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from darknet_builder.cfg_files import read_cfg
from darknet_builder.dialects import get_dialect
from darknet_builder.errors import CfgError, CfgWarning, DarknetError, nearest
from darknet_builder.factory import build_layers
from darknet_builder.model_files import load_tensors, refuse_second_weights
from darknet_builder.network import Network, build_network
from darknet_builder.oddities import odd_layers, odd_options
from darknet_builder.options import NetOptions
from darknet_builder.parser import NET_SECTIONS, Block
from darknet_builder.weights import load_weights, look_at_weights

_SIZE = {"width": "416", "height": "416", "channels": "3"}
"""What stands in for a [net] that says none, so that the sections behind it are looked at all the same."""


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        level: ``error`` where the network cannot be used, ``warning`` where something is odd.
        text: one line, located.
    """

    level: str
    text: str

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def check(cfg: str | Path, weights: str | Path | None = None, *, dialect: str | None = None) -> list[Finding]:
    """Find everything that is wrong or odd, not only the first thing.

    Args:
        cfg: a path or the text; or a ``.safetensors`` or ``.pt`` file, which holds weights too.
        weights: a file that should fit the cfg.
        dialect: whose rules hold; None is what the file notes.

    Returns:
        Errors first; an empty list when all is well.
    """
    problems: list[DarknetError] = []
    odd: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CfgWarning)
        try:
            wrong: list[CfgError] = []
            source = read_cfg(cfg, problems=wrong)
            problems += wrong
            blocks, own, dialect = source.blocks, source.tensors, dialect or source.dialect
            network = _check_cfg(blocks, dialect, problems, odd) if blocks else None
            if own is not None and network is not None:
                load_tensors(network, own, str(cfg))
        except DarknetError as error:
            own, network = None, None
            problems.append(error)
        try:
            if own is not None:
                refuse_second_weights(cfg, weights)
            _check_weights(network, weights, dialect)
        except DarknetError as error:
            problems.append(error)
    errors = [Finding("error", str(problem)) for problem in problems]
    odd += [str(warning.message) for warning in caught if issubclass(warning.category, CfgWarning)]
    return list(dict.fromkeys([*errors, *(Finding("warning", text) for text in odd)]))


def _check_cfg(blocks: list[Block], dialect: str | None, problems: list[DarknetError], odd: list[str]
               ) -> Network | None:
    """The network, unless something is wrong with it."""
    wrong: list[CfgError] = []
    if blocks[0].name not in NET_SECTIONS:
        blocks.insert(0, Block("net", _SIZE, line=blocks[0].line, source=blocks[0].source))
    options = _net_options(blocks[0], wrong)
    odd += odd_options(blocks, options)
    build_layers(blocks, options, get_dialect(dialect), problems=wrong)
    problems += {str(problem): problem for problem in wrong}.values()
    if problems:
        return None
    for block in blocks:
        block.mistakes = None
    network = build_network(blocks, dialect=dialect, initialize=False)
    odd += odd_layers(network)
    return network


def _net_options(net: Block, wrong: list[CfgError]) -> NetOptions:
    """As ``NetOptions.from_block``, past everything that is wrong."""
    net.mistakes = wrong
    attempt = net
    while True:
        try:
            return NetOptions.from_block(attempt)
        except CfgError as error:
            if error.key in attempt:
                wrong.append(error)
                attempt = attempt.changed(without=error.key)
            else:
                if not any(problem.key in _SIZE for problem in wrong):  # else it only follows from that
                    wrong.append(error)
                net.ignore(*(nearest(key, net.unread()) or key for key in _SIZE))  # which the error names
                attempt = attempt.changed(**_SIZE)


def _check_weights(network: Network | None, weights: str | Path | None, dialect: str | None) -> None:
    """Hold a file against the network; where there is none, look at the file alone."""
    if weights is None:
        return
    if network is None:
        look_at_weights(weights, get_dialect(dialect))
    else:
        load_weights(network, weights)
