"""A detector on a labelled set of images: what it finds in each, in the order that Darknet's
numbers depend on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from typing import cast

import numpy as np
import torch
from torch import Tensor

from darknet_builder.boxes.candidates import ScoredBoxes
from darknet_builder.boxes.nms import best_of_groups
from darknet_builder.data.image_set import LabelledImage
from darknet_builder.errors import DataError
from darknet_builder.evaluation.darknet_map import ImageBoxes
from darknet_builder.evaluation.map_rules import MAP_NMS, MAP_THRESHOLD
from darknet_builder.images.files import read_image
from darknet_builder.images.prefetch import read_ahead
from darknet_builder.images.resize import Placement, to_input
from darknet_builder.network.network import Network
from darknet_builder.prediction.postprocessing import NmsRule, by_image, decode_above, nms_rule

Runner = Callable[[Tensor], list[Tensor] | Tensor]
"""(B, C, H, W) -> the raw map of every head."""


def find_boxes(
    network: Network,
    images: Sequence[LabelledImage],
    *,
    difficult: Sequence[LabelledImage] | None = None,
    threshold: float = MAP_THRESHOLD,
    nms: float = MAP_NMS,
    resize: str = "stretch",
    batch: int = 1,
    runner: Runner | None = None,
) -> Iterator[ImageBoxes]:
    """Run a network over labelled images.

    Args:
        network: in eval mode, where it is to run.
        images: read two batches ahead, in threads.
        difficult: for each image, objects that need not be found (``difficult=`` of a ``.data``
            file).
        threshold: only scores above it count.
        nms: a box falls when it overlaps a better one of its class by more than this.
        resize: ``stretch`` or ``letterbox``.
        batch: how many images go through the network at once.
        runner: what answers for the network, such as ``network.optimized()``; None is the network
            itself.

    Yields:
        One a image, in order.

    Raises:
        ImageError: for an image that cannot be read.
        DataError: when there are other ``difficult`` lists than images.
    """
    if difficult is not None and len(difficult) != len(images):
        raise DataError(
            f"the list of difficult= has {len(difficult)} images, the evaluated one {len(images)}; "
            "they must be the same images in the same order"
        )
    rule = nms_rule(network)
    with closing(read_ahead(partial(_prepare, network, resize), images, batch=batch)) as prepared:
        for start in range(0, len(images), batch):
            part = images[start : start + batch]
            inputs, placements = zip(*islice(prepared, len(part)), strict=True)
            for offset, entry in enumerate(
                _run(network, runner or network, torch.stack(inputs), placements, threshold)
            ):
                hard = None if difficult is None else difficult[start + offset].boxes
                yield image_boxes(
                    entry,
                    part[offset].boxes,
                    placements[offset].image_size,
                    nms=nms,
                    rule=rule,
                    difficult=hard,
                )


def _prepare(network: Network, resize: str, image: LabelledImage) -> tuple[Tensor, Placement]:
    return to_input(read_image(image.path), network.input_size, resize, network.options.channels)


@torch.inference_mode()
def _run(
    network: Network, runner: Runner, x: Tensor, placements: Sequence[Placement], threshold: float
) -> list[ScoredBoxes]:
    network.reset_state()
    raw_maps = cast(list[Tensor], runner(x.to(network.device)))
    return by_image(decode_above(network, raw_maps, threshold), placements)


def image_boxes(
    entry: ScoredBoxes,
    truths: np.ndarray,
    image_size: tuple[int, int],
    *,
    nms: float = MAP_NMS,
    rule: NmsRule,
    difficult: np.ndarray | None = None,
) -> ImageBoxes:
    """Suppress boxes, and put the others in Darknet's order.

    Args:
        entry: the rows of one image above the threshold, none suppressed, boxes relative to the
            image.
        truths: (T, 5) float32, what is there.
        image_size: (width, height) in pixels.
        nms: a box falls when it overlaps a better one of its class by more than this.
        rule: how overlap is measured.
        difficult: (D, 5) float32, objects that need not be found.
    """
    keep = best_of_groups(
        entry.boxes_cxcywh, entry.scores, entry.class_ids, nms, kind=rule.kind, beta=rule.beta
    )
    rows = np.flatnonzero(keep)
    # Within a box the classes stay in their order: the sort is stable.
    rows = rows[np.argsort(_darknet_ranks(entry)[rows], kind="stable")]
    return ImageBoxes(
        entry.boxes_cxcywh[rows],
        entry.scores[rows],
        entry.class_ids[rows].astype(np.int32),
        truths,
        image_size,
        difficult,
    )


def _darknet_ranks(entry: ScoredBoxes) -> np.ndarray:
    """Return (M,): the place of each row's box in Darknet's list."""
    boxes = (np.diff(entry.box_ids, prepend=-1) != 0).cumsum() - 1  # (M,) from 0 to K - 1
    scores = np.zeros((boxes.max(initial=-1) + 1, entry.num_classes), np.float32)  # (K, C)
    scores[boxes, entry.class_ids] = entry.scores
    ranks = np.empty(len(scores), np.int64)
    ranks[darknet_order(scores)] = np.arange(len(scores))
    return ranks[boxes]


def darknet_order(scores: np.ndarray) -> np.ndarray:
    """(K, C) of scores before suppression -> (K,) order of the rows in Darknet's list after it.

    ``do_nms_sort`` sorts the whole list by each class in turn and leaves it so: by the last class
    that any box counts for, then by the one before. Which of two boxes on one object is the first,
    and so the true positive above the confidence threshold, depends on it.
    """
    present = np.flatnonzero(scores.any(0))
    if not len(present):
        return np.arange(len(scores))
    return np.lexsort(-scores[:, present].T)
