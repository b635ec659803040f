"""Import optional packages on first use, and name the extra to install if one is missing.

No package may report its use: what ONNX Runtime and OpenVINO would send is switched off.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

from darknet_builder.errors import MissingExtraError

_TELEMETRY = "openvino_telemetry"
"""The package with which OpenVINO reports its use over the network. Without it, OpenVINO uses a
stub that does nothing."""


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
        with _without_telemetry():
            return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise  # the package is installed and misses a dependency, which the message names
        raise MissingExtraError(
            f"{module} is not installed: pip install 'darknet-builder[{extra}]'"
        ) from None


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """Import packages so that they send nothing, and write no identifier of this machine."""
    # ONNX Runtime reads it when it is loaded.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    if _TELEMETRY in sys.modules:
        yield
        return
    # None makes an import of this name fail. It is removed afterwards, because the rest of the
    # program may use the package.
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[_TELEMETRY]
