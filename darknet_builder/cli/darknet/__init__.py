"""Command lines of the ``darknet`` program, translated to this package: one file for each task."""

from __future__ import annotations
