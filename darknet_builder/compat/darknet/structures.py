"""The structures of ``darknet.py`` (darknet.h): ``IMAGE``, ``DETECTION`` and others.

Their fields have Darknet's names. Numbers are Python's ``int`` and ``float``, as from ctypes.
"""

from __future__ import annotations

import ctypes
import os
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from darknet_builder.errors import InputError

PathText = str | bytes | os.PathLike[str]
"""A path as scripts write it: ``"yolov4.cfg"``, ``b"yolov4.cfg"`` or a Path."""


def as_path(text: PathText) -> Path:
    """Return the path that a script gives as text or as bytes.

    Example:
        >>> as_path(b"cfg/coco.data").name
        'coco.data'
    """
    return Path(os.fsdecode(text))


@dataclass
class BOX:
    """A box: its centre (``x``, ``y``) and its size (``w``, ``h``), all in the same unit.

    Example:
        >>> BOX(20, 10, 4, 2).w
        4
    """

    x: float = 0.0
    y: float = 0.0
    w: float = 0.0
    h: float = 0.0


@dataclass(eq=False)
class DETECTION:
    """A box with the probabilities of all classes.

    Attributes:
        bbox: centre and size of the box.
        classes: number of classes of the network.
        best_class_idx: the class with the highest probability; -1 if all are 0.
        prob: one probability for each class, times the objectness; 0 at or below the threshold.
        objectness: probability that the box contains an object.
        sort_class: not used, always 0.
        mask: not used, always None.
        uc: not used, always None; in Darknet, the uncertainties of [Gaussian_yolo].
        points: not used, always 0.
        embeddings: not used, always None; in Darknet, set by networks that track objects.
        embedding_size: not used, always 0.
        sim: not used, always 0.
        track_id: not used, always 0.

    Example:
        >>> DETECTION(BOX(20, 10, 4, 2), 2, 1, array("f", [0, 0.5]), 0.75).prob[1]
        0.5
    """

    bbox: BOX = field(default_factory=BOX)
    classes: int = 0
    best_class_idx: int = -1
    # An array of the standard library: unlike NumPy's, its items are Python's float, which
    # `round`, `str` and `json.dumps` treat as scripts expect.
    prob: array[float] = field(default_factory=lambda: array("f"))
    objectness: float = 0.0
    sort_class: int = 0
    mask: None = None
    uc: None = None
    points: int = 0
    embeddings: None = None
    embedding_size: int = 0
    sim: float = 0.0
    track_id: int = 0


@dataclass(eq=False)
class DETNUMPAIR:
    """The detections of one image of a batch.

    Attributes:
        num: number of detections in ``dets``.
        dets: the detections, as ``get_network_boxes`` returns them.

    Example:
        >>> DETNUMPAIR(1, [DETECTION()]).num
        1
    """

    num: int = 0
    dets: list[DETECTION] = field(default_factory=list)


@dataclass
class METADATA:
    """The class names of a ``.data`` file.

    Attributes:
        classes: number of classes and of names.
        names: one name for each class, as bytes.

    Example:
        >>> METADATA(2, [b"cat", b"dog"]).names[1].decode("ascii")
        'dog'
    """

    classes: int = 0
    names: list[bytes] = field(default_factory=list)


@dataclass(eq=False)
class IMAGE:
    """An image, or a batch of images one after the other.

    Attributes:
        w: width of an image in pixels.
        h: height of an image in pixels.
        c: number of channels: 3 for RGB.
        data: the values in [0, 1], channel by channel and row by row: a NumPy array, or a ctypes
            pointer to float. An array is shared, not copied.

    Example:
        >>> image = IMAGE(2, 1, 3, np.zeros(6, np.float32))
        >>> image.data[5] = 0.5
        >>> image.values(6).tolist()
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.5]
    """

    w: int = 0
    h: int = 0
    c: int = 0
    data: Any = None

    def values(self, count: int) -> np.ndarray:
        """Return ``data`` as a flat array that shares memory with the image.

        Args:
            count: number of values that ``data`` must have. A pointer has no length, so it is not
                checked.

        Returns:
            (count,) float32.

        Raises:
            InputError: if the image has no data, or another number of values.
        """
        if self.data is None or isinstance(self.data, ctypes._Pointer) and not self.data:
            raise InputError("the IMAGE has no data", hint="make one with make_image or load_image")
        if isinstance(self.data, ctypes._Pointer):
            return np.ctypeslib.as_array(self.data, (count,))
        self.data = np.ascontiguousarray(self.data, np.float32).reshape(-1)
        if self.data.size != count:
            raise InputError(f"the IMAGE has {self.data.size} values; expected {count}")
        return self.data

    def pixels(self) -> np.ndarray:
        """Return ``data`` as (c, h, w) float32 that shares memory with the image.

        Raises:
            InputError: if ``data`` does not have w * h * c values.

        Example:
            >>> IMAGE(2, 1, 3, np.zeros(6, np.float32)).pixels().shape
            (3, 1, 2)
        """
        return self.values(self.w * self.h * self.c).reshape(self.c, self.h, self.w)
