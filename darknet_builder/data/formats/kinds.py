"""The names of the formats. Nothing here imports NumPy or PyTorch."""

from __future__ import annotations

FORMATS = ("coco", "darknet", "ultralytics", "voc")
"""The formats that can be written."""
LINKS = ("hard", "symbolic")
"""The ways to link an image instead of copying it."""
