"""A hierarchy of classes (tree.c): softmax among siblings, probabilities along paths."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from darknet_builder.cfg.block import Block
from darknet_builder.cfg.named_files import find_file
from darknet_builder.errors import shorten
from darknet_builder.support.files import read_bounded

_MIN_PROBABILITY = 0.5
"""AlexeyAB's keeps the last class in the file with more than this probability (region_layer.c:398).
"""


_PARENT, _CLASS = re.compile(r"-?[0-9]{1,9}"), re.compile(r"[0-9]{1,9}")
_MOST_FACTORS = 2**24
"""Largest product of classes and depth of a tree: ``multiply_down`` makes a list of this length.
ImageNet's tree has 9418 classes at a depth of 13."""


@dataclass(frozen=True)
class Tree:
    """Classes and their parents, in the file's order.

    Attributes:
        names: name of each class.
        parents: index of each class's parent; -1 for a root.

    Example:
        >>> tree = Tree(("animal", "cat", "dog"), (-1, 0, 0))
        >>> tree.group_sizes
        [1, 2]
        >>> tree.multiply_down(torch.tensor([0.5, 0.75, 0.25]))
        tensor([0.5000, 0.3750, 0.1250])
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of classes."""
        return len(self.names)

    @cached_property
    def group_sizes(self) -> list[int]:
        """Sizes of the groups of siblings (runs of equal parents), in order (tree.c:85)."""
        sizes: list[int] = []
        for index, parent in enumerate(self.parents):
            if index and parent == self.parents[index - 1]:
                sizes[-1] += 1
            else:
                sizes.append(1)
        return sizes

    @cached_property
    def _factors(self) -> list[list[int]]:
        """For each depth below the root, the class by which each class is multiplied.

        ``size`` stands for a factor of 1.
        """
        # animal (depth 0) > cat (1) > lion (2), in this order, with 1 for class ``size``:
        #   depth 1: [1, animal, 1]      depth 2: [1, 1, cat], where cat is cat * animal by then
        depths: list[int] = []
        for parent in self.parents:
            depths.append(0 if parent < 0 else depths[parent] + 1)
        factors = [[self.size] * self.size for _ in range(max(depths))]
        for index, (parent, depth) in enumerate(zip(self.parents, depths, strict=True)):
            if depth:
                factors[depth - 1][index] = parent
        return factors

    def softmax(self, x: Tensor, dim: int) -> Tensor:
        """Apply softmax within each group of siblings.

        Args:
            x: scores; a whole number of trees along ``dim``, each softmaxed separately.
            dim: the dimension of the classes.
        """
        x = x.movedim(dim, -1).unflatten(-1, (-1, self.size))  # (..., trees, classes)
        order, inverse, counts = self._by_size
        # Group sizes 2, 1, 2:  a b | c | d e  ->  c | a b d e, in one softmax for each size
        lengths = [size * count for size, count in counts.items()]
        parts = [
            part.unflatten(-1, (-1, size)).softmax(-1).flatten(-2)  # (..., groups, size)
            for size, part in zip(counts, x[..., order].split(lengths, -1), strict=True)
        ]
        # Back to the file's order: (..., trees, classes) -> (..., trees * classes), the classes at
        # dim.
        return torch.cat(parts, -1)[..., inverse].flatten(-2).movedim(-1, dim)

    @cached_property
    def _by_size(self) -> tuple[list[int], list[int], dict[int, int]]:
        """The classes ordered by the size of their group, the inverse order, groups per size.

        A tree has thousands of groups, but few sizes: one softmax per size is enough.
        """
        starts = dict(zip(self._group_starts, self.group_sizes, strict=True))
        order: list[int] = []
        counts: dict[int, int] = {}
        for start, size in sorted(starts.items(), key=lambda group: group[1]):
            order += range(start, start + size)
            counts[size] = counts.get(size, 0) + 1
        return order, sorted(range(self.size), key=order.__getitem__), counts

    def multiply_down(self, shares: Tensor) -> Tensor:
        """Turn conditional probabilities (..., classes) into absolute ones (tree.c:40)."""
        absolute = shares
        for factors in self._factors:
            # The padding is class ``size``, the factor 1 of classes at another depth.
            absolute = absolute * F.pad(absolute, (0, 1), value=1.0)[..., factors]
        return absolute

    def last_above_half(self, probabilities: Tensor) -> Tensor:
        """Zero all of (..., classes) but the last class above one half, as AlexeyAB's does."""
        above = probabilities > _MIN_PROBABILITY
        order = torch.arange(1, self.size + 1, device=probabilities.device)
        last = (above * order).amax(-1, keepdim=True)  # (..., 1); 0 if no class is above
        return torch.where(above & (order == last), probabilities, 0.0)

    def top_class(self, probabilities: Tensor, threshold: float) -> Tensor:
        """Return the class at the end of the most probable path, as pjreddie's does (tree.c:57).

        Args:
            probabilities: (..., classes), the absolute probability of each class.
            threshold: the path ends before its probability falls to this.

        Returns:
            (...) class indices.
        """
        # (..., classes) -> (rows, classes). The walk's length depends on the values, so each row is
        # walked on the CPU.
        flat = probabilities.reshape(-1, self.size)
        return torch.tensor(
            [self._walk(row, threshold) for row in flat.cpu()], dtype=torch.long, device=flat.device
        ).reshape(probabilities.shape[:-1])

    @cached_property
    def _group_starts(self) -> list[int]:
        starts = [0]
        for size in self.group_sizes[:-1]:
            starts.append(starts[-1] + size)
        return starts

    @cached_property
    def _children(self) -> dict[int, int]:
        """Class -> the group of its children; of several, the last one (tree.c:98)."""
        return {self.parents[start]: group for group, start in enumerate(self._group_starts)}

    def _walk(self, row: Tensor, threshold: float) -> int:
        probability, group = 1.0, 0
        while True:
            # row:  | group 0 | group 1 | ... ; a group lies at start .. start + its size
            start = self._group_starts[group]
            value, offset = row[start : start + self.group_sizes[group]].max(0)
            best = start + int(offset)
            if probability * float(value) <= threshold:
                return best if group == 0 else self.parents[start]
            probability *= float(value)
            if best not in self._children:
                return best
            group = self._children[best]


