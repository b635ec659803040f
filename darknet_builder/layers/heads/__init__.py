"""Heads: sections from which detections are decoded, and their common part (``anchor_head``)."""
