"""Anchors that fit a data set, by k-means with the distance 1 - IoU.

Darknet (detector.c:1440, matrix.c:260) starts once, at boxes drawn with the time as a seed. Here
k-means starts 10 times from a fixed seed, and the best result is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from darknet_builder.data.image_set import ImageSet
from darknet_builder.errors import DataError, InputError
from darknet_builder.network.network import Network

_STARTS = 10
_MAX_ROUNDS = 1000


@dataclass(frozen=True)
class Anchors:
    """Anchors found for a set of boxes.

    Attributes:
        sizes: (K, 2) width and height, by rising area, in the unit of the boxes.
        average_iou: mean IoU of the boxes with their best anchor, 0 to 1, as Darknet reports it.

    Example:
        >>> Anchors(np.array([[10.0, 14.0], [23.0, 27.0]]), average_iou=0.8).text()
        '10,14, 23,27'
    """

    sizes: np.ndarray
    average_iou: float

    def text(self, decimals: int = 0) -> str:
        """Return the value of the cfg option ``anchors=``, with this number of decimals."""
        return ", ".join(
            f"{width:.{decimals}f},{height:.{decimals}f}" for width, height in self.sizes
        )


def find_anchors(sizes: np.ndarray, count: int, *, seed: int = 0) -> Anchors:
    """Cluster the sizes of boxes.

    Args:
        sizes: (N, 2) width and height, above 0, in any unit.
        count: number of anchors, 1 or more.
        seed: seed of the starting points, 0 or more.

    Returns:
        The anchors, in the unit of ``sizes``.

    Raises:
        DataError: when there are fewer different sizes than anchors.

    Example:
        >>> sizes = np.array([[10, 10], [12, 10], [40, 80], [44, 80]])
        >>> find_anchors(sizes, 2).text()
        '11,10, 42,80'
    """
    # Starting points are drawn from different sizes: two equal centres would stay equal.
    different = np.unique(sizes, axis=0)
    if len(different) < count or count < 1:
        raise DataError(
            f"expected boxes of {count} different sizes for {count} anchors, found {len(different)}"
        )
    random = np.random.default_rng(seed)
    results = []
    for _ in range(_STARTS):
        start = different[random.choice(len(different), count, replace=False)]
        results.append(_cluster(sizes.astype(np.float64), start))
    return max(results, key=lambda anchors: anchors.average_iou)


def fit_network(
    network: Network, images: ImageSet, *, num: int | None = None, seed: int = 0
) -> tuple[Anchors, int]:
    """Fit anchors to the boxes of a data set, in the unit that the network's cfg uses.

    Args:
        network: a detector with anchors. Its last head decides over the unit: pixels of the
            input, or cells for [region].
        images: the data set whose boxes are clustered.
        num: number of anchors; None for the number that the head has.
        seed: seed of k-means, 0 or more.

    Returns:
        The anchors, and the number of decimals that a cfg gives them.

    Raises:
        InputError: for a network whose heads have no anchors.
        DataError: when there are too few boxes.
    """
    heads = [head for head in network.heads if head.num_anchors]
    if not heads:
        raise InputError(f"{network.blocks[0].where()}: its heads have no anchors")
    head = heads[-1]
    unit = network.input_size
    if head.anchor_unit == "cell":
        unit = (head.in_shape.width, head.in_shape.height)
    sizes = box_sizes(images) * unit
    return find_anchors(sizes, num or len(head.anchors), seed=seed), head.anchor_decimals


def box_sizes(images: ImageSet) -> np.ndarray:
    """Return (N, 2) width and height of all boxes, relative to their images.

    As in Darknet, also for a network that letterboxes its images and so sees smaller boxes.
    """
    return np.concatenate([image.boxes[:, 2:4] for image in images]).astype(np.float64)


def overlaps(sizes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Compute the IoU of boxes that share a centre: (N, 2), (K, 2) -> (N, K)."""
    # (N, 1, 2), (1, K, 2) -> (N, K): boxes around one centre share the smaller width and height.
    shared = np.minimum(sizes[:, None], anchors[None]).prod(-1)
    return np.asarray(shared / (sizes.prod(-1)[:, None] + anchors.prod(-1)[None] - shared))


def _cluster(sizes: np.ndarray, centres: np.ndarray) -> Anchors:
    centres = centres.astype(np.float64)
    cluster = np.full(len(sizes), -1)
    for _ in range(_MAX_ROUNDS):
        nearest = overlaps(sizes, centres).argmax(1)
        if (nearest == cluster).all():
            break
        cluster = nearest
        for index in np.unique(cluster):  # a centre that has lost all its boxes stays where it is
            centres[index] = sizes[cluster == index].mean(0)
    # By area: the masks of a cfg give the small anchors to the heads with fine grids.
    centres = centres[np.argsort(centres.prod(-1), kind="stable")]
    return Anchors(centres, float(overlaps(sizes, centres).max(1).mean()))
