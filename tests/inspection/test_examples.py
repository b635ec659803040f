"""The examples in the docstrings of ``inspection`` are right."""

import doctest
import pkgutil
from importlib import import_module

from darknet_builder import inspection


def test_examples():
    modules = pkgutil.iter_modules(inspection.__path__, inspection.__name__ + ".")
    results = [doctest.testmod(import_module(module.name)) for module in modules]
    assert sum(result.attempted for result in results) > 0
    assert sum(result.failed for result in results) == 0
