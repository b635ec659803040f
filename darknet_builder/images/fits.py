"""The ways to fit an image into a network's input, by name. Nothing here imports NumPy or PyTorch.

``resize`` and ``crop`` do the fitting.
"""

from __future__ import annotations

from collections.abc import Sequence

from darknet_builder.errors import InputError, did_you_mean

FITS = ("crop", "stretch", "letterbox")
"""Ways to fit an image into a network's input: its middle, all of it distorted, all of it with
margins."""
RESIZE_MODES = FITS[1:]
"""Those that keep the whole image, as detectors must."""


def check_resize(resize: str, modes: Sequence[str] = RESIZE_MODES, argument: str = "resize") -> str:
    """Return the name of a way to fit an image, if it is one of ``modes``.

    Args:
        resize: the name to check.
        modes: ``RESIZE_MODES`` for detectors, ``FITS`` for classifiers.
        argument: the argument's name in the error: ``resize``, or ``fit`` for ``Classifier``.

    Raises:
        InputError: if it is not one of them.
    """
    if resize not in modes:
        raise InputError(
            f"{argument}={resize!r} is unknown; expected {', '.join(modes[:-1])} or {modes[-1]}"
            f"{did_you_mean(resize, modes)}"
        )
    return resize
