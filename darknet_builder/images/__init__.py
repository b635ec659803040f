"""Read, resize, crop, prefetch and write images and videos; read webcams and network streams.

Only this room imports OpenCV. Drawing boxes belongs in ``boxes``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from darknet_builder.support.lazy import lazy_names

if TYPE_CHECKING:
    from darknet_builder.images.crop import fit_image as fit_image
    from darknet_builder.images.files import check_image as check_image
    from darknet_builder.images.files import decode_image as decode_image
    from darknet_builder.images.files import read_image as read_image
    from darknet_builder.images.files import write_image as write_image
    from darknet_builder.images.inputs import Image as Image
    from darknet_builder.images.inputs import to_array as to_array
    from darknet_builder.images.prefetch import read_ahead as read_ahead
    from darknet_builder.images.resize import Placement as Placement
    from darknet_builder.images.resize import resize_bilinear as resize_bilinear
    from darknet_builder.images.resize import to_input as to_input
    from darknet_builder.images.sources.finding import find_sources as find_sources
    from darknet_builder.images.sources.live import LiveSource as LiveSource
    from darknet_builder.images.sources.web import WebImage as WebImage
    from darknet_builder.images.video import Frame as Frame
    from darknet_builder.images.video import Video as Video
    from darknet_builder.images.video import open_video as open_video
    from darknet_builder.images.video import write_video as write_video
else:
    __getattr__, __all__ = lazy_names(__name__)
