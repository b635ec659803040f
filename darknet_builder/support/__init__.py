"""Helpers that are independent of Darknet.

They cover atomic file writing, optional packages, devices, process groups, text and web addresses.
Code that knows about cfg files, layers or images belongs in a room further to the right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from darknet_builder.support.lazy import lazy_names

if TYPE_CHECKING:
    from darknet_builder.support.extras import load_extra as load_extra
else:
    __getattr__, __all__ = lazy_names(__name__)
