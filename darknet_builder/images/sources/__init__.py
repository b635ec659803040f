"""Where images come from: files that words name, web addresses, webcams and network streams.

Decoding belongs in ``images``; what is done with the frames belongs in rooms further to the right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from darknet_builder.support.lazy import lazy_names

if TYPE_CHECKING:
    from darknet_builder.images.sources.finding import find_sources as find_sources
    from darknet_builder.images.sources.finding import is_video as is_video
    from darknet_builder.images.sources.live import LiveSource as LiveSource
    from darknet_builder.images.sources.web import WebImage as WebImage
else:
    __getattr__, __all__ = lazy_names(__name__)
