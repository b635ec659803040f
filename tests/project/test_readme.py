"""The tables of README.md and of its translation are those that the registry and the parity pack
give."""

from __future__ import annotations

import sys
from pathlib import Path
from unittest import mock

from scripts import update_readme


def update(*options: str) -> int:
    """The script that writes the tables, asked whether they are up to date."""
    with mock.patch.object(sys, "argv", ["update_readme.py", "--check", *options]):
        return update_readme.main()


def test_section_table(tmp_path: Path) -> None:
    """Every section that is registered, and no other."""
    assert update("--pack", str(tmp_path / "none")) == 0


def test_network_table(pack: Path) -> None:
    """As many networks as the pack records; ``test_parity`` holds each of them."""
    assert update("--pack", str(pack)) == 0


def test_an_outdated_table_is_noticed(tmp_path: Path) -> None:
    """A pack with other networks gives another table."""
    assert update("--pack", str(tmp_path)) == 1
