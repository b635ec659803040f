"""The tables of README.md and of its translation are those that the registry and the parity pack
give."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def update(*options: str) -> int:
    """The script that writes the tables, asked whether they are up to date."""
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "update_readme.py"), "--check", *options],
        check=False,
        cwd=ROOT,
    ).returncode


def test_section_table(tmp_path: Path) -> None:
    """Every section that is registered, and no other."""
    assert update("--pack", str(tmp_path / "none")) == 0


def test_network_table(pack: Path) -> None:
    """As many networks as the pack records; ``test_parity`` holds each of them."""
    assert update("--pack", str(pack)) == 0


def test_an_outdated_table_is_noticed(tmp_path: Path) -> None:
    """A pack with other networks gives another table."""
    assert update("--pack", str(tmp_path)) == 1
