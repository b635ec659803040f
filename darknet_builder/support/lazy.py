"""Import the public names of a package on first use.

``import torch`` takes more than a second, and printing the version must not wait for it. The
``__init__`` of a package therefore lists its public names once, as imports for type checkers, and
leaves the importing to this module::

    if TYPE_CHECKING:
        from darknet_builder.boxes.overlap import iou as iou
    else:
        __getattr__, __all__ = lazy_names(__name__)
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any


def lazy_names(package: str) -> tuple[Callable[[str], Any], list[str]]:
    """Make a ``__getattr__`` that performs the imports under ``if TYPE_CHECKING`` on demand.

    Args:
        package: ``__name__`` of the package whose ``__init__`` calls this.

    Returns:
        ``__getattr__`` and ``__all__`` for that package.
    """
    module = sys.modules[package]
    homes = dict(_imports_for_type_checkers(module.__spec__.loader.get_source(package)))  # type: ignore[union-attr]

    def get_name(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(homes[name]), name)
        setattr(module, name, value)  # the next access finds it without this function
        return value

    return get_name, sorted(homes)


def _imports_for_type_checkers(source: str) -> Iterator[tuple[str, str]]:
    """Yield (name, module) for each ``from module import name`` under ``if TYPE_CHECKING``."""
    for statement in ast.parse(source).body:
        if not isinstance(statement, ast.If):
            continue
        for line in statement.body:
            if isinstance(line, ast.ImportFrom) and line.module:
                yield from ((alias.name, line.module) for alias in line.names)
