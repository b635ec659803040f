"""The networks of a parity pack: which cfg belongs to which fixture, and at which size it was
run."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from darknet_builder import Network, build_network
from darknet_builder.errors import CfgWarning
from tests.conftest import read_meta

_FOLDERS = {"networks": "alexeyab", "networks-pjreddie": "pjreddie", "layers": "alexeyab"}


@dataclass(frozen=True)
class PackNetwork:
    """One fixture: its name (``folder/stem``), what was recorded of the whole network, its cfg."""

    name: str
    meta: dict[str, Any]
    cfg: str | Path
    dialect: str

    def build(self) -> Network:
        """The network at the size that was run, weights undefined."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CfgWarning)  # real cfgs have odd options
            return build_network(
                self.cfg,
                width=self.meta["width"] or None,
                height=self.meta["height"] or None,
                dialect=self.dialect,
                initialize=False,
            )


def pack_networks(pack: Path, config: pytest.Config) -> Iterator[PackNetwork]:
    """Every network fixture of the pack."""
    cfgs = config.getoption("--pack-cfgs") or pack.resolve().parent / "cfgs"
    for folder, dialect in _FOLDERS.items():
        for path in sorted((pack / folder).glob("*.npz")):
            cfg = (
                path.with_suffix(".cfg")
                if folder == "layers"
                else cfgs / dialect / f"{path.stem}.cfg"
            )
            yield PackNetwork(f"{folder}/{path.stem}", read_meta(path), cfg, dialect)
