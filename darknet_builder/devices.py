"""Where a network runs, checked before the work begins."""

from __future__ import annotations

import torch

from darknet_builder.errors import InputError


def find_device(name: str | torch.device | None) -> torch.device | None:
    """The device that torch knows by a name; None for None.

    Raises:
        InputError: for one that is unknown or not there.
    """
    if name is None:
        return None
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise InputError(f"device {str(name)!r} cannot be used here: {str(error).splitlines()[0]}") from None
    return device
