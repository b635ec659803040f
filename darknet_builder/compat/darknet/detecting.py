"""Detect objects: ``detect_image``, the older ``detect``, and the functions that they call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from darknet_builder.compat.darknet.images import load_image
from darknet_builder.compat.darknet.networks import LoadedNetwork
from darknet_builder.compat.darknet.predicting import get_network_boxes, predict_image
from darknet_builder.compat.darknet.showing import Box
from darknet_builder.compat.darknet.structures import DETECTION, IMAGE, METADATA, PathText
from darknet_builder.compat.darknet.suppression import do_nms_sort
from darknet_builder.errors import InputError

Name = TypeVar("Name", str, bytes)
Decoded = tuple[str, str, Box]
"""(name, percent as text, box)."""


def detect_image(
    network: LoadedNetwork,
    class_names: Sequence[str] | METADATA,
    image: IMAGE,
    thresh: float = 0.5,
    hier_thresh: float = 0.5,
    nms: float = 0.45,
) -> list[tuple[Any, Any, Box]]:
    """Detect the objects in an image.

    Args:
        network: from ``load_network`` or ``load_net``.
        class_names: the names; or the result of ``load_meta``, for scripts of 2020 and before.
        image: in RGB, of any size; it is stretched to the network's input.
        thresh: minimum confidence, 0 to 1.
        hier_thresh: has no effect, as in AlexeyAB's Darknet.
        nms: NMS IoU threshold; 0 disables suppression.

    Returns:
        (name, percent as text, (x, y, w, h) in pixels of ``image``), sorted by the percent **as
        text**, as in ``darknet.py``: '100.0' comes before '25.12'. With ``load_meta``, (name as
        bytes, probability, box), the best first.

    Example:
        >>> from darknet_builder.cfg.names import read_names
        >>> from darknet_builder.compat.darknet.images import from_pixels
        >>> from darknet_builder.compat.darknet.networks import load_net
        >>> from darknet_builder.data.scenes import draw_scene
        >>> from darknet_builder.images.resize import to_input
        >>> from darknet_builder.support.bundled import default_model
        >>> net, names = load_net(*default_model()[:2]), read_names("shapes")
        >>> image = from_pixels(to_input(draw_scene(0).image, (192, 192))[0].numpy())
        >>> name, percent, box = detect_image(net, names, image)[-1]
        >>> name, float(percent) > 99
        ('circle', True)
    """
    if isinstance(class_names, METADATA):
        found = _objects(network, class_names.names, image, thresh, hier_thresh, nms)
        return sorted(found, key=lambda row: -row[1])
    decoded = decode_detection(_objects(network, class_names, image, thresh, hier_thresh, nms))
    return sorted(decoded, key=lambda row: row[1])


def _objects(
    network: LoadedNetwork,
    names: Sequence[Name],
    image: IMAGE,
    thresh: float,
    hier_thresh: float,
    nms: float,
) -> list[tuple[Name, float, Box]]:
    predict_image(network, image)
    num = [0]
    detections = get_network_boxes(network, image.w, image.h, thresh, hier_thresh, None, 0, num, 0)
    if nms:
        do_nms_sort(detections, num[0], len(names), nms)
    return remove_negatives(detections, names, num[0])


def detect(
    net: LoadedNetwork,
    meta: METADATA,
    image: PathText,
    thresh: float = 0.5,
    hier_thresh: float = 0.5,
    nms: float = 0.45,
) -> list[tuple[bytes, float, Box]]:
    """Detect the objects in an image file, as ``darknet.py`` did until 2020.

    Args:
        net: the network, from ``load_net``.
        meta: the class names, from ``load_meta``.
        image: path of the file.
        thresh: minimum confidence, 0 to 1.
        hier_thresh: has no effect, as in AlexeyAB's Darknet.
        nms: NMS IoU threshold; 0 disables suppression.

    Returns:
        (name as bytes, probability, (x, y, w, h) in pixels of the file's image), the best first.

    Raises:
        ImageError: if the file cannot be read.
    """
    return detect_image(net, meta, load_image(image, 0, 0), thresh, hier_thresh, nms)


def remove_negatives(
    detections: Sequence[DETECTION], class_names: Sequence[Name], num: int
) -> list[tuple[Name, float, Box]]:
    """Return (name, probability, (x, y, w, h)) for each probability that is not 0.

    Args:
        detections: the boxes of one image, from ``get_network_boxes``.
        class_names: one for each class; classes without a name are left out.
        num: number of detections to read, from the first.

    Raises:
        InputError: if there are more names than classes.

    Example:
        >>> from array import array
        >>> from darknet_builder.compat.darknet.structures import BOX
        >>> detection = DETECTION(BOX(20, 10, 4, 2), 2, 1, array("f", [0, 0.5]), 0.75)
        >>> remove_negatives([detection], ["cat", "dog"], 1)
        [('dog', 0.5, (20, 10, 4, 2))]
    """
    predictions = []
    for detection in detections[:num]:
        if len(class_names) > len(detection.prob):
            raise InputError(
                f"got {len(class_names)} class names; the network has {len(detection.prob)} classes"
            )
        box = _box(detection)
        for name, probability in zip(class_names, detection.prob, strict=False):
            if probability > 0:
                predictions.append((name, probability, box))
    return predictions


def remove_negatives_faster(
    detections: Sequence[DETECTION], class_names: Sequence[Name], num: int
) -> list[tuple[Name, float, Box]]:
    """Return (name, probability, (x, y, w, h)) of the best class of each detection.

    The arguments are those of ``remove_negatives``.
    """
    predictions = []
    for detection in detections[:num]:
        best = detection.best_class_idx
        if best == -1:
            continue
        predictions.append((class_names[best], detection.prob[best], _box(detection)))
    return predictions


def _box(detection: DETECTION) -> Box:
    box = detection.bbox
    return (box.x, box.y, box.w, box.h)


def decode_detection(detections: Sequence[tuple[str, float, Box]]) -> list[Decoded]:
    """Replace each probability by the percent as text, with up to two decimals.

    Example:
        >>> decode_detection([("dog", 0.98286, (20, 10, 4, 2))])
        [('dog', '98.29', (20, 10, 4, 2))]
    """
    decoded = []
    for label, confidence, bbox in detections:
        decoded.append((str(label), str(round(confidence * 100, 2)), bbox))
    return decoded
