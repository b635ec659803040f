"""What heads say -> the objects in each image: threshold, back to the image, non-maximum suppression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from darknet_builder.boxes import GREEDY_BETA, Candidates, Likely, best_of_groups
from darknet_builder.errors import InputError
from darknet_builder.network import Network
from darknet_builder.resize import Placement


@dataclass(frozen=True)
class Found:
    """The objects in one image, best first; a box that counts for two classes stands here twice.

    Attributes:
        boxes_cxcywh: (M, 4) relative to the image; they may reach beyond its edges.
        scores: (M,) the probability of the class times the objectness.
        class_ids: (M,) int64.
        objectness: (M,).
    """

    boxes_cxcywh: Tensor
    scores: Tensor
    class_ids: Tensor
    objectness: Tensor


@dataclass(frozen=True)
class Shortlist:
    """What may be an object in one image, before any box suppresses another.

    Attributes:
        boxes_cxcywh: (K, 4) relative to the image.
        objectness: (K,).
        scores: (K, C), zero where a class does not reach the threshold; one or more are above it in each row.
    """

    boxes_cxcywh: Tensor
    objectness: Tensor
    scores: Tensor


@dataclass(frozen=True)
class NmsRule:
    """How boxes of one class suppress each other: one of ``boxes.NMS_KINDS``, and the exponent of ``diounms``."""

    kind: str = "default"
    beta: float = GREEDY_BETA


def nms_rule(network: Network) -> NmsRule:
    """What the last head asks for, which holds for all heads (test_detector in detector.c).

    Raises:
        InputError: for a network without a head.
    """
    heads = network.heads
    if not heads:
        raise InputError("the network has no detection head ([yolo], [Gaussian_yolo], [region] or [detection]): "
                         "it finds no boxes")
    return NmsRule(heads[-1].nms_kind, heads[-1].beta_nms)


def find_likely(network: Network, raw_maps: Sequence[Tensor], threshold: float) -> list[Likely]:
    """The raw maps that ``network(x)`` returned -> what reaches the threshold at each head."""
    return [head.find_likely(raw, network.input_size, threshold)
            for head, raw in zip(network.heads, raw_maps, strict=True)]


def find_objects(network: Network, raw_maps: Sequence[Tensor], placements: Sequence[Placement], *, threshold: float,
                 nms: float, rule: NmsRule | None = None) -> list[Found]:
    """The raw maps of a batch -> the objects of each image, on the CPU; see ``postprocess``."""
    return _suppress(find_likely(network, raw_maps, threshold), placements, nms, rule or NmsRule())


def postprocess(candidates: Sequence[Candidates], placements: Sequence[Placement], *, threshold: float, nms: float,
                rule: NmsRule | None = None) -> list[Found]:
    """The candidates of every head for a batch -> the objects of each image, on the CPU.

    Args:
        candidates: one a head; all of the same batch and number of classes.
        placements: where each image of the batch lies in the network's input.
        threshold: objectness and score must both be larger (yolo_layer.c:1087).
        nms: a box falls when its overlap with a better one of its class is larger; 1 lets all stand.
        rule: the kind of overlap.

    Raises:
        InputError: for heads with different numbers of classes.
    """
    return _suppress([head.above(threshold) for head in candidates], placements, nms, rule or NmsRule())


def shortlist(likely: Sequence[Likely], placements: Sequence[Placement]) -> list[Shortlist]:
    """What reaches the threshold at each head -> the same image by image, on the CPU.

    Raises:
        InputError: for heads with different numbers of classes.
    """
    every = _in_images(likely, placements)
    begins = np.diff(every.place, prepend=-1) != 0
    entries = []
    for index in range(len(placements)):
        own = np.flatnonzero(every.image == index)
        first = own[begins[own]]
        scores = np.zeros((len(first), every.classes), np.float32)
        scores[begins[own].cumsum() - 1, every.class_ids[own]] = every.scores[own]
        entries.append(Shortlist(*map(torch.from_numpy, (every.boxes_cxcywh[first], every.objectness[first], scores))))
    return entries


def _in_images(likely: Sequence[Likely], placements: Sequence[Placement]) -> Likely:
    """All heads together, their boxes relative to the images; without boxes that have no end."""
    if len({head.classes for head in likely}) > 1:
        raise InputError("the heads have different numbers of classes: "
                         f"{', '.join(str(head.classes) for head in likely)}")
    # Equal places of two heads are two places.
    places = [head.place * len(likely) + number for number, head in enumerate(likely)]
    image, place, boxes, objectness, class_ids, scores = parts = [np.concatenate(part) for part in (
        [head.image for head in likely], places, [head.boxes_cxcywh for head in likely],
        [head.objectness for head in likely], [head.class_ids for head in likely], [head.scores for head in likely])]
    finite = np.isfinite(boxes).all(1) & np.isfinite(scores)
    if not finite.all():
        image, place, boxes, objectness, class_ids, scores = (part[finite] for part in parts)
    for index, placement in enumerate(placements):
        if placement.inner_size != placement.net_size:
            own = image == index
            boxes[own] = placement.undo(torch.from_numpy(boxes[own])).numpy()
    return Likely(image, place, boxes, objectness, class_ids, scores, likely[0].classes)


def _suppress(likely: Sequence[Likely], placements: Sequence[Placement], nms: float, rule: NmsRule) -> list[Found]:
    """After the way back to the image, because the distance between centres knows the aspect ratio."""
    every = _in_images(likely, placements)
    keep = best_of_groups(every.boxes_cxcywh, every.scores, every.image * every.classes + every.class_ids, nms,
                          kind=rule.kind, beta=rule.beta)
    found = []
    for index in range(len(placements)):
        rows = np.flatnonzero(keep & (every.image == index))
        rows = rows[np.argsort(-every.scores[rows], kind="stable")]
        found.append(Found(*(torch.from_numpy(part[rows]) for part in (
            every.boxes_cxcywh, every.scores, every.class_ids, every.objectness))))
    return found
