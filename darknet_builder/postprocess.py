"""What heads say -> the objects in each image: threshold, back to the image, non-maximum suppression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from darknet_builder.boxes import GREEDY_BETA, Candidates, Likely, nms_by_class
from darknet_builder.errors import InputError
from darknet_builder.images import Placement
from darknet_builder.network import Network


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
    likely = find_likely(network, raw_maps, threshold)
    return [_suppress(entry, nms, rule or NmsRule()) for entry in shortlist(likely, placements)]


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
    likely = [head.above(threshold) for head in candidates]
    return [_suppress(entry, nms, rule or NmsRule()) for entry in shortlist(likely, placements)]


def shortlist(likely: Sequence[Likely], placements: Sequence[Placement]) -> list[Shortlist]:
    """What reaches the threshold at each head -> the same image by image, on the CPU.

    Raises:
        InputError: for heads with different numbers of classes.
    """
    if len({head.scores.shape[1] for head in likely}) > 1:
        raise InputError("the heads have different numbers of classes: "
                         f"{', '.join(str(head.scores.shape[1]) for head in likely)}")
    boxes, objectness, scores = (
        torch.cat(part).cpu() for part in zip(*((head.boxes_cxcywh, head.objectness, head.scores) for head in likely),
                                              strict=True))
    if len(placements) == 1:
        return [Shortlist(placements[0].undo(boxes), objectness, scores)]
    image = torch.cat([head.image for head in likely]).cpu()
    rows = [(image == index).nonzero().flatten() for index in range(len(placements))]
    return [Shortlist(placement.undo(boxes[own]), objectness[own], scores[own])
            for placement, own in zip(placements, rows, strict=True)]


def _suppress(entry: Shortlist, nms: float, rule: NmsRule) -> Found:
    """After the way back to the image, because the distance between centres knows the aspect ratio."""
    kept = nms_by_class(entry.boxes_cxcywh, entry.scores, nms, kind=rule.kind, beta=rule.beta)
    row, class_id = kept.nonzero(as_tuple=True)
    score, order = kept[row, class_id].sort(descending=True, stable=True)
    row, class_id = row[order], class_id[order]
    return Found(entry.boxes_cxcywh[row], score, class_id, entry.objectness[row])
