"""The parameters come from one call of parameters(), which returns each tensor once.

``children()`` also leaves out a child that it has already returned, but only within one module. A
module that is shared by two branches of the tree is a child of both, and was counted in both.
"""

from __future__ import annotations

from torch import nn


def count_weights(module: nn.Module) -> int:
    """Return the number of values in all parameters of a module.

    Args:
        module: any module.
    """
    return sum(parameter.numel() for parameter in module.parameters())
