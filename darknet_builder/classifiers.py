"""What makes a network a classifier, and how an image is fitted into one."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from darknet_builder.errors import ImageError, InputError, did_you_mean
from darknet_builder.image_files import check_image
from darknet_builder.layers.softmax import Softmax
from darknet_builder.network import Network
from darknet_builder.resize import RESIZE_MODES, to_input
from darknet_builder.trees import Tree

FITS = ("crop", *RESIZE_MODES)
"""``crop``: the image's middle; ``letterbox``, ``stretch``: all of it, as for detectors."""
_THINNEST = 100
"""Times that an image may be longer than wide, or wider than long, to have its middle taken."""


def count_classes(network: Network) -> int:
    """How many classes a classifier knows.

    Raises:
        InputError: for a network that is none.
    """
    if network.heads:
        raise InputError(f"the network ends in [{network.heads[-1].section}]: it finds boxes, it does not classify "
                         "(the command for it is detect)")
    if network.input_shape.flat:
        raise InputError(f"the network takes a vector of {network.input_shape.size} values, not an image")
    shape = next(layer.out_shape for layer in reversed(network.sequence()) if not layer.is_cost)
    if shape.height * shape.width > 1:
        raise InputError(f"the network has no detection head, and ends in a map of {shape}, not in one score for "
                         "each class; end it with [avgpool] and [softmax]")
    return shape.channels


def is_classifier(network: Network) -> bool:
    """Whether a network takes an image and gives one score for each class."""
    try:
        count_classes(network)
    except InputError:
        return False
    return True


def find_tree(network: Network) -> Tree | None:
    """The hierarchy of the last [softmax] that has one."""
    trees = [layer.tree for layer in network.sequence() if isinstance(layer, Softmax) and layer.tree is not None]
    return trees[-1] if trees else None


# ---- fitting an image into the network ----------------------------------------------------------------


def check_fit(fit: str) -> str:
    """The name of a way of fitting.

    Raises:
        InputError: for an unknown one.
    """
    if fit not in FITS:
        raise InputError(f"fit={fit!r} is unknown; expected {', '.join(FITS[:-1])} or {FITS[-1]}"
                         f"{did_you_mean(fit, FITS)}")
    return fit


def fit_image(image: np.ndarray, net_size: tuple[int, int], fit: str = "crop", channels: int = 3) -> Tensor:
    """An image -> (``channels``, H, W) float32 in [0, 1], red, green, blue or grey.

    ``crop`` makes the shorter side as long as the network's input is wide, and takes the middle (resize_min,
    crop_image in image.c); what lies beyond the edges repeats them.

    Args:
        image: (H, W, 3) uint8, blue, green, red.
        net_size: (width, height) of the network's input in pixels.
        fit: one of ``FITS``.
        channels: 3 or 1.

    Raises:
        ImageError: for one that is too thin to be cropped.
        InputError: for what is no image.
    """
    if check_fit(fit) != "crop":
        return to_input(image, net_size, fit, channels)[0]
    image = check_image(image)
    height, width = image.shape[:2]
    if max(height, width) > _THINNEST * min(height, width):
        raise ImageError(f"{width}x{height} pixels are too thin to take the middle of; fit it another way")
    side = net_size[0]
    size = (side, height * side // width) if width < height else (width * side // height, side)
    resized = to_input(image, size, "stretch", channels)[0]
    columns, rows = (_middle(length, wanted) for length, wanted in zip(size, net_size, strict=True))
    return resized[:, rows][:, :, columns]


def _middle(length: int, wanted: int) -> Tensor:
    """The places along an axis that the middle takes; C's division rounds towards zero."""
    return (torch.arange(wanted) + int((length - wanted) / 2)).clamp(0, length - 1)
