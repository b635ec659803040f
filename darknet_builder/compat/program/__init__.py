"""The lines and files that the ``darknet`` program writes, and that scripts parse."""

from __future__ import annotations
