"""Optional packages: imported when they are first needed, with what to install where they are
missing.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from darknet_builder.errors import MissingExtraError


def load_extra(module: str, extra: str) -> ModuleType:
    """Import an optional package.

    Args:
        module: its name, as ``import`` takes it.
        extra: of this project, which brings it.

    Raises:
        MissingExtraError: where it is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise  # the package is there and lacks one of its own: its message says which
        raise MissingExtraError(
            f"{module} is not installed: pip install 'darknet-builder[{extra}]'"
        ) from None
