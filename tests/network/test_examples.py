"""The examples in the docstrings of ``network`` are right."""

import doctest
import pkgutil
from importlib import import_module

from darknet_builder import network


def test_examples():
    names = [
        module.name for module in pkgutil.iter_modules(network.__path__, network.__name__ + ".")
    ]
    results = [doctest.testmod(import_module(name)) for name in names]
    assert sum(result.attempted for result in results) > 0
    assert sum(result.failed for result in results) == 0
