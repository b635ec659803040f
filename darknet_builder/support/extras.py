"""Import optional packages on first use, and name the extra to install if one is missing."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from darknet_builder.errors import MissingExtraError


def load_extra(module: str, extra: str) -> ModuleType:
    """Import an optional package.

    Args:
        module: dotted name of the module.
        extra: the extra of this project that installs it.

    Returns:
        The module.

    Raises:
        MissingExtraError: if the package is not installed.

    Example:
        >>> load_extra("json", "evaluate").loads("[1]")
        [1]
        >>> try:
        ...     load_extra("no_such_package", "evaluate")
        ... except MissingExtraError as error:
        ...     print(error)
        no_such_package is not installed: pip install 'darknet-builder[evaluate]'
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise  # the package is installed and misses a dependency, which the message names
        raise MissingExtraError(
            f"{module} is not installed: pip install 'darknet-builder[{extra}]'"
        ) from None
