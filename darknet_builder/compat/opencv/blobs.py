"""OpenCV's own functions that make blobs and suppress boxes, from any version of ``cv2.dnn``.

They are here so that code can use one name, ``dnn``, for everything.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from darknet_builder.images.opencv import load_opencv

load_opencv()
# Imported by name: a program may have set the attribute cv2.dnn to this package.
_dnn = import_module("cv2.dnn")

Image2BlobParams = _dnn.Image2BlobParams
NMSBoxes = _dnn.NMSBoxes
NMSBoxesBatched = _dnn.NMSBoxesBatched
NMSBoxesRotated = _dnn.NMSBoxesRotated
blobFromImage = _dnn.blobFromImage
blobFromImageWithParams = _dnn.blobFromImageWithParams
blobFromImages = _dnn.blobFromImages
blobFromImagesWithParams = _dnn.blobFromImagesWithParams
imagesFromBlob = _dnn.imagesFromBlob
softNMSBoxes = _dnn.softNMSBoxes


def find(name: str) -> Any:
    """Return a name of OpenCV's own ``cv2.dnn``, such as ``readNetFromONNX``.

    Raises:
        AttributeError: if it has no such name.

    Example:
        >>> find("NMSBoxes") is NMSBoxes
        True
    """
    return getattr(_dnn, name)
