"""Heat maps: where in the picture the score of a detection came from.

The map of an object is gradient times activation at a layer, summed over the channels: what each
place of the layer's output contributes to the score, to first order. Grad-CAM averages the gradient
over the picture first, which is right for a classifier. A box is decoded from one cell, and the
average spreads its weights over all other objects; without it (HiResCAM,
https://arxiv.org/abs/2011.08891) the heat stays where the score came from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from darknet_builder.boxes.detections import Detections
from darknet_builder.boxes.formats import on_cpu
from darknet_builder.errors import InputError
from darknet_builder.images.files import check_image
from darknet_builder.images.inputs import Image
from darknet_builder.images.opencv import load_opencv
from darknet_builder.images.resize import Placement
from darknet_builder.layers.base import NETWORK_INPUT
from darknet_builder.network.network import Network
from darknet_builder.prediction.detector import Detector

_TINY = float(np.finfo(np.float32).tiny)
_STRONGEST = 0.65
"""Part of the hottest pixels' colour that is heat; the rest is the picture."""


def explain(
    detector: Detector,
    image: Image,
    objects: Detections | None = None,
    *,
    layer: int | None = None,
    channels: str = "bgr",
) -> np.ndarray:
    """Return where the scores of objects came from.

    Each object's map is scaled to a maximum of 1, and the result has the largest value of all maps
    at each pixel. Otherwise the sure objects would be invisible beside the doubtful ones: the
    closer a score is to 1, the less it changes with its input.

    The detector's network itself is used, in float32: an optimised copy has no gradients.

    Args:
        detector: its network must not be recurrent.
        image: one image, as for the detector.
        objects: detections of this image to explain, such as ``detector(image)[0]``. Default: all
            that the network finds.
        layer: index of the layer. Default: ``default_layer(detector.network)``.
        channels: channel order of an array: ``bgr`` or ``rgb``.

    Returns:
        (H, W) float32 in [0, 1], of the size of the image; zeros without objects.

    Raises:
        ImageError: if the file cannot be read.
        InputError: if the network has no gradient for its scores, or the layer does not exist or
            has no map.

    Example:
        >>> from darknet_builder.data.scenes import draw_scene
        >>> scene, detector = draw_scene(3), Detector("shapes")  # one circle
        >>> heat = explain(detector, scene.image)
        >>> y, x = np.unravel_index(heat.argmax(), heat.shape)
        >>> left, top, right, bottom = detector(scene.image)[0].box_xyxy
        >>> heat.shape, bool(left < x < right and top < y < bottom)
        ((224, 224), True)
    """
    network = detector.network
    index = check_layer(network, layer)
    prepared = detector.prepare(image, channels)
    heat = np.zeros(prepared.image.shape[:2], np.float32)
    # `outputs_of` instead of a forward hook: other threads may run the same network.
    with torch.inference_mode(False), torch.enable_grad():
        x = prepared.x[None].clone().to(detector.device).requires_grad_()  # (1, C, height, width)
        output, *raw_maps = network.outputs_of(x, [index, *network.output_indices])
        if objects is None:
            (objects,) = detector.interpret(
                [raw.detach() for raw in raw_maps], [prepared.placement]
            )
        for score in _scores(network, raw_maps, objects, prepared.placement):
            one = _to_image(_contribution(score, output), prepared.placement)
            heat = np.maximum(heat, one / max(one.max(), _TINY))
    return heat


def default_layer(network: Network) -> int:
    """Return the layer whose output is explained if nobody says otherwise.

    It is the last one through which all paths to all heads lead and whose map is finer than that of
    the coarsest head: so it sees small and large objects, and several convolutions after it decide
    how far around the box they look. Without a finer one, the last one before the heads' own
    convolutions.

    Raises:
        InputError: if there is none.

    Example:
        >>> default_layer(Detector("shapes").network)
        9
    """
    layers = network.sequence()
    inside = [
        index
        for index in network.output_plan.steps
        if index not in network.output_indices
        and not layers[index].out_shape.flat
        and not _reaches_input(network, without=index)
    ]
    if not inside:
        raise InputError(
            "heat maps: no layer with a map lies on all paths to the heads; name a layer",
            argument="layer",
        )
    coarsest = min(layers[index].out_shape.width for index in network.output_indices)
    finer = [index for index in inside if layers[index].out_shape.width > coarsest]
    return (finer or inside)[-1]


