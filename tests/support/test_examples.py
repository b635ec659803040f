"""The examples in the docstrings of support are run, and those of errors and shapes."""

from __future__ import annotations

import doctest
import pkgutil
from importlib import import_module

import darknet_builder.support as room


def test_examples() -> None:
    """Each shows what is printed."""
    attempted = failed = 0
    for module in pkgutil.iter_modules(room.__path__, f"{room.__name__}."):
        result = doctest.testmod(import_module(module.name))
        attempted, failed = attempted + result.attempted, failed + result.failed
    assert attempted > 0 and failed == 0


def test_examples_of_the_files_beside_the_rooms() -> None:
    """Errors and shapes."""
    for name in ("errors", "shapes"):
        result = doctest.testmod(import_module(f"darknet_builder.{name}"))
        assert result.attempted > 0 and result.failed == 0
