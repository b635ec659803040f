"""Numbers of ``darknet detector map``. Nothing here imports NumPy or PyTorch."""

from __future__ import annotations

MAP_THRESHOLD = 0.005
"""The score from which on ``detector map`` keeps boxes."""
MAP_NMS = 0.45
"""The IoU above which ``detector map`` suppresses the worse of two boxes of a class."""
POINTS = (0, 11, 101)
"""0: the area under the curve (VOC 2010, ImageNet); 11: VOC 2007; 101: COCO's way of reading the
curve."""
