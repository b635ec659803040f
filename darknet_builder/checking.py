"""Everything that is wrong or odd with a cfg and its weights, at once."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from darknet_builder.dialects import get_dialect
from darknet_builder.errors import CfgError, CfgWarning, DarknetError
from darknet_builder.factory import build_layers
from darknet_builder.network import Network, build_network
from darknet_builder.options import NetOptions
from darknet_builder.parser import Block, parse_cfg
from darknet_builder.weights import load_weights

_STRIDE = 32


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


def check(cfg: str | Path, weights: str | Path | None = None, *, dialect: str = "alexeyab") -> list[Finding]:
    """Find everything that is wrong or odd, not only the first thing.

    Args:
        cfg: a path or the text.
        weights: a file that should fit the cfg.
        dialect: whose rules hold.

    Returns:
        Errors first; an empty list when all is well.
    """
    problems: list[CfgError] = []
    findings: list[Finding] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CfgWarning)
        try:
            blocks = parse_cfg(cfg, problems=problems)
            blocks[0].mistakes = problems
            options = NetOptions.from_block(blocks[0])
            build_layers(blocks, options, get_dialect(dialect), problems=problems)
            findings += _oddities(blocks, options)
            if not problems:
                _check_weights(build_network(cfg, dialect=dialect, initialize=False), weights)
        except DarknetError as error:
            findings.insert(0, Finding("error", str(error)))
    errors = [Finding("error", str(problem)) for problem in problems]
    odd = [Finding("warning", str(warning.message)) for warning in caught if issubclass(warning.category, CfgWarning)]
    return list(dict.fromkeys([*errors, *findings, *odd]))


def _check_weights(network: Network, weights: str | Path | None) -> None:
    if weights is not None:
        load_weights(network, weights)


def _oddities(blocks: list[Block], options: NetOptions) -> list[Finding]:
    """What builds, but is seldom meant."""
    net = blocks[0]
    found = [f"{net.where()}: no section follows: there is no network"] if len(blocks) == 1 else []
    for key, size in (("width", options.width), ("height", options.height)):
        if size % _STRIDE and any(block.name == "yolo" for block in blocks):
            found.append(f"{net.where(key)}: is no multiple of {_STRIDE}; detectors are made for such sizes")
    if options.batch % options.subdivisions:
        found.append(f"{net.where('subdivisions')}: does not divide batch={options.batch}; Darknet rounds down")
    heads = [block for block in blocks if "classes" in block and "anchors" in block]
    for head in heads[1:]:
        if head["classes"] != heads[0]["classes"]:
            found.append(f"{head.where('classes')}: the head of line {heads[0].line} has classes={heads[0]['classes']}")
    return [Finding("warning", text) for text in found]
