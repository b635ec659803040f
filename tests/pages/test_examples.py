"""The examples in the docstrings of ``darknet_builder.pages`` give the output that they show."""

from __future__ import annotations

import doctest
from importlib import import_module
from pkgutil import iter_modules

import pytest

from darknet_builder import pages

MODULES = [module.name for module in iter_modules(pages.__path__)]


def run_examples(name: str) -> doctest.TestResults:
    return doctest.testmod(import_module(f"darknet_builder.pages.{name}"))


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    assert run_examples(name).failed == 0


def test_there_are_examples() -> None:
    assert sum(run_examples(name).attempted for name in MODULES) > 0
