"""Show images in a window, where there is a screen and OpenCV is built for it."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np

from darknet_builder.errors import InputError
from darknet_builder.images.opencv import load_opencv

_KEYS_TO_STOP = (ord("q"), ord("Q"), 27)  # 27: Esc
_SECONDS = 30
_TRIAL = "import cv2; cv2.namedWindow('darknet-builder')"


def check_window() -> None:
    """Check that a window can be opened.

    Raises:
        InputError: if not, with the reason.
    """
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        raise _no_window("there is no screen: DISPLAY and WAYLAND_DISPLAY are not set")
    # In another process: some builds of OpenCV abort where the screen cannot be reached.
    try:
        trial = subprocess.run(  # noqa: S603 (a fixed text)
            [sys.executable, "-c", _TRIAL],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            env={**os.environ, "PYTHONSAFEPATH": "1"},  # a file cv2.py in this folder is not meant
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _no_window(f"the screen does not answer within {_SECONDS} seconds") from None
    if "not implemented" in trial.stderr:
        raise _no_window(
            "this OpenCV is built without windows; pip uninstall opencv-python-headless, then pip"
            " install opencv-python"
        )
    if trial.returncode != 0:
        raise _no_window("the screen cannot be reached")


def _no_window(reason: str) -> InputError:
    return InputError(f"no window can be opened: {reason}", argument="show")


class Window:
    """A window that shows one image after another.

    Args:
        title: its title.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._cv2 = load_opencv()
        self._is_open = False

    def show(self, image: np.ndarray, *, wait: bool = False) -> bool:
        """Show an image in place of the one before; must be called in the main thread.

        Args:
            image: (H, W, 3) uint8 in BGR order.
            wait: wait until a key is pressed, as for a photograph; False goes on at once.

        Returns:
            False if the user has pressed q or Esc, or has closed the window.
        """
        cv2 = self._cv2
        if not self._is_open:
            cv2.namedWindow(self._title, cv2.WINDOW_NORMAL)
            cv2.resizeWindow(self._title, image.shape[1], image.shape[0])
            self._is_open = True
        cv2.imshow(self._title, image)
        key = cv2.waitKey(1)
        while self._is_visible() and wait and key < 0:
            key = cv2.waitKey(50)
        return self._is_visible() and key & 0xFF not in _KEYS_TO_STOP

    def _is_visible(self) -> bool:
        return bool(self._cv2.getWindowProperty(self._title, self._cv2.WND_PROP_VISIBLE) >= 1)

    def close(self) -> None:
        """Close the window, if it is open."""
        if self._is_open and self._is_visible():
            self._cv2.destroyWindow(self._title)
