"""YOLO from scratch: what a reader gets (stubs, hints, files), and the solutions of all chapters.

The solutions use only PyTorch, NumPy and OpenCV, nothing of this package. What judges a reader's
code is in ``lessons.marker``.
"""
