"""Anchors that fit a data set: k-means with 1 - IoU for a distance (detector.c:1440, matrix.c:260).

Darknet begins at random boxes and a random time; here several seeded beginnings are tried and the
best one is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from darknet_builder.data.image_set import ImageSet
from darknet_builder.errors import DataError, InputError
from darknet_builder.network.network import Network

_BEGINNINGS = 10
_MOST_ROUNDS = 1000


@dataclass(frozen=True)
class Anchors:
    """What was found.

    Attributes:
        sizes: (K, 2) width and height, by rising area, in the unit of the boxes.
        average_iou: mean over the boxes of the overlap with their best anchor, as Darknet reports
            it, 0 to 1.
    """

    sizes: np.ndarray
    average_iou: float

    def text(self, decimals: int = 0) -> str:
        """As the option ``anchors=`` takes them."""
        return ", ".join(
            f"{width:.{decimals}f},{height:.{decimals}f}" for width, height in self.sizes
        )


def find_anchors(sizes: np.ndarray, count: int, *, seed: int = 0) -> Anchors:
    """Cluster the sizes of boxes.

    Args:
        sizes: (N, 2) width and height, above 0.
        count: how many anchors.
        seed: of the beginnings.

    Raises:
        DataError: when there are fewer different sizes than anchors.
    """
    different = np.unique(sizes, axis=0)
    if len(different) < count or count < 1:
        raise DataError(
            f"{count} anchors need as many boxes of different sizes; there are {len(different)}"
        )
    random = np.random.default_rng(seed)
    tries = [
        _cluster(
            sizes.astype(np.float64), different[random.choice(len(different), count, replace=False)]
        )
        for _ in range(_BEGINNINGS)
    ]
    return max(tries, key=lambda anchors: anchors.average_iou)


def fit_network(
    network: Network, images: ImageSet, *, num: int | None = None, seed: int = 0
) -> tuple[Anchors, int]:
    """Fit anchors to the boxes of a data set, in the network's own unit.

    Args:
        network: with anchors: its last head decides over the unit, pixels of the input or cells
            ([region]).
        images: with their labels.
        num: how many anchors; as many as the head has by default.
        seed: of k-means, 0 or more.

    Returns:
        The anchors, and with how many decimals a cfg gives them.

    Raises:
        InputError: for a network whose heads have no anchors.
        DataError: when there are too few boxes.
    """
    heads = [head for head in network.heads if head.num_anchors]
    if not heads:
        raise InputError(f"{network.blocks[0].where()}: its heads have no anchors")
    head = heads[-1]
    unit = (
        (head.in_shape.width, head.in_shape.height)
        if head.anchor_unit == "cell"
        else network.input_size
    )
    sizes = box_sizes(images) * unit
    return find_anchors(sizes, num or len(head.anchors), seed=seed), head.anchor_decimals


def box_sizes(images: ImageSet) -> np.ndarray:
    """Return (N, 2) width and height of all boxes, relative to their images.

    As in Darknet; letterboxed training sees narrower ones.
    """
    return np.concatenate([image.boxes[:, 2:4] for image in images]).astype(np.float64)


def overlaps(sizes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """(N, 2), (K, 2) -> (N, K): IoU of boxes with one and the same centre."""
    shared = np.minimum(sizes[:, None], anchors[None]).prod(-1)
    return np.asarray(shared / (sizes.prod(-1)[:, None] + anchors.prod(-1)[None] - shared))


def _cluster(sizes: np.ndarray, centres: np.ndarray) -> Anchors:
    centres = centres.astype(np.float64)
    owner = np.full(len(sizes), -1)
    for _ in range(_MOST_ROUNDS):
        nearest = overlaps(sizes, centres).argmax(1)
        if (nearest == owner).all():
            break
        owner = nearest
        for index in np.unique(owner):  # a centre that has lost all its boxes stays where it is
            centres[index] = sizes[owner == index].mean(0)
    centres = centres[np.argsort(centres.prod(-1), kind="stable")]
    return Anchors(centres, float(overlaps(sizes, centres).max(1).mean()))
