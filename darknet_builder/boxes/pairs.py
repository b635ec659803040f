"""Pairs of boxes that non-maximum suppression must compare."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_MAX_PAIRS = 1 << 18
"""Number of pairs of boxes that are compared at once, to bound memory."""
_BLOCK = 1 << 14
"""Number of boxes whose partners are looked up at once."""
_MIN_THRESHOLD = 0.02
"""Below this threshold, boxes of very different sizes may suppress each other. Size levels would
separate hardly any pairs, so all boxes get the same level."""
_MARGIN = 0.98
"""Factor on the threshold, which allows for the rounding of float32."""
_FINEST = 2e-5
"""Smallest ratio of a box's size to its centre coordinate for which ``_MARGIN`` is enough.

The edges of a smaller box are rounded to float32 steps that are not small beside its size."""
_STEPS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 0), (0, 1), (1, -1), (1, 0), (1, 1))
"""Steps from the size levels of a box (width, height) to those of its partner."""


def overlap_pairs(
    boxes_cxcywh: np.ndarray, groups: np.ndarray, threshold: float, suppressed: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield all pairs of boxes of a group whose IoU exceeds a threshold, and some other pairs.

    Few boxes are paired with all others of their group. Many are paired only with boxes of similar
    size nearby, which leaves out no pair above the threshold. The caller computes the IoU, and
    marks suppressed boxes between two yields; they are left out of later pairs.

    Args:
        boxes_cxcywh: (M, 4) finite, sorted by group, and within a group by descending score.
        groups: (M,) integers of at least 0, sorted.
        threshold: NMS IoU threshold, 0 to 1.
        suppressed: (M,) bool, written by the caller.

    Yields:
        Two (P,) arrays of row numbers: the suppressors, with the higher score, and the boxes that
        they may suppress. Suppressors are settled first: before a row is yielded as a suppressor,
        all pairs in which it may be suppressed were yielded.

    Example:
        >>> boxes = np.array([[0.5, 0.5, 0.2, 0.2]] * 3)
        >>> groups, suppressed = np.array([4, 4, 7]), np.zeros(3, bool)
        >>> for better, worse in overlap_pairs(boxes, groups, 0.45, suppressed):
        ...     print(better, worse)
        [0] [1]
    """
    rows = np.arange(len(groups))
    ends = groups.searchsorted(groups, "right")  # (M,)
    partners = ends - rows - 1
    if partners.sum() <= _MAX_PAIRS:
        yield _ranges(rows, ends, partners)
        return
    index = _Index.build(boxes_cxcywh, groups, threshold)
    # The best rows of all groups come first: they suppress most others, which then form no pairs.
    waiting = np.argsort(rows - np.searchsorted(groups, groups), kind="stable")
    while len(waiting):
        block = waiting[:_BLOCK]
        yield from index.pairs(block)
        gone = suppressed.copy()
        gone[block] = True
        index.remove(gone)
        waiting = waiting[~gone[waiting]]


