"""The examples in the docstrings of ``layers`` are right."""

import doctest
import pkgutil
from importlib import import_module

from darknet_builder import layers


def test_examples():
    names = [
        module.name for module in pkgutil.walk_packages(layers.__path__, layers.__name__ + ".")
    ]
    results = [doctest.testmod(import_module(name)) for name in names]
    assert sum(result.attempted for result in results) > 0
    assert sum(result.failed for result in results) == 0
