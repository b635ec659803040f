"""Run a detector over labelled images, and put its boxes in Darknet's order.

The numbers of ``darknet detector map`` depend on that order.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
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
from darknet_builder.network.batch_memory import explaining_memory
from darknet_builder.network.network import Network
from darknet_builder.prediction.postprocessing import NmsRule, by_image, decode_above, nms_rule
from darknet_builder.prediction.tiling import Tiling, find_in_tiles

Runner = Callable[[Tensor], list[Tensor] | Tensor]
"""Map images (B, C, H, W) to the raw map of every head."""


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
    tiling: Tiling | None = None,
) -> Iterator[ImageBoxes]:
    """Run a network over labelled images.

    Args:
        network: a detector in eval mode, on the device where it is to run.
        images: read two batches ahead, in threads.
        difficult: for each image, objects that need not be found (``difficult=`` in a ``.data``
            file).
        threshold: minimum confidence; a score must be above it.
        nms: NMS IoU threshold, 0 to 1; 1 disables suppression.
        resize: how images are fitted: ``stretch`` or ``letterbox``.
        batch: number of images in a call of the network.
        runner: computes the raw maps in place of the network, such as ``network.optimized()``.
        tiling: how images are cut into tiles; None for no tiles.

    Yields:
        The boxes of each image, in order.

    Raises:
        ImageError: if an image cannot be read.
        DataError: if ``difficult`` has another number of images.
        InputError: if memory is short, with the batch that would fit.
    """
    if difficult is not None and len(difficult) != len(images):
        raise DataError(
            f"the difficult= list has {len(difficult)} images, the evaluated list {len(images)}; "
            "expected the same images in the same order"
        )
    network.check_sees_images()
    finish = partial(image_boxes, nms=nms, rule=nms_rule(network))
    find = _rows_in_batches if tiling is None else partial(_rows_in_tiles, tiling)
    rows = find(network, images, runner or network, resize, threshold, batch)
    with closing(rows):
        for number, (entry, size) in enumerate(rows):
            hard = None if difficult is None else difficult[number].boxes
            yield finish(entry, images[number].boxes, size, difficult=hard)


_Rows = Generator[tuple[ScoredBoxes, tuple[int, int]], None, None]
"""The boxes before suppression and the (width, height) of each image."""


def _rows_in_batches(
    network: Network,
    images: Sequence[LabelledImage],
    runner: Runner,
    resize: str,
    threshold: float,
    batch: int,
) -> _Rows:
    run = partial(_run, network, runner, threshold)
    with closing(read_ahead(partial(_prepare, network, resize), images, batch=batch)) as prepared:
        for start in range(0, len(images), batch):
            part = images[start : start + batch]
            inputs, placements = zip(*islice(prepared, len(part)), strict=True)
            # The inputs (C, H, W) of the batch become one tensor (B, C, H, W).
            with explaining_memory(network, len(part)):
                entries = run(torch.stack(inputs), placements)
            for entry, placement in zip(entries, placements, strict=True):
                yield entry, placement.image_size


def _rows_in_tiles(
    tiling: Tiling,
    network: Network,
    images: Sequence[LabelledImage],
    runner: Runner,
    resize: str,
    threshold: float,
    batch: int,
) -> _Rows:
    def run(x: Tensor) -> list[Tensor]:
        return cast(list[Tensor], runner(x.to(network.device)))

    for image in images:
        pixels = read_image(image.path)
        with explaining_memory(network, batch):
            rows = find_in_tiles(
                network, run, pixels, tiling, resize=resize, threshold=threshold, batch=batch
            )
        yield rows, (pixels.shape[1], pixels.shape[0])


def _prepare(network: Network, resize: str, image: LabelledImage) -> tuple[Tensor, Placement]:
    return to_input(read_image(image.path), network.input_size, resize, network.options.channels)


@torch.inference_mode()
def _run(
    network: Network, runner: Runner, threshold: float, x: Tensor, placements: Sequence[Placement]
) -> list[ScoredBoxes]:
    network.reset_state()  # photographs are independent of each other
    raw_maps = cast(list[Tensor], runner(x.to(network.device)))
    return by_image(decode_above(network, raw_maps, threshold), placements)


def image_boxes(
    entry: ScoredBoxes,
    ground_truth: np.ndarray,
    image_size: tuple[int, int],
    *,
    nms: float = MAP_NMS,
    rule: NmsRule,
    difficult: np.ndarray | None = None,
) -> ImageBoxes:
    """Suppress overlapping boxes of one image, and put the others in Darknet's order.

    Args:
        entry: the rows of the image above the threshold, without suppression; boxes are relative
            to the image.
        ground_truth: (T, 5) float32, ground truth in rows x, y, w, h, class.
        image_size: (width, height) in pixels.
        nms: NMS IoU threshold, 0 to 1; 1 disables suppression.
        rule: how boxes suppress each other.
        difficult: (D, 5) float32, objects that need not be found.
    """
    keep = best_of_groups(
        entry.boxes_cxcywh, entry.scores, entry.class_ids, nms, kind=rule.kind, beta=rule.beta
    )
    rows = np.flatnonzero(keep)
    # The sort is stable, so the classes of a box stay in their order.
    rows = rows[np.argsort(_darknet_ranks(entry)[rows], kind="stable")]
    return ImageBoxes(
        entry.boxes_cxcywh[rows],
        entry.scores[rows],
        entry.class_ids[rows].astype(np.int32),
        ground_truth,
        image_size,
        difficult,
    )


def _darknet_ranks(entry: ScoredBoxes) -> np.ndarray:
    """Return (M,): the position of each row's box in Darknet's list."""
    # Number the K boxes from 0; their ids are unique, but have gaps:
    #   box_ids  2 2 5 9      boxes  0 0 1 2
    boxes = (np.diff(entry.box_ids, prepend=-1) != 0).cumsum() - 1  # (M,)
    scores = np.zeros((boxes.max(initial=-1) + 1, entry.num_classes), np.float32)  # (K, classes)
    scores[boxes, entry.class_ids] = entry.scores
    ranks = np.empty(len(scores), np.int64)
    ranks[darknet_order(scores)] = np.arange(len(scores))
    return ranks[boxes]


def darknet_order(scores: np.ndarray) -> np.ndarray:
    """Return the order of boxes in Darknet's list after NMS.

    ``do_nms_sort`` sorts the whole list by each class in turn and leaves it as the last sort did:
    by the last class of any box, among equal scores by the class before, and so on. The order
    decides which of two boxes on one object is the first, and thereby the true positive above the
    confidence threshold.

    Args:
        scores: (K, classes) float32, before suppression; 0 below the threshold.

    Returns:
        (K,) indices of the rows.

    Example:
        >>> darknet_order(np.array([[0.9, 0.1], [0.2, 0.3]], np.float32))
        array([1, 0])
    """
    present = np.flatnonzero(scores.any(0))
    if not len(present):
        return np.arange(len(scores))
    # lexsort takes its last key first, which is the last class.
    return np.lexsort(-scores[:, present].T)
