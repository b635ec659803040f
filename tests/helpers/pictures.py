"""Random pictures, and the text of an expected error."""

from __future__ import annotations

import numpy as np
import pytest

from darknet_builder.errors import DarknetError

RNG = np.random.default_rng(7)


def photo(width: int, height: int) -> np.ndarray:
    """Return a random (height, width, 3) image."""
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


def message(call: object, *arguments: object) -> str:
    """Return the text of the DarknetError that a call must raise."""
    with pytest.raises(DarknetError) as raised:
        call(*arguments)  # type: ignore[operator]
    return str(raised.value)
