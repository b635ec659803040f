"""From the raw maps of the heads to the boxes of each image: threshold, back to the image,
non-maximum suppression.

Results are NumPy arrays from the threshold on. In comments, M is the number of rows (a box and one
of its classes) of a whole batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from darknet_builder.boxes.candidates import Candidates, ScoredBoxes
from darknet_builder.boxes.nms import GREEDY_BETA, best_of_groups
from darknet_builder.errors import InputError
from darknet_builder.images.resize import Placement
from darknet_builder.network.network import Network


@dataclass(frozen=True)
class NmsRule:
    """How boxes of one class suppress each other: one of ``boxes.NMS_KINDS``, and the exponent of
    ``diounms``.
    """

    kind: str = "default"
    beta: float = GREEDY_BETA


def nms_rule(network: Network) -> NmsRule:
    """Return the rule of the last head, which holds for all heads (test_detector in detector.c).

    Raises:
        InputError: for a network without a head.
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
    """Decode the raw maps that ``network(x)`` returned: what is above the threshold at each
    head.
    """
    return [
        head.decode_above(raw, network.input_size, threshold)
        for head, raw in zip(network.heads, raw_maps, strict=True)
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
    return _suppress(decode_above(network, raw_maps, threshold), placements, nms, rule or NmsRule())


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
        placements: where each image of the batch lies in the network's input.
        threshold: objectness and score must both be larger (yolo_layer.c:1087).
        nms: IoU above which a box is suppressed by a better one of its class, 0 to 1; 1 disables
            suppression.
        rule: the kind of overlap.

    Returns:
        For each image its rows, the best score first, boxes relative to the image.

    Raises:
        InputError: for heads with different numbers of classes.
    """
    return _suppress(
        [head.above(threshold) for head in candidates], placements, nms, rule or NmsRule()
    )


def by_image(heads: Sequence[ScoredBoxes], placements: Sequence[Placement]) -> list[ScoredBoxes]:
    """Sort the rows of all heads by image, in the order of heads and places; none suppresses
    another yet.

    Raises:
        InputError: for heads with different numbers of classes.
    """
    rows = _in_images(heads, placements)
    return [rows.take(rows.image_ids == index) for index in range(len(placements))]


def _in_images(heads: Sequence[ScoredBoxes], placements: Sequence[Placement]) -> ScoredBoxes:
    """Concatenate all heads, drop boxes that are not finite, and map the others back to image
    coordinates.
    """
    rows = _concatenate(heads)
    finite = np.isfinite(rows.boxes_cxcywh).all(1) & np.isfinite(rows.scores)  # (M,)
    if not finite.all():
        rows = rows.take(finite)
    for index, placement in enumerate(placements):
        if placement.inner_size != placement.net_size:
            own = rows.image_ids == index  # (M,) bool
            rows.boxes_cxcywh[own] = placement.undo(rows.boxes_cxcywh[own])
    return rows


def _concatenate(heads: Sequence[ScoredBoxes]) -> ScoredBoxes:
    """Join the rows of all heads; box ids stay unique because each head's begin after those of the
    head before.
    """
    classes = [head.num_classes for head in heads]
    if len(set(classes)) > 1:
        raise InputError(
            f"the heads have different numbers of classes: {', '.join(map(str, classes))}"
        )
    box_ids, first = [], 0
    for head in heads:
        box_ids.append(head.box_ids + first)
        first += int(head.box_ids.max(initial=-1)) + 1
    return ScoredBoxes(
        np.concatenate([head.image_ids for head in heads]),  # (M,)
        np.concatenate(box_ids),  # (M,)
        np.concatenate([head.boxes_cxcywh for head in heads]),  # (M, 4)
        np.concatenate([head.objectness for head in heads]),  # (M,)
        np.concatenate([head.class_ids for head in heads]),  # (M,)
        np.concatenate([head.scores for head in heads]),  # (M,)
        classes[0],
    )


def _suppress(
    heads: Sequence[ScoredBoxes], placements: Sequence[Placement], nms: float, rule: NmsRule
) -> list[ScoredBoxes]:
    """Suppress after mapping back to the image: the distance between centres depends on the aspect
    ratio.
    """
    rows = _in_images(heads, placements)
    groups = (
        rows.image_ids * rows.num_classes + rows.class_ids
    )  # (M,): only rows of one image and class compete
    keep = best_of_groups(
        rows.boxes_cxcywh, rows.scores, groups, nms, kind=rule.kind, beta=rule.beta
    )
    found = []
    for index in range(len(placements)):
        own = np.flatnonzero(keep & (rows.image_ids == index))
        best_first = np.argsort(-rows.scores[own], kind="stable")
        found.append(rows.take(own[best_first]))
    return found
