"""Run a network and get its boxes: ``predict_image``, ``get_network_boxes``, ..."""

from __future__ import annotations

import ctypes
from array import array
from typing import Any

import numpy as np
import torch

from darknet_builder.boxes.candidates import Candidates
from darknet_builder.boxes.formats import on_cpu
from darknet_builder.compat.darknet.images import letterbox_image, resized
from darknet_builder.compat.darknet.networks import LoadedNetwork
from darknet_builder.compat.darknet.structures import BOX, DETECTION, DETNUMPAIR, IMAGE
from darknet_builder.errors import InputError
from darknet_builder.images.resize import Placement
from darknet_builder.layers.base import Head
from darknet_builder.prediction.postprocessing import nms_rule


def predict_image(net: LoadedNetwork, image: IMAGE) -> array[float]:
    """Run the network on an image, stretched to its input.

    Args:
        net: from ``load_network`` or ``load_net``. The state of recurrent layers is kept until
            ``reset_rnn``.
        image: of any size, in RGB.

    Returns:
        The output of the last layer: of a classifier, one score for each class.

    Raises:
        InputError: if the image has another number of channels than the network.

    Example:
        >>> from darknet_builder.compat.darknet.images import make_image
        >>> from darknet_builder.compat.darknet.networks import load_net
        >>> from darknet_builder.support.bundled import default_model
        >>> net = load_net(*default_model()[:2])
        >>> len(predict_image(net, make_image(100, 80, 3))) == 3 * (5 + 8) * 24 * 24
        True
    """
    _check_channels(net, image)
    return _run(net, resized(image, net.network.input_size)[None])


def predict_image_letterbox(net: LoadedNetwork, image: IMAGE) -> array[float]:
    """Run the network on a letterboxed image; read its boxes with ``letter=1``.

    The arguments and the result are those of ``predict_image``.
    """
    _check_channels(net, image)
    size = net.network.input_size
    fits = (image.w, image.h) == size
    return _run(net, (image if fits else letterbox_image(image, *size)).pixels()[None])


def network_predict(net: LoadedNetwork, data: Any) -> array[float]:
    """Run the network on pixels that have the size of its input.

    Args:
        net: from ``load_network``, with its ``batch_size``.
        data: pixels of all images of the batch, in the order of ``IMAGE.data``.

    Raises:
        InputError: if the number of values is wrong.
    """
    return _run(net, _batch_pixels(net, IMAGE(data=data), net.batch))


predict = network_predict


def network_predict_batch(
    net: LoadedNetwork,
    im: IMAGE,
    batch_size: int,
    w: int,
    h: int,
    thresh: float,
    hier: float,
    class_map: None,
    relative: int,
    letter: int,
) -> list[DETNUMPAIR]:
    """Run the network on several images, and return the detections of each.

    Args:
        net: the network, from ``load_network``.
        im: its ``data`` holds all images, one after the other, in the size of the network's input.
        batch_size: number of images in ``im``.
        w: width of the original images in pixels. Boxes are scaled to the original images.
        h: height of the original images in pixels.
        thresh: minimum objectness of a box; a probability at or below it becomes 0.
        hier: has no effect, as in AlexeyAB's Darknet.
        class_map: must be None: see ``get_network_boxes``.
        relative: 1 for boxes relative to the image, 0 for pixels.
        letter: 1 if the images are letterboxed, 0 if they are stretched.

    Raises:
        InputError: if ``im`` does not have the number of values of ``batch_size`` images.

    Example:
        >>> from darknet_builder.compat.darknet.networks import load_net
        >>> from darknet_builder.support.bundled import default_model
        >>> net = load_net(*default_model()[:2])
        >>> black = IMAGE(640, 480, 3, np.zeros((2, 3, 192, 192), np.float32))
        >>> pairs = network_predict_batch(net, black, 2, 640, 480, 0.25, 0.5, None, 0, 0)
        >>> [pair.num for pair in pairs]
        [0, 0]
    """
    _run(net, _batch_pixels(net, im, batch_size))
    pairs = []
    for index in range(batch_size):
        detections = _boxes_of(net, index, (w, h), thresh, class_map, relative, letter)
        pairs.append(DETNUMPAIR(len(detections), detections))
    return pairs


def get_network_boxes(
    net: LoadedNetwork,
    w: int,
    h: int,
    thresh: float,
    hier: float,
    class_map: None,
    relative: int,
    num: Any,
    letter: int = 0,
) -> list[DETECTION]:
    """Return the boxes of the image on which the network ran last.

    Args:
        net: the network, after ``predict_image``.
        w: width of the image in pixels. Boxes are scaled to the image.
        h: height of the image in pixels.
        thresh: minimum objectness of a box; a probability at or below it becomes 0.
        hier: has no effect, as in AlexeyAB's Darknet.
        class_map: must be None; in Darknet, it maps classes to those of another hierarchy.
        relative: 1 for boxes in [0, 1], 0 for pixels.
        num: where the number of boxes is stored: a pointer to int, or the first item of a list.
            None stores nothing.
        letter: 1 after ``predict_image_letterbox``, otherwise 0.

    Raises:
        InputError: before the first ``predict_image``, or for a network without a detection head.

    Example:
        >>> from darknet_builder.compat.darknet.images import from_pixels
        >>> from darknet_builder.data.scenes import draw_scene
        >>> from darknet_builder.images.resize import to_input
        >>> from darknet_builder.compat.darknet.networks import load_net
        >>> from darknet_builder.support.bundled import default_model
        >>> net = load_net(*default_model()[:2])
        >>> image = from_pixels(to_input(draw_scene(0).image, (192, 192))[0].numpy())
        >>> output = predict_image(net, image)
        >>> num = ctypes.pointer(ctypes.c_int())
        >>> boxes = get_network_boxes(net, image.w, image.h, 0.25, 0.5, None, 0, num)
        >>> num[0] == len(boxes) > 0
        True
    """
    detections = _boxes_of(net, 0, (w, h), thresh, class_map, relative, letter)
    _store(num, len(detections))
    return detections


