"""A hierarchy of classes (tree.c): softmax within each group of siblings, probabilities down the
path.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from darknet_builder.cfg.block import Block
from darknet_builder.cfg.named_files import find_file

_LIKELY = 0.5
"""A keeps the last class of the file that is more likely than this (region_layer.c:398)."""


@dataclass(frozen=True)
class Tree:
    """Classes and their parents, in the file's order.

    Attributes:
        names: one a class.
        parents: index of each class's parent; -1 at the root.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many classes."""
        return len(self.names)

    @cached_property
    def group_sizes(self) -> list[int]:
        """Lengths of the runs of equal parents: siblings, in order (tree.c:85)."""
        sizes: list[int] = []
        for index, parent in enumerate(self.parents):
            if index and parent == self.parents[index - 1]:
                sizes[-1] += 1
            else:
                sizes.append(1)
        return sizes

    @cached_property
    def _factors(self) -> list[list[int]]:
        """For each depth below the root: by which class each class is multiplied, ``size`` standing
        for a factor 1.
        """
        depth: list[int] = []
        for parent in self.parents:
            depth.append(0 if parent < 0 else depth[parent] + 1)
        return [
            [
                parent if at == level else self.size
                for parent, at in zip(self.parents, depth, strict=True)
            ]
            for level in range(1, max(depth) + 1)
        ]

    def softmax(self, x: Tensor, dim: int) -> Tensor:
        """Softmax within each group of siblings along ``dim``; more classes than one tree's are
        trees in a row.
        """
        x = x.movedim(dim, -1).unflatten(-1, (-1, self.size))  # (..., trees, classes)
        order, back, counts = self._by_size
        parts = [
            part.unflatten(-1, (-1, size)).softmax(-1).flatten(-2)
            for size, part in zip(
                counts,
                x[..., order].split([size * count for size, count in counts.items()], -1),
                strict=True,
            )
        ]
        return torch.cat(parts, -1)[..., back].flatten(-2).movedim(-1, dim)

    @cached_property
    def _by_size(self) -> tuple[list[int], list[int], dict[int, int]]:
        """The classes with groups of one size side by side, the way back, and how many groups of
        each size there are.

        A tree has thousands of groups, and few sizes: one softmax for each size is enough.
        """
        starts = dict(zip(self._group_starts, self.group_sizes, strict=True))
        order: list[int] = []
        counts: dict[int, int] = {}
        for start, size in sorted(starts.items(), key=lambda group: group[1]):
            order += range(start, start + size)
            counts[size] = counts.get(size, 0) + 1
        return order, sorted(range(self.size), key=order.__getitem__), counts

    def multiply_down(self, shares: Tensor) -> Tensor:
        """(..., classes) of conditional shares -> of absolute probabilities (tree.c:40)."""
        absolute = shares
        for factors in self._factors:
            absolute = absolute * F.pad(absolute, (0, 1), value=1.0)[..., factors]
        return absolute

    def last_likely(self, probabilities: Tensor) -> Tensor:
        """(..., classes): all but the last class above one half zeroed, as A reports detections."""
        likely = probabilities > _LIKELY
        order = torch.arange(1, self.size + 1, device=probabilities.device)
        last = (likely * order).amax(-1, keepdim=True)
        return torch.where(likely & (order == last), probabilities, 0.0)

    def top_class(self, probabilities: Tensor, threshold: float) -> Tensor:
        """(..., classes) -> (...) of class indices: down the best path while it stays likely, as P
        does (tree.c:57).
        """
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
        """Class -> the group of its children (the last one that names it, as tree.c:98)."""
        return {self.parents[start]: group for group, start in enumerate(self._group_starts)}

    def _walk(self, row: Tensor, threshold: float) -> int:
        probability, group = 1.0, 0
        while True:
            start = self._group_starts[group]
            value, place = row[start : start + self.group_sizes[group]].max(0)
            best = start + int(place)
            if probability * float(value) <= threshold:
                return best if group == 0 else self.parents[start]
            probability *= float(value)
            if best not in self._children:
                return best
            group = self._children[best]


def read_tree(block: Block, folder: str, key: str = "tree") -> Tree | None:
    """The hierarchy that ``tree=`` names, or None without it.

    Raises:
        CfgError: located in the cfg, with the tree file's own line, for a file that is missing or
            malformed.
    """
    if not block.get_str(key, ""):
        return None
    path = find_file(block, key, folder)
    names: list[str] = []
    parents: list[int] = []
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2 or not words[1].lstrip("-").isdigit():
            raise block.error(
                f"{path}:{number}: {line!r} is no class", key, hint="expected 'name parent'"
            )
        if not -1 <= int(words[1]) < len(names):
            raise block.error(
                f"{path}:{number}: parent {words[1]} must be -1 or a line before this one", key
            )
        names.append(words[0])
        parents.append(int(words[1]))
    if not names:
        raise block.error(f"{path}: is empty", key, hint="expected lines of 'name parent'")
    return Tree(tuple(names), tuple(parents))


def read_map(block: Block, folder: str, classes: int, key: str = "map") -> list[int] | None:
    """Class numbers, one a line, that ``map=`` names, or None without it (option ``map`` of
    [region], [yolo]).

    Raises:
        CfgError: located, for a file that is missing or names a class that does not exist.
    """
    if not block.get_str(key, ""):
        return None
    path = find_file(block, key, folder)
    lines = path.read_text(errors="replace").rstrip().splitlines()
    numbers: list[int] = []
    for line_number, line in enumerate(lines, start=1):
        text = line.strip() or "0"
        if not text.isdecimal() or int(text) >= classes:
            raise block.error(
                f"{path}:{line_number}: {text!r} is no class number below {classes}", key
            )
        numbers.append(int(text))
    blank = next((number for number, line in enumerate(lines, start=1) if not line.strip()), 0)
    if blank:
        block.warn(f"{path}:{blank}: is blank; Darknet reads class 0 there (utils.c:71)", key)
    return numbers
