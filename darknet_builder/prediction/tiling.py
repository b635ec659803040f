"""Tiling: find small objects in large images by cutting them into overlapping tiles.

Each tile is fitted into the network's input like an image of its own. All boxes go back to the
image, boxes of objects that a tile's border cuts are left out where a neighbour has a better one
(``_is_spare``), and one suppression joins the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from darknet_builder.boxes.candidates import ScoredBoxes
from darknet_builder.boxes.overlap import intersection_and_union, measures
from darknet_builder.errors import InputError
from darknet_builder.images.prefetch import read_ahead
from darknet_builder.images.resize import Placement, to_input
from darknet_builder.network.network import Network
from darknet_builder.prediction.postprocessing import by_image, concatenate_rows, decode_above

SMALLEST_TILE = 32
"""Smallest side of a tile in pixels: fewer are not one cell of a network with stride 32."""
_NEAR = 0.01
"""A box is cut if it comes this near to an inner border, as a share of the tile's side."""
_SAME_OBJECT = 0.5
"""Two boxes show one object if they share more than this part of the smaller box, as in SAHI."""
_BLOCK = 256
"""Number of cut boxes that are compared with all others at once, to bound memory."""


@dataclass(frozen=True)
class Tile:
    """A part of an image; all numbers are in pixels of the image.

    Attributes:
        left: first column.
        top: first row.
        width: number of columns.
        height: number of rows.
        shared: (left, top, right, bottom), how far the neighbour at each side reaches into the
            tile; -1 at an edge of the image, where there is no neighbour.
    """

    left: int
    top: int
    width: int
    height: int
    shared: tuple[int, int, int, int] = (-1, -1, -1, -1)


@dataclass(frozen=True)
class Tiling:
    """How images are cut into tiles.

    Attributes:
        width: width of a tile in pixels of the image.
        height: height of a tile in pixels of the image.
        overlap: part of a tile, 0 to below 1, that the next one repeats at least.
        full: whether the whole image is processed as well, for objects larger than a tile.

    Raises:
        InputError: if a number is out of range; it names the detector's argument.

    Example:
        >>> [(tile.left, tile.width) for tile in Tiling(640, 640).plan((1500, 480))]
        [(0, 640), (512, 640), (860, 640)]
    """

    width: int
    height: int
    overlap: float = 0.2
    full: bool = False

    def __post_init__(self) -> None:
        if min(self.width, self.height) < SMALLEST_TILE:
            raise InputError(
                f"expected {SMALLEST_TILE} or more pixels, the stride of most networks",
                argument="tile",
                value=f"{self.width}x{self.height}",
            )
        if not 0 <= self.overlap < 1:
            raise InputError(
                "expected a number from 0 to below 1", argument="overlap", value=self.overlap
            )

    @classmethod
    def of(
        cls, tile: int | tuple[int, int] | None, overlap: float, full: bool, network: Network
    ) -> Tiling | None:
        """Return the tiling of a detector's arguments; None without ``tile``.

        Args:
            tile: side of square tiles, or (width, height).
            overlap: see the class.
            full: see the class.
            network: must not be recurrent, because tiles are not frames of a video.

        Raises:
            InputError: if the arguments are wrong or do not fit the network.
        """
        if tile is None:
            if full:
                raise InputError("needs the size of the tiles", argument="tile_full", value=full)
            return None
        if network.is_recurrent:
            raise InputError(
                "its recurrent layers would take the tiles for frames of a video",
                argument="tile",
                value="x".join(map(str, np.atleast_1d(tile).tolist())),
            )
        width, height = (tile, tile) if isinstance(tile, int) else tile
        return cls(width, height, overlap, full)

    def plan(self, image_size: tuple[int, int]) -> list[Tile]:
        """Return the tiles of an image, row by row, and then the whole image if ``full``.

        All have the same size: the last ones begin earlier, so that they end at the image's edge.
        An image that is not larger than a tile is one tile.

        Args:
            image_size: (width, height) of the image in pixels.
        """
        columns = _spans(image_size[0], self.width, self.overlap)
        rows = _spans(image_size[1], self.height, self.overlap)
        tiles = [
            Tile(x.start, y.start, x.size, y.size, (x.before, y.before, x.after, y.after))
            for y in rows
            for x in columns
        ]
        if self.full and len(tiles) > 1:
            tiles.append(Tile(0, 0, *image_size))
        return tiles


@dataclass(frozen=True)
class _Span:
    """A tile along one axis; ``before`` and ``after`` are the pixels shared with its neighbours."""

    start: int
    size: int
    before: int
    after: int


def _spans(length: int, size: int, overlap: float) -> list[_Span]:
    """Cut an axis of the image.

    ::

        length 1500, size 640, overlap .2        0 ======== 640
                                                      512 ======== 1152
                                                              860 ======== 1500
    """
    size = min(size, length)
    step = max(1, int(size * (1 - overlap)))
    starts = [*range(0, length - size, step), length - size]
    shared = [start + size - after for start, after in zip(starts, starts[1:], strict=False)]
    return [
        _Span(start, size, before, after)
        for start, before, after in zip(starts, [-1, *shared], [*shared, -1], strict=True)
    ]


