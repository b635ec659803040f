"""Interfaces of other programs over this package, for code that exists."""

from __future__ import annotations
