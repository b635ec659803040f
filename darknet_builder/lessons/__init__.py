"""What the lessons run: find tensors that are not registered, and the plain-list experiment.

Nothing in the package depends on this room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from darknet_builder.support.lazy import lazy_names

if TYPE_CHECKING:
    from darknet_builder.lessons.plain_list import why_modulelist as why_modulelist
    from darknet_builder.lessons.unregistered import find_unregistered as find_unregistered
else:
    __getattr__, __all__ = lazy_names(__name__)
