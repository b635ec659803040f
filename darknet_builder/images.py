"""Pixels in and out: image and video files, resizing, reading ahead.

An image in this package is an array (H, W, 3) of uint8 with the channels in the order blue, green, red, as
``cv2.imread`` and ``cv2.VideoCapture`` give it. Networks see red, green, blue in [0, 1].
"""

from __future__ import annotations

from darknet_builder.image_files import IMAGE_SUFFIXES, check_image, read_image, write_image
from darknet_builder.opencv import load_opencv
from darknet_builder.prefetch import read_ahead
from darknet_builder.resize import (
    CANVAS,
    FITS,
    RESIZE_MODES,
    Placement,
    check_resize,
    resize_bilinear,
    to_input,
)
from darknet_builder.video import VIDEO_SUFFIXES, Video, open_video, write_video

__all__ = [
    "CANVAS",
    "FITS",
    "IMAGE_SUFFIXES",
    "Placement",
    "RESIZE_MODES",
    "VIDEO_SUFFIXES",
    "Video",
    "check_image",
    "check_resize",
    "load_opencv",
    "open_video",
    "read_ahead",
    "read_image",
    "resize_bilinear",
    "to_input",
    "write_image",
    "write_video",
]
