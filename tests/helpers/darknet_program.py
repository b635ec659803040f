"""The type of the fixture that runs a command line of Darknet's program."""

from __future__ import annotations

from collections.abc import Callable

Darknet = Callable[..., tuple[int, str, str]]
"""Takes a line, and gives the exit status, stdout and stderr."""
