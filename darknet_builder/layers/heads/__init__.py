"""Heads: the sections at which detections are read, and what they share (``anchor_head``)."""
