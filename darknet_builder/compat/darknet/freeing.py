"""Functions that free memory in Darknet and do nothing here.

Python frees an object after its last use, so calling one of them twice, or using the object
afterwards, does no harm.
"""

from __future__ import annotations


def free_image(m: object) -> None:
    """Do nothing.

    Example:
        >>> from darknet_builder.compat import darknet
        >>> image = darknet.make_image(4, 2, 3)
        >>> darknet.free_image(image)
        >>> image.w
        4
    """


def free_detections(dets: object, n: int) -> None:
    """Do nothing."""


def free_batch_detections(det_num_pairs: object, n: int) -> None:
    """Do nothing."""


def free_ptrs(ptrs: object, n: int) -> None:
    """Do nothing."""


def free_network_ptr(net: object) -> None:
    """Do nothing."""
