"""Undo ``dnn.install()``, which replaces OpenCV's names for the whole process."""

from __future__ import annotations

import sys

import cv2
import pytest

FLAT = ("dnn_Net", "dnn_Model", "dnn_DetectionModel", "dnn_ClassificationModel")


def keep_opencv_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore ``cv2.dnn`` in all its spellings at the end of the test."""
    monkeypatch.setitem(sys.modules, "cv2.dnn", sys.modules["cv2.dnn"])
    for name in ("dnn", *FLAT):
        monkeypatch.setattr(cv2, name, getattr(cv2, name))
