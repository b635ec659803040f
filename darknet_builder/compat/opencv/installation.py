"""``install``: put this package into the place of ``cv2.dnn``."""

from __future__ import annotations

import sys
from importlib import import_module

from darknet_builder.compat.opencv import blobs
from darknet_builder.images.opencv import load_opencv

_PACKAGE = "darknet_builder.compat.opencv"
_FLAT = ("Net", "Model", "DetectionModel", "ClassificationModel")
"""Classes that OpenCV also has without a module: ``cv2.dnn_Net``, ``cv2.dnn_DetectionModel``."""


def install() -> None:
    """Replace ``cv2.dnn`` for the whole process, so that existing code need not be changed.

    Afterwards ``cv2.dnn.NAME``, ``from cv2 import dnn``, ``from cv2.dnn import NAME`` and
    ``cv2.dnn_NAME`` use this package. Call it before the other code imports names from ``cv2.dnn``.

    Example:
        >>> install()
        >>> from cv2.dnn import readNetFromDarknet
        >>> readNetFromDarknet.__module__
        'darknet_builder.compat.opencv.reading'
    """
    assert blobs  # it must hold OpenCV's own cv2.dnn before the replacement
    cv2, package = load_opencv(), import_module(_PACKAGE)
    cv2.dnn = package  # type: ignore[attr-defined]
    sys.modules["cv2.dnn"] = package
    for name in _FLAT:
        setattr(cv2, f"dnn_{name}", getattr(package, name))
