"""The experiments of the lessons: find unregistered tensors, and layers in a plain list.

``scratch`` has the lesson "YOLO from scratch", and ``marker`` judges what its readers write.

No other room depends on this one, except the command line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from darknet_builder.support.lazy import lazy_names

if TYPE_CHECKING:
    from darknet_builder.lessons.plain_list import why_modulelist as why_modulelist
    from darknet_builder.lessons.unregistered import explain_unregistered as explain_unregistered
    from darknet_builder.lessons.unregistered import find_unregistered as find_unregistered
else:
    __getattr__, __all__ = lazy_names(__name__)
