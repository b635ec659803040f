"""Darknet's data sets: a ``.data`` file, lists of images, and a label file for each image.

A ``.data`` file says ``classes=3``, ``valid=test.txt``, ``names=my.names``. A list has one image a line. The labels of
``images/a.jpg`` are in ``labels/a.txt`` or ``images/a.txt``, one box a line: ``class x y width height``, centre and
size relative to the image. Darknet ends a label file in silence at the first line that it cannot read, and trains on
boxes of classes that do not exist; here each is a ``DataError`` with file and line.
"""

from __future__ import annotations

from darknet_builder.data_file import DataFile
from darknet_builder.image_list import list_images, read_image_list
from darknet_builder.image_set import ImageSet, LabelledImage, load_images
from darknet_builder.labels import find_labels, label_places, no_boxes, read_labels

__all__ = [
    "DataFile",
    "ImageSet",
    "LabelledImage",
    "find_labels",
    "label_places",
    "list_images",
    "load_images",
    "no_boxes",
    "read_image_list",
    "read_labels",
]
