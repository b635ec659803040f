"""Post-processing: threshold, mapping boxes back to the image, non-maximum suppression.

Results are NumPy arrays from the threshold on. In comments, M is the number of rows of a whole
batch; a row is a box and one of its classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from darknet_builder.boxes.candidates import Candidates, ScoredBoxes
from darknet_builder.boxes.nms import GREEDY_BETA, best_of_groups
from darknet_builder.errors import InputError
from darknet_builder.images.resize import Placement
from darknet_builder.layers.heads.yolo import alike, decode_together
from darknet_builder.network.network import Network


@dataclass(frozen=True)
class NmsRule:
    """The rule by which boxes of one class suppress each other.

    Attributes:
        kind: one of ``boxes.NMS_KINDS``; it selects the overlap measure.
        beta: exponent of the distance term; only ``diounms`` uses it.
    """

    kind: str = "default"
    beta: float = GREEDY_BETA


def nms_rule(network: Network) -> NmsRule:
    """Return the rule of the last head, which applies to all heads (test_detector in detector.c).

    Args:
        network: a network with detection heads.

    Raises:
        InputError: if the network has no detection head.

    Example:
        >>> from darknet_builder import build_network
        >>> from darknet_builder.support.bundled import default_model
        >>> nms_rule(build_network(default_model()[0])).kind
        'greedynms'
    """
    heads = network.heads
    if not heads:
        raise InputError(
            "the network has no detection head ([yolo], [Gaussian_yolo], [region] or [detection]): "
            "it finds no boxes"
        )
    return NmsRule(heads[-1].nms_kind, heads[-1].beta_nms)


def decode_above(
    network: Network, raw_maps: Sequence[Tensor], threshold: float
) -> list[ScoredBoxes]:
    """Decode the raw maps of a network, and keep the rows above the threshold.

    The rows are in the order of the heads, together or in one part for each head.

    Args:
        network: the network that computed the raw maps.
        raw_maps: one tensor for each head.
        threshold: objectness and score must both be larger.
    """
    heads, size = network.heads, network.input_size
    if alike(heads):
        return [decode_together(heads, raw_maps, size, threshold)]
    return [
        head.decode_above(raw, size, threshold) for head, raw in zip(heads, raw_maps, strict=True)
    ]


def find_objects(
    network: Network,
    raw_maps: Sequence[Tensor],
    placements: Sequence[Placement],
    *,
    threshold: float,
    nms: float,
    rule: NmsRule | None = None,
) -> list[ScoredBoxes]:
    """Turn the raw maps of a batch into the objects of each image; see ``postprocess``."""
    return suppress(decode_above(network, raw_maps, threshold), placements, nms, rule or NmsRule())


def postprocess(
    candidates: Sequence[Candidates],
    placements: Sequence[Placement],
    *,
    threshold: float,
    nms: float,
    rule: NmsRule | None = None,
) -> list[ScoredBoxes]:
    """Turn the candidates of every head for a batch into the objects of each image.

    Args:
        candidates: one for each head; all of the same batch and number of classes.
        placements: position of each image of the batch in the network's input.
        threshold: objectness and score must both be larger (yolo_layer.c:1087).
        nms: IoU above which a box is suppressed by a better one of its class, 0 to 1; 1 disables
            suppression.
        rule: how boxes suppress each other; None for ``default`` NMS.

    Returns:
        The rows of each image, the highest score first; boxes are relative to the image.

    Raises:
        InputError: if the heads have different numbers of classes.

    Example:
        >>> import torch
        >>> candidates = Candidates(
        ...     torch.tensor([[[0.5, 0.5, 0.2, 0.2], [0.5, 0.5, 0.2, 0.3]]]),  # boxes (B, N, 4)
        ...     torch.tensor([[0.9, 0.9]]),  # objectness (B, N)
        ...     torch.tensor([[[0.75], [0.5]]]),  # scores (B, N, classes)
        ... )
        >>> placement = Placement.plan((640, 480), (416, 416), "stretch")
        >>> (rows,) = postprocess([candidates], [placement], threshold=0.25, nms=0.45)
        >>> rows.scores
        array([0.75], dtype=float32)
    """
    return suppress(
        [head.above(threshold) for head in candidates], placements, nms, rule or NmsRule()
    )


def by_image(heads: Sequence[ScoredBoxes], placements: Sequence[Placement]) -> list[ScoredBoxes]:
    """Split the rows of all heads by image, without suppression.

    Within an image the rows are in the order of the heads and of the cells of each head.

    Args:
        heads: the boxes of each head, from ``decode_above``.
        placements: position of each image of the batch in the network's input.

    Raises:
        InputError: if the heads have different numbers of classes.
    """
    rows = _in_images(heads, placements)
    return [rows.take(rows.image_ids == index) for index in range(len(placements))]


def _in_images(heads: Sequence[ScoredBoxes], placements: Sequence[Placement]) -> ScoredBoxes:
    """Concatenate all heads, drop non-finite boxes, map the others back to image coordinates."""
    rows = concatenate_rows(heads)
    # An untrained network may give infinite widths: exp() of a large output.
    finite, finite_scores = np.isfinite(rows.boxes_cxcywh), np.isfinite(rows.scores)
    # Counting takes a third of the time of ``all``.
    if np.count_nonzero(finite) + np.count_nonzero(finite_scores) < 5 * len(rows):
        rows = rows.take(finite.all(1) & finite_scores)
    if all(placement.inner_size == placement.net_size for placement in placements):
        return rows
    boxes = rows.boxes_cxcywh.copy()
    for index, placement in enumerate(placements):
        in_image = rows.image_ids == index  # (M,) bool
        boxes[in_image] = placement.undo(boxes[in_image])
    return replace(rows, boxes_cxcywh=boxes)


def concatenate_rows(heads: Sequence[ScoredBoxes]) -> ScoredBoxes:
    """Join the rows of several heads or tiles, with box ids that are unique across them.

    Args:
        heads: the rows of each, for the same images.

    Raises:
        InputError: if the heads have different numbers of classes.
    """
    if len(heads) == 1:
        return heads[0]
    classes = [head.num_classes for head in heads]
    if len(set(classes)) > 1:
        raise InputError(
            f"the heads have different numbers of classes: {', '.join(map(str, classes))}"
        )
    # Each head numbers its boxes from 0; shift them past the ids of the head before:
    #   head 0: 0 0 1 2        head 1: 0 1 1
    #   joined: 0 0 1 2                3 4 4
    box_ids, first = [], 0
    for head in heads:
        box_ids.append(head.box_ids + first)
        first += int(head.box_ids.max(initial=-1)) + 1

    def join(name: str) -> np.ndarray:
        return np.concatenate([getattr(head, name) for head in heads])

    return ScoredBoxes(
        join("image_ids"),  # (M,)
        np.concatenate(box_ids),  # (M,)
        join("boxes_cxcywh"),  # (M, 4)
        join("objectness"),  # (M,)
        join("class_ids"),  # (M,)
        join("scores"),  # (M,)
        classes[0],
    )


def suppress(
    heads: Sequence[ScoredBoxes], placements: Sequence[Placement], nms: float, rule: NmsRule
) -> list[ScoredBoxes]:
    """Suppress overlapping boxes, and return the rows of each image, the highest score first.

    Args:
        heads: the boxes of each head, from ``decode_above``.
        placements: position of each image of the batch in the network's input.
        nms: NMS IoU threshold, 0 to 1; 1 disables suppression.
        rule: how boxes suppress each other.
    """
    # In image coordinates, because the distance between centres that greedynms and diounms use
    # depends on the aspect ratio.
    rows = _in_images(heads, placements)
    # (M,) Only rows of the same image and class compete: image 1 of 3 classes has groups 3, 4, 5.
    groups = rows.image_ids * rows.num_classes + rows.class_ids
    keep = best_of_groups(
        rows.boxes_cxcywh, rows.scores, groups, nms, kind=rule.kind, beta=rule.beta
    )
    images = []
    for index in range(len(placements)):
        kept = (keep & (rows.image_ids == index)).nonzero()[0]
        best_first = (-rows.scores.take(kept)).argsort(kind="stable")
        images.append(rows.take(kept.take(best_first)))
    return images
