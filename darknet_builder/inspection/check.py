"""Everything that is wrong or odd with a cfg and its weights, at once."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darknet_builder.cfg.diagnostics import Collector
from darknet_builder.cfg.dialects import get_dialect
from darknet_builder.cfg.model_metadata import refuse_second_weights
from darknet_builder.cfg.source import CfgSource, read_cfg
from darknet_builder.errors import CfgWarning, DarknetError, Located

if TYPE_CHECKING:
    from darknet_builder.network.network import Network


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
            own, dialect = source.tensors, dialect or source.dialect
            network = _check_network(source, dialect, diagnostics, odd)
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


def _check_network(
    source: CfgSource, dialect: str | None, diagnostics: Collector, odd: list[CfgWarning]
) -> Network | None:
    """Build the network, with the weights of a model file; None where something is wrong with it.

    PyTorch is imported here: without a section there is nothing to build.
    """
    if not source.blocks:
        return None
    from darknet_builder.cfg.model_files import load_tensors
    from darknet_builder.inspection.check_layers import check_layers

    network = check_layers(source.blocks, dialect, diagnostics, odd)
    if source.tensors is not None and network is not None:
        load_tensors(network, source.tensors, source.blocks[0].source)
    return network


def _check_weights(
    network: Network | None, weights: str | Path | None, dialect: str | None
) -> None:
    """Hold a file against the network; where there is none, look at the file alone."""
    if weights is None:
        return
    from darknet_builder.weights.loader import load_weights, look_at_weights

    if network is None:
        look_at_weights(weights, get_dialect(dialect))
    else:
        load_weights(network, weights)
