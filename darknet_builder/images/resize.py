"""Resize images to a network's input, and map boxes back to the image with ``Placement``.

Images are arrays (H, W, 3) of uint8 in BGR order. Networks take RGB in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from darknet_builder.errors import InputError
from darknet_builder.images.files import check_image
from darknet_builder.images.fits import check_resize
from darknet_builder.images.opencv import load_opencv

_STRIP = 16
"""Rows computed at once. Their float32 values fit into a core's cache, and reuse memory that is
already mapped."""
CANVAS = 0.5
"""Grey value around a letterboxed image (image.c:1006)."""


@dataclass(frozen=True)
class Placement:
    """Position of an image within the network's input; all sizes are (width, height) in pixels.

    Attributes:
        image_size: size of the original image.
        net_size: size of the network's input.
        inner_size: size of the resized image, which is smaller than ``net_size`` if letterboxed.

    Example:
        >>> placement = Placement.plan((640, 480), (416, 416), "letterbox")
        >>> placement.inner_size, placement.offset
        ((416, 312), (0, 52))
    """

    image_size: tuple[int, int]
    net_size: tuple[int, int]
    inner_size: tuple[int, int]

    @classmethod
    def plan(cls, image_size: tuple[int, int], net_size: tuple[int, int], resize: str) -> Placement:
        """Compute the placement for a resize mode.

        ``letterbox`` makes the image as large as fits, with its own aspect ratio (image.c:1006).

        Args:
            image_size: (width, height) of the image in pixels.
            net_size: (width, height) of the network's input in pixels.
            resize: how the image is fitted: ``stretch`` or ``letterbox``.

        Raises:
            InputError: if the resize mode is unknown.
        """
        if check_resize(resize) == "stretch":
            return cls(image_size, net_size, net_size)
        (width, height), (net_width, net_height) = image_size, net_size
        # The comparison in float32 and the truncating division are Darknet's. Unlike there, an
        # extreme aspect ratio keeps at least one pixel.
        if np.float32(net_width) / np.float32(width) < np.float32(net_height) / np.float32(height):
            return cls(image_size, net_size, (net_width, max(1, height * net_width // width)))
        return cls(image_size, net_size, (max(1, width * net_height // height), net_height))

    @property
    def offset(self) -> tuple[int, int]:
        """Return the (x, y) in the network's input, in pixels, at which the image begins."""
        x_margin = self.net_size[0] - self.inner_size[0]
        y_margin = self.net_size[1] - self.inner_size[1]
        return x_margin // 2, y_margin // 2

    def undo(self, boxes_cxcywh: np.ndarray) -> np.ndarray:
        """Map boxes from the network's input back to the image (yolo_layer.c:939).

        Args:
            boxes_cxcywh: (..., 4) float32, relative to the network's input; a tensor on the CPU is
                accepted as well.

        Returns:
            (..., 4) float32, relative to the image; the argument itself if the image fills the
            input.

        Example:
            >>> placement = Placement.plan((640, 480), (416, 416), "letterbox")
            >>> placement.undo(np.array([[0.5, 0.5, 1.0, 0.75]], np.float32))
            array([[0.5, 0.5, 1. , 1. ]], dtype=float32)
        """
        boxes_cxcywh = np.asarray(boxes_cxcywh)
        if self.inner_size == self.net_size:
            return boxes_cxcywh
        net = np.array(self.net_size, np.float32)  # (2,)
        inner = np.array(self.inner_size, np.float32)  # (2,)
        # Like Darknet, subtract half the margin exactly, although the image was pasted at a whole
        # pixel: for a margin of 47 this is 23.5, and `offset` is 23.
        centre = (boxes_cxcywh[..., :2] - (net - inner) / 2 / net) / (inner / net)
        return np.concatenate((centre, boxes_cxcywh[..., 2:] / (inner / net)), -1)


def to_input(
    image: np.ndarray, net_size: tuple[int, int], resize: str = "stretch", channels: int = 3
) -> tuple[Tensor, Placement]:
    """Convert an image to a detector's input.

    Args:
        image: (H, W, 3) uint8, channels in BGR order.
        net_size: (width, height) of the network's input in pixels.
        resize: how the image is fitted: ``stretch`` or ``letterbox``.
        channels: 3 for RGB, 1 for grey.

    Returns:
        (``channels``, height, width) float32 in [0, 1], and the placement of the image in it.

    Raises:
        InputError: if ``image`` is not an image, or ``channels`` or ``resize`` is not supported.

    Example:
        >>> x, placement = to_input(np.zeros((240, 320, 3), np.uint8), (64, 64), "letterbox")
        >>> x.shape, placement.inner_size
        (torch.Size([3, 64, 64]), (64, 48))
    """
    image = check_image(image)
    if channels not in (1, 3):
        raise InputError(f"the network takes {channels} channels; images have 3, or 1 as grey")
    if channels == 1:
        cv2 = load_opencv()
        image = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_BGR2GRAY)[..., None]
    placement = Placement.plan((image.shape[1], image.shape[0]), net_size, resize)
    resized = resize_bilinear(image, placement.inner_size)
    if placement.inner_size == net_size:
        return resized, placement
    return torch.from_numpy(paste(resized.numpy(), placement)), placement


