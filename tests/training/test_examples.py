"""The examples in the docstrings of the training, run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import darknet_builder.training as room


def test_examples_of_docstrings() -> None:
    """Every example gives the output that stands below it."""
    names = [module.name for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}.")]
    modules = [importlib.import_module(name) for name in names]
    results = [doctest.testmod(module) for module in modules]
    assert sum(result.attempted for result in results) > 0
    assert sum(result.failed for result in results) == 0
