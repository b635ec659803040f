"""Load OpenCV, here alone, and keep it from writing to the terminal."""

from __future__ import annotations

import os
from importlib import import_module
from types import ModuleType

from darknet_builder.errors import MissingExtraError

_QUIET = {"OPENCV_LOG_LEVEL": "SILENT", "OPENCV_FFMPEG_LOGLEVEL": "-8"}
"""OpenCV reads these when it is loaded. What it would write about a broken file is part of an
ImageError."""


def load_opencv() -> ModuleType:
    """The module ``cv2``, quiet unless the environment sets its log levels.

    Raises:
        MissingExtraError: where it is not installed, or lacks a library of the system, with what to
            install.
    """
    for name, level in _QUIET.items():
        os.environ.setdefault(name, level)
    try:
        return import_module("cv2")
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"OpenCV is not installed ({error}): pip install opencv-python, or "
            "opencv-python-headless, which needs no libraries of the system"
        ) from None
    except ImportError as error:
        raise MissingExtraError(
            f"OpenCV cannot be loaded: {error}; install the libraries of the system that it needs"
            " (Debian, Ubuntu: apt-get install libgl1 libglib2.0-0), or take the build that needs"
            " none (pip uninstall opencv-python, then pip install opencv-python-headless)"
        ) from None