def _ranges(
    rows: np.ndarray, ends: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pair each row with consecutive numbers.

    ::

        rows    0  1  2
        ends    7  6 10
        counts  2  0  1
        first   0  0     2
        second  5  6     9

    Args:
        rows: (N,).
        ends: (N,), the number after the last one of each row.
        counts: (N,), how many numbers; of sum P.

    Returns:
        (P,) rows and (P,) numbers.
    """
    # Of all P numbers, those of a row end at counts.cumsum(): shift them to end at ``ends``.
    first = rows.repeat(counts)
    return first, np.arange(len(first)) + (ends - counts.cumsum()).repeat(counts)


@dataclass
class _Levels:
    """Sizes of boxes on a logarithmic scale.

    If the IoU of two boxes exceeds t, the intersection is wider than t times the wider box W,
    because its height is at most that of either box and the union is at least the larger box. So:

    - the ratio of the widths exceeds t: on a scale of powers of 1 / t, partners are at most one
      level apart;
    - the distance of the centres is below (1 - t) * W.

    The same holds for heights.

    For example, with t = 0.5 a level is one factor of 2::

        width     8        16        32        64       128
        level     |--- 1 ---|--- 2 ---|--- 3 ---|--- 4 ---|

    A box of width 24 has level 2. Its partners are wider than 12 and narrower than 48, so they have
    the levels 1, 2 and 3. Widths of level 2 are below 32, so the centres of two boxes of this level
    are less than (1 - 0.5) * 32 = 16 apart: that is the reach. To the levels 1, 2 and 3 the reaches
    are 16, 16 and 32, by the wider box of the pair.

    Attributes:
        levels: (M, 2) int64 of width and height, from 1.
        reaches: (3, M), the largest distance of centre x to a partner whose width level is one
            lower, equal, and one higher.
    """

    levels: np.ndarray
    reaches: np.ndarray

    @classmethod
    def of(cls, boxes_cxcywh: np.ndarray, threshold: float) -> _Levels:
        """Return the levels of (M, 4) float64 boxes."""
        centres, sizes = np.abs(boxes_cxcywh[:, :2]), boxes_cxcywh[:, 2:]
        sizes = np.maximum(sizes, np.finfo(np.float32).tiny)
        if threshold < _MIN_THRESHOLD:
            reaches = np.full((3, len(sizes)), sizes[:, 0].max())
            return cls(np.ones(sizes.shape, np.int64), reaches)
        ratio, reach = threshold * _MARGIN, 1 - threshold * _MARGIN
        if (sizes < centres * _FINEST).any():
            # Rounding may make the intersection larger than a tiny box, so the argument above does
            # not hold. IoU > t still means (1 + t) * intersection > t * (sum of both areas), from
            # which these weaker limits follow.
            sizes = np.maximum(sizes, centres * _FINEST)
            ratio, reach = ratio / (1 + threshold), 1.0
        levels = np.floor(np.log(sizes) / -np.log(ratio))
        # Level n holds sizes from ratio ** -n to ratio ** -(n + 1).
        largest = ratio ** -(levels[:, 0] + 1)
        reaches = reach * np.stack([largest, largest, largest / ratio])
        return cls((levels - levels.min(0)).astype(np.int64) + 1, reaches)


@dataclass
class _Index:
    """Boxes sorted by group, size level and centre x.

    Attributes:
        cells: (M,) int64, group and levels of each box as one number.
        steps: (9,) int64, how much each of ``_STEPS`` adds to a cell.
        reaches: (3, M), see ``_Levels``.
        x: (M,) centres.
        sorted_x: (M,) centres, increasing.
        keys: (K,) int64, increasing: cell and rank of x of each box that is left.
        rows: (K,) the rows of these boxes.
    """

    cells: np.ndarray
    steps: np.ndarray
    reaches: np.ndarray
    x: np.ndarray
    sorted_x: np.ndarray
    keys: np.ndarray
    rows: np.ndarray

    @classmethod
    def build(cls, boxes_cxcywh: np.ndarray, groups: np.ndarray, threshold: float) -> _Index:
        """Sort boxes; see ``overlap_pairs`` for the arguments."""
        boxes = boxes_cxcywh.astype(np.float64)
        sizes = _Levels.of(boxes, threshold)
        # An unused level at each end keeps the partners of neighbouring cells apart:
        #   cell = (group * width levels + width level) * height levels + height level
        across, down = (int(level) + 2 for level in sizes.levels.max(0))
        cells = (groups * across + sizes.levels[:, 0]) * down + sizes.levels[:, 1]
        order = np.argsort(boxes[:, 0])
        ranks = np.empty(len(order), np.int64)
        ranks[order] = np.arange(len(order))
        keys = cells * (len(order) + 1) + ranks
        rows = np.argsort(keys)
        return cls(
            cells,
            np.array(_STEPS) @ np.array([down, 1]),
            sizes.reaches,
            boxes[:, 0],
            boxes[order, 0],
            keys[rows],
            rows,
        )

    def pairs(self, block: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the pairs of some rows with the later rows of their groups that are not removed.

        Args:
            block: (B,) rows, suppressors first.

        Yields:
            As ``overlap_pairs`` does, in the order of the block; at most ``_MAX_PAIRS`` at a time,
            unless one row has more.
        """
        ends, counts = self._partners(block)
        pairs_before = np.append(0, counts.sum(1).cumsum())  # (B + 1,), before each row
        first = 0
        while first < len(block):
            limit = pairs_before[first] + _MAX_PAIRS
            last = int(np.searchsorted(pairs_before, limit, side="right")) - 1
            last = max(last, first + 1)
            queries = np.arange(first, last).repeat(len(_STEPS))
            better, found = _ranges(
                block[queries], ends[first:last].ravel(), counts[first:last].ravel()
            )
            worse = self.rows[found]
            near = worse > better
            yield better[near], worse[near]
            first = last

    def _partners(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where in ``rows`` the partners of some rows end, and how many there are.

        Both are (B, 9), one range for each of ``_STEPS``.
        """
        starts = np.empty((len(block), len(_STEPS)), np.int64)
        ends = np.empty_like(starts)
        x, size = self.x[block], len(self.sorted_x) + 1
        for width_step in (-1, 0, 1):
            reach = self.reaches[width_step + 1, block]
            nearest = np.searchsorted(self.sorted_x, x - reach, side="left")
            farthest = np.searchsorted(self.sorted_x, x + reach, side="right")
            for column, step in enumerate(_STEPS):
                if step[0] == width_step:
                    keys = (self.cells[block] + self.steps[column]) * size
                    starts[:, column] = np.searchsorted(self.keys, keys + nearest)
                    ends[:, column] = np.searchsorted(self.keys, keys + farthest)
        return ends, ends - starts

    def remove(self, gone: np.ndarray) -> None:
        """Remove rows, given (M,) booleans."""
        left = ~gone[self.rows]
        self.keys, self.rows = self.keys[left], self.rows[left]