def find_in_tiles(
    network: Network,
    run: Callable[[Tensor], Sequence[Tensor]],
    image: np.ndarray,
    tiling: Tiling,
    *,
    resize: str,
    threshold: float,
    batch: int,
) -> ScoredBoxes:
    """Run a network on the tiles of an image, and return the boxes before suppression.

    Tiles are resized in threads, two batches ahead, so memory does not grow with the image.

    Args:
        network: it decodes the raw maps.
        run: computes the raw maps of a batch (B, C, height, width) of inputs.
        image: (H, W, 3) uint8, channels in BGR order.
        tiling: how the image is cut.
        resize: how tiles are fitted into the input: ``stretch`` or ``letterbox``.
        threshold: minimum confidence, 0 to 1.
        batch: number of tiles in a call of ``run``.

    Returns:
        The rows of all tiles; boxes are relative to the image.
    """
    size = (image.shape[1], image.shape[0])
    tiles = tiling.plan(size)
    prepare = partial(_cut, network, resize, image)
    found: list[ScoredBoxes] = []
    with closing(read_ahead(prepare, tiles, batch=batch)) as prepared, torch.inference_mode():
        for _ in range(0, len(tiles), batch):
            inputs, placements = zip(*islice(prepared, batch), strict=True)
            raw_maps = run(torch.stack(inputs))  # of (B, C, height, width)
            found += by_image(decode_above(network, raw_maps, threshold), placements)
    return _join(found, tiles, size)


def _cut(network: Network, resize: str, image: np.ndarray, tile: Tile) -> tuple[Tensor, Placement]:
    part = image[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width]
    return to_input(part, network.input_size, resize, network.options.channels)


def _join(
    found: Sequence[ScoredBoxes], tiles: Sequence[Tile], image_size: tuple[int, int]
) -> ScoredBoxes:
    """Move the rows of all tiles to the image, and leave out spare ones."""
    if len(tiles) == 1:
        return found[0]  # the tile is the image
    cut, held = (
        np.concatenate(marks) for marks in zip(*map(_cut_marks, found, tiles), strict=True)
    )
    numbers = np.arange(len(tiles)).repeat([len(rows) for rows in found])  # (M,) tile of each row
    rows = concatenate_rows(
        [_to_image(rows, tile, image_size) for rows, tile in zip(found, tiles, strict=True)]
    )
    rows, cut, numbers = rows.take(~held), cut[~held], numbers[~held]
    return rows.take(~_is_spare(rows, cut, numbers))


def _to_image(rows: ScoredBoxes, tile: Tile, image_size: tuple[int, int]) -> ScoredBoxes:
    scale = np.array((tile.width, tile.height) * 2, np.float32)
    start = np.array((tile.left, tile.top, 0, 0), np.float32)
    boxes = (rows.boxes_cxcywh * scale + start) / np.array(image_size * 2, np.float32)
    return replace(rows, image_ids=np.zeros(len(rows), np.int64), boxes_cxcywh=boxes)


def _cut_marks(rows: ScoredBoxes, tile: Tile) -> tuple[np.ndarray, np.ndarray]:
    """Find the boxes at an inner border of their tile.

    ::

        tile      |                      | border
        shared                    <------|     what the neighbour sees as well
        boxes                      [-----]     cut, and held: the neighbour sees all this and more
                         [---------------]     cut
             [------]                          neither

    Returns:
        (M,) bool each: whether a border cuts the object, and whether a neighbour then sees more of
        it across every such border.
    """
    left, top, right, bottom = measures(rows.boxes_cxcywh)[:4]
    sides = zip(
        (left, top, 1 - right, 1 - bottom),  # how far the box is from the border, and
        (right, bottom, 1 - left, 1 - top),  # how far it reaches from there, in tiles
        tile.shared,
        (tile.width, tile.height) * 2,
        strict=True,
    )
    cut, held = np.zeros(len(rows), bool), np.ones(len(rows), bool)
    for distance, reach, shared, side in sides:
        if shared >= 0:
            touches = distance <= _NEAR
            cut |= touches
            held &= ~touches | (reach <= shared / side - _NEAR)
    return cut, cut & held


def _is_spare(rows: ScoredBoxes, cut: np.ndarray, tiles: np.ndarray) -> np.ndarray:
    """Find cut boxes for which another tile has a better box of the same object.

    Suppression alone leaves them: the IoU of a whole object and its half is about 0.5, and less
    where two tiles see different parts. Measured on the picture of ``scripts/draw_field.py``, with
    2,560 objects in 782 tiles of 224 pixels that overlap by a fifth::

                                                     mAP    found twice
        suppression alone                           95.1 %          290
        without the parts that a neighbour holds    95.6 %          187
        and without spare boxes (this function)     96.0 %           77
        suppression by the smaller area, as SAHI    94.5 %           15

    The last one also merges different objects that overlap.

    Args:
        rows: all boxes, relative to the image.
        cut: (M,) bool, boxes at an inner border of their tile.
        tiles: (M,) the number of each row's tile.

    Returns:
        (M,) bool.
    """
    spare = np.zeros(len(rows), bool)
    corners = measures(rows.boxes_cxcywh)  # (7, M)
    for class_id in np.unique(rows.class_ids[cut]):
        same = np.flatnonzero(rows.class_ids == class_id)  # (K,)
        for block in _blocks(same[cut[same]]):
            # (7, B, 1) and (7, 1, K) -> (B, K)
            shared, _ = intersection_and_union(corners[:, block, None], corners[:, None, same])
            smaller = np.minimum(corners[4, block, None], corners[4, same])
            better = (
                (shared > _SAME_OBJECT * smaller)
                & (rows.scores[same] > rows.scores[block, None])
                & (tiles[same] != tiles[block, None])
            )
            spare[block] = better.any(1)
    return spare


def _blocks(indices: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(indices), _BLOCK):
        yield indices[start : start + _BLOCK]
