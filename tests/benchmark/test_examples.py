"""The examples in the docstrings of benchmark are run."""

from __future__ import annotations

import doctest
import pkgutil
from importlib import import_module

import darknet_builder.benchmark as room

OPTIONAL = {"peer_worker"}
"""Modules that are run by another interpreter."""


def test_examples() -> None:
    """Each shows what is printed."""
    attempted = failed = 0
    for module in pkgutil.iter_modules(room.__path__, f"{room.__name__}."):
        if module.name.rpartition(".")[2] in OPTIONAL:
            continue
        result = doctest.testmod(import_module(module.name))
        attempted, failed = attempted + result.attempted, failed + result.failed
    assert attempted > 0 and failed == 0
