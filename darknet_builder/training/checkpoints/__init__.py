"""Checkpoints of a training: the file, what goes into it, and the folder around it."""