def _check_channels(net: LoadedNetwork, image: IMAGE) -> None:
    channels = net.network.options.channels
    if image.c != channels:
        raise InputError(f"the IMAGE has {image.c} channels; the network takes {channels}")


def _batch_pixels(net: LoadedNetwork, image: IMAGE, batch: int) -> np.ndarray:
    """Return (batch, c, h, w) float32 of the network's input size."""
    width, height = net.network.input_size
    shape = (batch, net.network.options.channels, height, width)
    return image.values(int(np.prod(shape))).reshape(shape)


@torch.inference_mode()
def _run(net: LoadedNetwork, pixels: np.ndarray) -> array[float]:
    """Run the network on (B, c, h, w); keep the raw maps and return the last layer's output."""
    outputs = net.runner(torch.from_numpy(pixels).to(net.network.device))
    heads = net.network.heads
    if isinstance(outputs, list):
        net.raw_maps = outputs
        last = heads[-1](outputs[-1])  # as Darknet stores it
    else:
        last = outputs
    return array("f", on_cpu(last).astype(np.float32, copy=False).tobytes())


@torch.inference_mode()
def _boxes_of(
    net: LoadedNetwork,
    index: int,
    image_size: tuple[int, int],
    thresh: float,
    class_map: None,
    relative: int,
    letter: int,
) -> list[DETECTION]:
    """Return the boxes of one image of the last batch; see ``get_network_boxes``."""
    nms_rule(net.network)  # raises for a network without a detection head, and says why
    if class_map:
        raise InputError("get_network_boxes: a map of classes is not supported; give None")
    if not net.raw_maps:
        raise InputError("get_network_boxes: the network has not run yet; call predict_image first")
    size = net.network.input_size
    placement = Placement.plan(image_size, size, "letterbox" if letter else "stretch")
    scale = np.array((1, 1, 1, 1) if relative else image_size * 2, np.float32)
    detections = []
    for head, raw in zip(net.network.heads, net.raw_maps, strict=True):
        candidates = head.decode(raw[index : index + 1], size)
        rows = _rows_above(head, candidates, np.float32(thresh))
        detections += _detections(candidates, rows, np.float32(thresh), placement, scale)
    return detections


def _rows_above(head: Head, candidates: Candidates, thresh: np.float32) -> np.ndarray:
    """Return the candidates of one image whose objectness is above the threshold, as indices (K,).

    ``Candidates.above`` would also drop boxes without a class above the threshold. Such a box
    still suppresses others in ``do_nms_obj``.
    """
    objectness = on_cpu(candidates.objectness[0])  # (N,)
    rows = np.flatnonzero(objectness > thresh)
    if not head.num_anchors:
        return rows
    # Candidates are sorted by anchor, then by cell. Darknet's boxes are sorted by cell, then by
    # anchor (get_yolo_detections):
    #   2 anchors, 3 cells: candidate 0 1 2 3 4 5 is Darknet's 0 2 4 1 3 5
    anchor, cell = np.divmod(rows, len(objectness) // head.num_anchors)
    return rows[np.argsort(cell * head.num_anchors + anchor)]


def _detections(
    candidates: Candidates,
    rows: np.ndarray,
    thresh: np.float32,
    placement: Placement,
    scale: np.ndarray,
) -> list[DETECTION]:
    """Convert some candidates of one image to Darknet's structures.

    Args:
        candidates: the candidates of one image.
        rows: (K,) indices of candidates.
        thresh: a probability at or below it becomes 0.
        placement: position of the image in the network's input.
        scale: (4,) factors that turn boxes relative to the image into the unit of the result.
    """
    # Select on the device, so that only K boxes are copied.
    chosen = torch.from_numpy(rows).to(candidates.scores.device)
    boxes = placement.undo(on_cpu(candidates.boxes_cxcywh[0, chosen])) * scale  # (K, 4)
    objectness = on_cpu(candidates.objectness[0, chosen])  # (K,)
    scores = on_cpu(candidates.scores[0, chosen])  # (K, C)
    scores = np.where(scores > thresh, scores, np.float32(0))
    # An untrained network may give infinite boxes, which cannot be drawn.
    finite = np.isfinite(boxes).all(1) & np.isfinite(scores).all(1)
    return [
        _detection(boxes[row], scores[row], float(objectness[row]))
        for row in np.flatnonzero(finite)
    ]


def _detection(box: np.ndarray, scores: np.ndarray, objectness: float) -> DETECTION:
    best = int(scores.argmax())
    return DETECTION(
        BOX(*box.tolist()),
        len(scores),
        best if scores[best] > 0 else -1,
        array("f", scores.tobytes()),
        objectness,
    )


def _store(num: Any, count: int) -> None:
    """Store a number in ``num``: ``c_int()``, a pointer or ``byref`` to it, or a list."""
    if num is None:
        return
    if isinstance(num, ctypes.c_int):
        num.value = count
    elif hasattr(num, "_obj"):  # the result of byref
        num._obj.value = count
    else:
        num[0] = count
