"""The examples in the docstrings of ``weights`` are right."""

import doctest
import pkgutil
from importlib import import_module

from darknet_builder import weights


def test_examples():
    names = [
        module.name for module in pkgutil.iter_modules(weights.__path__, weights.__name__ + ".")
    ]
    results = [doctest.testmod(import_module(name)) for name in names]
    assert sum(result.attempted for result in results) > 0
    assert sum(result.failed for result in results) == 0
