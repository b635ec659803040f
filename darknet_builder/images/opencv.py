"""Load OpenCV and keep it from writing to the terminal."""

from __future__ import annotations

import os
from importlib import import_module
from types import ModuleType

from darknet_builder.errors import MissingExtraError

_QUIET = {"OPENCV_LOG_LEVEL": "SILENT", "OPENCV_FFMPEG_LOGLEVEL": "-8"}
"""Variables that OpenCV reads when it is loaded. Its complaints about a broken file become part of
an ImageError instead."""


def load_opencv() -> ModuleType:
    """Return the module ``cv2``, quiet unless the environment sets its log levels.

    Raises:
        MissingExtraError: if it is not installed or a system library is missing; the message says
            what to install.
    """
    for name, level in _QUIET.items():
        os.environ.setdefault(name, level)
    try:
        return import_module("cv2")
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"OpenCV is not installed ({error}): pip install opencv-python, or "
            "opencv-python-headless, which needs no system libraries"
        ) from None
    except ImportError as error:
        raise MissingExtraError(
            f"OpenCV cannot be loaded: {error}; install the system libraries that it needs"
            " (Debian, Ubuntu: apt-get install libgl1 libglib2.0-0), or use the build without them"
            " (pip uninstall opencv-python, then pip install opencv-python-headless)"
        ) from None
