"""The table of a paper gives a model more weights than its file has.

``count_weights(module)`` adds up the values in all parameters of a module. It is right for most
models, but not for a model in which two parts share a module. Mend it so that each parameter is
counted once.
"""

from __future__ import annotations

from torch import nn


def count_weights(module: nn.Module) -> int:
    """Return the number of values in all parameters of a module.

    Args:
        module: any module.
    """
    own = sum(parameter.numel() for parameter in module.parameters(recurse=False))
    return own + sum(count_weights(child) for child in module.children())
