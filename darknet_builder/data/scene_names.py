"""The classes of the drawn scenes, and their size. Nothing here imports NumPy or PyTorch."""

from __future__ import annotations

SCENE_NAMES = ("circle", "square", "triangle", "star", "cross", "ring", "heart", "arrow")
SCENE_SIZE = 224
"""Width and height in pixels, unless another size is given."""