def read_tree(block: Block, folder: str, key: str = "tree") -> Tree | None:
    """Read the hierarchy that ``tree=`` names; None without that option.

    Args:
        block: the section that may have the option.
        folder: folder of the cfg, in which the file is looked for.
        key: name of the option.

    Raises:
        CfgError: located in the cfg, with the tree file's line, if the file is missing or
            malformed.
    """
    if not block.get_str(key, ""):
        return None
    path = find_file(block, key, folder)
    names: list[str] = []
    parents: list[int] = []
    depths: list[int] = []
    deepest = 0
    for number, line in enumerate(_lines(block, key, path), start=1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2 or not _PARENT.fullmatch(words[1]):
            raise block.error(
                f"{path}:{number}: cannot parse {shorten(line)!r}",
                key,
                hint="expected 'name parent'",
            )
        if not -1 <= int(words[1]) < len(names):
            raise block.error(
                f"{path}:{number}: parent {words[1]} must be -1 or a line before this one", key
            )
        names.append(words[0])
        parents.append(int(words[1]))
        depths.append(1 if parents[-1] < 0 else depths[parents[-1]] + 1)
        if len(names) * max(depths[-1], deepest) > _MOST_FACTORS:
            raise block.error(f"{path}:{number}: the tree is too large and too deep", key)
        deepest = max(depths[-1], deepest)
    if not names:
        raise block.error(f"{path} is empty", key, hint="expected lines of 'name parent'")
    return Tree(tuple(names), tuple(parents))


def read_map(block: Block, folder: str, classes: int, key: str = "map") -> list[int] | None:
    """Read the class numbers, one per line, that ``map=`` names; None without that option.

    Args:
        block: the [region] or [yolo] section.
        folder: folder of the cfg, in which the file is looked for.
        classes: number of classes; numbers must be below it.
        key: name of the option.

    Raises:
        CfgError: located, if the file is missing or names a class that does not exist.
    """
    if not block.get_str(key, ""):
        return None
    path = find_file(block, key, folder)
    lines = _lines(block, key, path)
    numbers: list[int] = []
    for line_number, line in enumerate(lines, start=1):
        text = line.strip() or "0"
        if not _CLASS.fullmatch(text) or int(text) >= classes:
            raise block.error(
                f"{path}:{line_number}: {shorten(text)!r} is not a class number below {classes}",
                key,
            )
        numbers.append(int(text))
    blank = next((number for number, line in enumerate(lines, start=1) if not line.strip()), 0)
    if blank:
        block.warn(f"{path}:{blank}: blank line; Darknet reads it as class 0 (utils.c:71)", key)
    return numbers


def _lines(block: Block, key: str, path: Path) -> list[str]:
    """Return the lines of a file that an option names, without blank ones at its end.

    Raises:
        CfgError: located in the cfg, if it cannot be read.
    """
    try:
        text = read_bounded(path).decode(errors="replace")
    except OSError as error:
        raise block.error(f"{path}: cannot be read: {error.strerror or error}", key) from None
    return text.rstrip().splitlines()