def paste(resized: np.ndarray, placement: Placement) -> np.ndarray:
    """Put a resized image on a grey canvas of the network's input size.

    Args:
        resized: (C, H, W) float32 in [0, 1], of the size ``placement.inner_size``.
        placement: position of the image in the input.

    Returns:
        (C, height, width) float32.

    Example:
        >>> placement = Placement.plan((4, 2), (4, 4), "letterbox")
        >>> paste(np.zeros((1, 2, 4), np.float32), placement)[0, :, 0].tolist()
        [0.5, 0.0, 0.0, 0.5]
    """
    width, height = placement.net_size
    canvas = np.full((len(resized), height, width), CANVAS, np.float32)
    left, top = placement.offset
    canvas[:, top : top + resized.shape[1], left : left + resized.shape[2]] = resized
    return canvas


def resize_bilinear(image: np.ndarray, size: tuple[int, int]) -> Tensor:
    """Resize an image bilinearly, equal to Darknet's in every bit (image.c:1399).

    The corners are aligned and nothing is smoothed, as in
    ``torch.nn.functional.interpolate(..., align_corners=True)``. Only pixels that are read are
    converted to float32, so a photograph of 12 megapixels takes no longer than a small one.

    Args:
        image: (H, W, C) uint8, or float32 from 0 to 255; one or more pixels.
        size: (width, height) of the result in pixels.

    Returns:
        (C, height, width) float32 in [0, 1], channels in reverse order.

    Example:
        >>> resize_bilinear(np.full((2, 2, 3), 255, np.uint8), (4, 4)).shape
        torch.Size([3, 4, 4])
    """
    # NumPy, because PyTorch would start a team of threads for each thread that reads images.
    width, height = size
    channels = image.shape[2]
    lefts, rights, x_weight = _horizontal_taps(image.shape[1], width, channels)
    above, below, y_weight = _taps(image.shape[0], height)
    # For its last row Darknet drops the lower source row. Where the coordinate of that row falls
    # just below a whole number in float32 (240 -> 416), this leaves the row black.
    below_weight = np.append(y_weight[:-1], np.float32(0))
    # `needed` has the source rows that are read at all; `uppers` and `lowers` index into it.
    needed, indices = np.unique(np.concatenate((above, below)), return_inverse=True)
    uppers, lowers = indices[:height], indices[height:]
    resized = np.empty((channels, height, width), np.float32)
    for start in range(0, height, _STRIP):
        strip = slice(start, start + _STRIP)
        top, bottom = uppers[strip][0], lowers[strip][-1]
        rows = image[needed[top : bottom + 1]].reshape(bottom + 1 - top, -1)  # (rows, W * C)
        across = _weighted(rows.take(lefts, 1), 1 - x_weight)  # (rows, C * width)
        across += _weighted(rows.take(rights, 1), x_weight)
        # (strip, C * width)
        upper, lower = across.take(uppers[strip] - top, 0), across.take(lowers[strip] - top, 0)
        upper *= (1 - y_weight[strip])[:, None]
        lower *= below_weight[strip][:, None]
        upper += lower
        # (strip, C * width) -> (strip, C, width) -> (C, strip, width)
        resized[:, strip] = upper.reshape(-1, channels, width).swapaxes(0, 1)
    return torch.from_numpy(resized)


def _horizontal_taps(
    length: int, width: int, channels: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return indices into a flattened row (W * C) of an image, and their weights.

    Args:
        length: columns of the image.
        width: columns of the result.
        channels: number of channels of both rows.

    Returns:
        (channels * width,) each: index of the left pixel, index of the right pixel, and weight of
        the right pixel in [0, 1].
    """
    left, right, weight = _taps(length, width)
    # Darknet takes the last source column for the last new one, whatever float32 rounds it to.
    left[-1], weight[-1] = length - 1, 0
    # A row lies in memory as B G R B G R ...: column x of channel c is at x * C + c. The channels
    # are taken in reverse, which turns BGR into RGB:
    #   lefts = [left * C + 2, left * C + 1, left * C + 0]      for C = 3, each part `width` long
    channel = np.arange(channels)[::-1, None]  # (C, 1)
    lefts = (left * channels + channel).ravel()  # (C, width) -> (C * width,)
    rights = (right * channels + channel).ravel()
    return lefts, rights, np.tile(weight, channels)


def _weighted(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return uint8 values as float32 in [0, 1], multiplied by a weight."""
    unit = np.divide(values, np.float32(255), dtype=np.float32)
    unit *= weight
    return unit


def _taps(length: int, new_length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the two source indices beside each new position, and the weight of the second.

    Args:
        length: source positions along the axis.
        new_length: number of positions after resizing.

    Returns:
        (new_length,) each: first index, second index, and weight of the second in [0, 1].
    """
    # Aligned corners: new position i is at i * (length - 1) / (new_length - 1) of the source.
    step = np.float32(length - 1) / np.float32(max(new_length - 1, 1))
    position = np.arange(new_length, dtype=np.float32) * step
    first = np.minimum(position.astype(np.int64), length - 1)
    second = np.minimum(first + 1, length - 1)
    return first, second, position - first.astype(np.float32)
