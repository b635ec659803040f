"""Translate OpenCV's backends and targets to a device, a precision and an engine."""

from __future__ import annotations

import warnings

import torch

from darknet_builder.compat.opencv import constants
from darknet_builder.compat.opencv.constants import name_of
from darknet_builder.errors import InputError
from darknet_builder.support.devices import find_device

_NATIVE = (
    constants.DNN_BACKEND_DEFAULT,
    constants.DNN_BACKEND_OPENCV,
    constants.DNN_BACKEND_CUDA,  # the target decides whether a GPU is used
)
_PRECISIONS = {
    constants.DNN_TARGET_CUDA: "float32",
    constants.DNN_TARGET_CUDA_FP16: "float16",
}
"""The precision of each target that is a GPU."""


class Preferences:
    """The device, precision and engine that a program chooses by OpenCV's numbers.

    The first number that is not supported is ignored with a warning, later ones silently,
    because programs often set a backend and a target together.

    Attributes:
        device: where the network runs.
        precision: ``float32``, or ``float16`` for ``DNN_TARGET_CUDA_FP16``.
        engine: name of the engine; ``openvino`` for ``DNN_BACKEND_INFERENCE_ENGINE``.
        fuses: whether the network is folded and fused; False runs it layer by layer.

    Example:
        >>> preferences = Preferences()
        >>> preferences.set_backend(constants.DNN_BACKEND_INFERENCE_ENGINE)
        >>> preferences.engine, preferences.device.type
        ('openvino', 'cpu')
    """

    def __init__(self) -> None:
        self.device = torch.device("cpu")
        self.precision = "float32"
        self.engine = "torch"
        self.fuses = True
        self._has_warned = False

    def set_backend(self, number: int) -> None:
        """Choose an engine.

        Args:
            number: one of the constants ``DNN_BACKEND_...``.

        Raises:
            InputError: for an unknown backend.
        """
        name = _known("DNN_BACKEND", number)
        self.engine = "torch"
        if number == constants.DNN_BACKEND_INFERENCE_ENGINE:
            self.engine = "openvino"
        elif number not in _NATIVE:
            self._ignore(name, "the engine is not supported")

    def set_target(self, number: int) -> None:
        """Choose a device and a precision.

        Args:
            number: one of the constants ``DNN_TARGET_...``.

        Raises:
            InputError: for an unknown target.
        """
        name = _known("DNN_TARGET", number)
        self.device, self.precision = torch.device("cpu"), "float32"
        if number in _PRECISIONS:
            try:
                self.device = find_device("cuda") or self.device
                self.precision = _PRECISIONS[number]
            except InputError as error:
                self._ignore(name, str(error))
        elif number != constants.DNN_TARGET_CPU:
            self._ignore(name, "the device is not supported")

    def _ignore(self, name: str, reason: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            text = f"{name} is ignored, the network runs on the CPU in float32: {reason}"
            # This function, set_..., Net.setPreferable...: the fourth frame is the program.
            warnings.warn(text, stacklevel=4)


def _known(kind: str, number: int) -> str:
    name = name_of(kind, number)
    if name is None:
        raise InputError(f"no {kind} has this number", argument=kind, value=number)
    return name
