"""Load OpenCV and keep it from writing to the terminal."""

from __future__ import annotations

import os
from importlib import import_module
from types import ModuleType

from darknet_builder.errors import MissingExtraError

LIMIT_VARIABLE, MOST_PIXELS = "OPENCV_IO_MAX_IMAGE_PIXELS", 2**27
"""The environment variable by which OpenCV limits the pixels of an image, and the limit set here.
OpenCV's own limit is 2^30, for which it allocates up to 8 GB."""
_SETTINGS = {
    "OPENCV_LOG_LEVEL": "SILENT",
    "OPENCV_FFMPEG_LOGLEVEL": "-8",
    LIMIT_VARIABLE: str(MOST_PIXELS),
}
"""Variables that OpenCV reads when it is loaded. Its complaints about a broken file become part of
an ImageError instead."""


def load_opencv() -> ModuleType:
    """Return the module ``cv2``, quiet and limited unless the environment says otherwise.

    Raises:
        MissingExtraError: if it is not installed or a system library is missing; the message says
            what to install.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
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
