"""Find everything that is wrong or odd in a cfg and its weights, in one run."""

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
    """One mistake or oddity.

    Attributes:
        level: ``error`` if the network cannot be used, ``warning`` if something is odd.
        text: one line with its location.
        path: path of the file; None if unknown, as for the attributes below.
        line: line in the file, counted from 1.
        section: name of the section in the cfg.
        key: the option that is wrong or missing.
        hint: what to do about it.

    Example:
        >>> Finding.of("warning", CfgWarning("unknown option", path="a.cfg", line=3)).text
        'a.cfg:3: unknown option'
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
        """Return an error or a warning as a finding."""
        return cls(level, str(error), error.path, error.line, error.section, error.key, error.hint)

    def to_dict(self) -> dict[str, Any]:
        """Return values that JSON can hold."""
        return asdict(self)


def check(
    cfg: str | Path, weights: str | Path | None = None, *, dialect: str | None = None
) -> list[Finding]:
    r"""Find everything that is wrong or odd, not only the first mistake.

    Args:
        cfg: a path or the text; or a ``.safetensors`` or ``.pt`` file, which has weights, too.
        weights: a file to check against the cfg; None for none.
        dialect: ``alexeyab`` or ``pjreddie``; None for the one noted in the file.

    Returns:
        Findings, errors first; an empty list for a cfg without findings.

    Example:
        >>> for finding in check("[net]\nwidth=32\nheight=32\nchannels=3\n[maxpol]\n"):
        ...     print(finding.text)
        <text>:5: [maxpol]: unknown section; did you mean 'maxpool'? A plugin can add sections
    """
    diagnostics = Collector()
    odd: list[CfgWarning] = []
    with warnings.catch_warnings(record=True) as caught:
        # By default Python shows equal warnings of one code line only once.
        warnings.simplefilter("always", CfgWarning)
        try:
            source = read_cfg(cfg, diagnostics=diagnostics)
            tensors, dialect = source.tensors, dialect or source.dialect
            network = _check_network(source, dialect, diagnostics, odd)
        except DarknetError as error:
            tensors, network = None, None
            diagnostics.report(error)
        try:
            if tensors is not None:
                refuse_second_weights(cfg, weights)
            _check_weights(network, weights, dialect)
        except DarknetError as error:
            diagnostics.report(error)
    odd += [warning.message for warning in caught if isinstance(warning.message, CfgWarning)]
    return [*_findings("error", diagnostics.errors), *_findings("warning", odd)]


def _findings(level: str, messages: Iterable[Located]) -> list[Finding]:
    """Return one finding per text."""
    # The parser and the layers may report the same mistake.
    return list({str(message): Finding.of(level, message) for message in messages}.values())


def _check_network(
    source: CfgSource, dialect: str | None, diagnostics: Collector, odd: list[CfgWarning]
) -> Network | None:
    """Build the network, with the weights of a model file; return None if there was a mistake.

    PyTorch is imported here: without a section there is nothing to build.
    """
    if not source.blocks:
        return None
    from darknet_builder.inspection.check_layers import check_layers
    from darknet_builder.network.stored_values import load_tensors

    network = check_layers(source.blocks, dialect, diagnostics, odd)
    if source.tensors is not None and network is not None:
        load_tensors(network, source.tensors, source.blocks[0].source)
    return network


def _check_weights(
    network: Network | None, weights: str | Path | None, dialect: str | None
) -> None:
    """Load a weights file into the network; without a network, check the file alone."""
    if weights is None:
        return
    from darknet_builder.weights.loader import load_weights, look_at_weights

    if network is None:
        look_at_weights(weights, get_dialect(dialect))
    else:
        load_weights(network, weights)
