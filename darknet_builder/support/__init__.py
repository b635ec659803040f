"""Helpers that know nothing of Darknet: whole files, optional packages, devices, process groups,
text.

What knows a cfg, a layer or an image belongs in a room further right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from darknet_builder.support.lazy import lazy_names

if TYPE_CHECKING:
    from darknet_builder.support.extras import load_extra as load_extra
else:
    __getattr__, __all__ = lazy_names(__name__)