def _reaches_input(network: Network, *, without: int) -> bool:
    """Return whether a path leads from the network's input to a head around a layer."""
    layers = network.sequence()
    seen: set[int] = {without}
    waiting = list(network.output_indices)
    while waiting:
        index = waiting.pop()
        if index == NETWORK_INPUT:
            return True
        if index not in seen:
            seen.add(index)
            waiting.extend(layers[index].sources)
    return False


def check_layer(network: Network, layer: int | None) -> int:
    """Return the index of the layer to explain, if the network can be explained there.

    Args:
        network: a detector.
        layer: an index, or None for ``default_layer``.

    Raises:
        InputError: if it cannot.
    """
    if network.is_recurrent:
        raise InputError("heat maps need a network without recurrent layers")
    if any(head.tree is not None for head in network.heads):
        raise InputError(
            "heat maps need scores with a gradient; those of a class tree are decided in steps"
        )
    if layer is None:
        return default_layer(network)
    layers = network.sequence()
    if not 0 <= layer < len(layers):
        raise InputError(
            f"expected a layer of the network, 0 to {len(layers) - 1}",
            argument="layer",
            value=layer,
        )
    if layer not in network.output_plan.steps:
        raise InputError("no head reads this layer", argument="layer", value=layer)
    if layers[layer].out_shape.flat:
        raise InputError("this layer has no map, only a vector", argument="layer", value=layer)
    return layer


def _scores(
    network: Network, raw_maps: Sequence[Tensor], objects: Detections, placement: Placement
) -> Iterator[Tensor]:
    """Yield the score of each object, with its gradient."""
    heads = zip(network.heads, raw_maps, strict=True)
    candidates = [head.decode(raw, network.input_size) for head, raw in heads]
    scores = torch.cat([head.scores[0] for head in candidates])  # (N, classes)
    relative = torch.cat([head.boxes_cxcywh[0] for head in candidates]).detach()  # (N, 4)
    boxes = torch.from_numpy(placement.undo(on_cpu(relative)))
    values = scores.detach().cpu()
    for box, score, class_id in zip(
        torch.from_numpy(np.array(objects.boxes_cxcywh)),
        objects.scores.tolist(),
        objects.class_ids.tolist(),
        strict=True,
    ):
        # The candidate that the object came from: the nearest in place, size and score. It is not
        # looked up by number because another engine may have found the object.
        distance = (boxes - box).abs().sum(1) + (values[:, class_id] - score).abs()
        yield scores[int(distance.nan_to_num(torch.inf).argmin()), class_id]


def _contribution(score: Tensor, output: Tensor) -> np.ndarray:
    """Return (h, w) float32: what each place of a layer adds to a score, 0 or more.

    Zeros if the score does not depend on the layer.
    """
    (gradient,) = torch.autograd.grad(score, output, retain_graph=True, allow_unused=True)
    if gradient is None:
        return np.zeros(tuple(output.shape[2:]), np.float32)
    # (1, C, h, w) -> (h, w); what speaks against the object is left out.
    heat = (gradient * output.detach()).sum(1)[0].clamp(min=0)
    return on_cpu(heat)


def _to_image(heat: np.ndarray, placement: Placement) -> np.ndarray:
    """Enlarge the map of a layer to the network's input, and place it on the image."""
    cv2 = load_opencv()
    whole = cv2.resize(heat, placement.net_size)  # bilinear
    (left, top), (width, height) = placement.offset, placement.inner_size
    inner = whole[top : top + height, left : left + width]
    resized: np.ndarray = cv2.resize(inner, placement.image_size)
    return resized


def draw_heatmap(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Return a copy of the image with a heat map over it: blue for little heat, red for most.

    Args:
        image: (H, W, 3) uint8, channels in BGR order.
        heat: (H, W) float32 in [0, 1], from ``explain``; where it is 0, the image shows unchanged.

    Raises:
        InputError: if ``image`` is not an image, or ``heat`` has another size.

    Example:
        >>> image = np.full((2, 2, 3), 200, np.uint8)
        >>> draw_heatmap(image, np.float32([[0, 0], [0, 1]]))[:, :, 0].tolist()
        [[200, 200], [200, 70]]
    """
    cv2 = load_opencv()
    image = check_image(image)
    if heat.shape != image.shape[:2]:
        raise InputError(
            f"heat: expected the image's shape {image.shape[:2]}, got {heat.shape}", argument="heat"
        )
    colors = cv2.applyColorMap((heat * 255).round().astype(np.uint8), cv2.COLORMAP_JET)
    share = (heat * _STRONGEST)[..., None]  # (H, W, 1)
    blended: np.ndarray = (image * (1 - share) + colors * share).round().astype(np.uint8)
    return blended
