"""Edit a ``.cfg`` as text: only values that must change, keeping all comments and blanks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from darknet_builder.cfg.block import Block
from darknet_builder.errors import CfgError, InputError
from darknet_builder.layers.base import Head
from darknet_builder.network.build import build_network
from darknet_builder.network.network import Network

_STEPS_PER_CLASS, _MIN_STEPS = 2000, 6000
"""AlexeyAB's advice: 2000 steps per class, at least 6000; the rate falls at 80 % and 90 %."""
_STEP_FRACTIONS = (0.8, 0.9)
_BURN_IN_PART = 10
"""The burn-in is limited to this part of the steps; otherwise the rate would never reach its full
value before the first fall.
"""


@dataclass(frozen=True)
class Adaptation:
    """The changes to make to a cfg.

    Attributes:
        classes: number of classes of every head.
        anchors: (K, 2) width and height in pixels of the network's input ([region]: in cells),
            sorted from the smallest to the largest; None to keep them.
        max_batches: number of training steps, 1 or more; None for 2000 per class, at least 6000.
    """

    classes: int
    anchors: np.ndarray | None = None
    max_batches: int | None = None


class CfgText:
    """The lines of a cfg, whose values can be changed.

    Args:
        text: text of the cfg.

    Attributes:
        changes: one line of text for each change made so far.
    """

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")
        self._new: list[tuple[int, str]] = []
        self.changes: list[str] = []

    def set(self, block: Block, key: str, value: str) -> None:
        """Change the value of an option; add it below the section's name if it is missing."""
        # The values of Blocks have no blanks (utils.c:424).
        if block.get(key) == value.replace(" ", ""):
            return
        if key not in block:
            self._new.append((block.line, f"{key}={value}"))
            self.changes.append(f"line {block.line}: [{block.name}] {key}={value} added")
            return
        line = block.line_of(key)
        head, _, tail = self._lines[line - 1].partition("=")
        comment = tail[tail.index("#") :] if "#" in tail else ""
        blank = " " if tail.startswith(" ") else ""
        self._lines[line - 1] = f"{head}={blank}{value}{' ' + comment if comment else ''}"
        self.changes.append(
            f"line {line}: [{block.name}] {key}={value}, was {block[key].split('#')[0]}"
        )

    def text(self) -> str:
        """Return the whole cfg."""
        lines = list(self._lines)
        # From the last line to the first, so that an insertion does not move those still to come.
        for line, option in sorted(self._new, key=lambda new: -new[0]):
            lines.insert(line, option)
        return "\n".join(lines)


def adapt_cfg(
    text: str, blocks: Sequence[Block], adaptation: Adaptation, dialect: str | None = None
) -> CfgText:
    """Change a cfg for another data set.

    The options that may change: ``classes``, ``anchors``, ``mask`` and ``num`` of the heads,
    ``filters`` (``output`` before [detection]) of the layers before them, and ``max_batches``,
    ``steps`` and ``burn_in`` of [net].

    Args:
        text: text of the cfg.
        blocks: the Blocks parsed from it.
        adaptation: the changes to make.
        dialect: ``alexeyab`` or ``pjreddie``; None for ``alexeyab``.

    Returns:
        The changed cfg: ``text()`` is all of it, ``changes`` has one line for each change.

    Raises:
        CfgError: located, for a cfg that cannot be built for another reason than a wrong number of
            filters before a head.
        InputError: for a number of classes or steps below 1, a cfg without heads, or anchors that
            its heads cannot take or share.

    Example:
        >>> from pathlib import Path
        >>> from darknet_builder import parse_cfg
        >>> blocks = parse_cfg("yolov4-tiny")
        >>> text = Path(blocks[0].source).read_text()
        >>> edited = adapt_cfg(text, blocks, Adaptation(classes=3))
        >>> edited.changes[0]
        'line 211: [convolutional] filters=24, was 255'
        >>> edited.text().count("classes=3")
        2
    """
    for name, number in (("classes", adaptation.classes), ("max_batches", adaptation.max_batches)):
        if number is not None and number < 1:
            raise InputError("expected 1 or more", argument=name, value=number)
    network = build_for_adapting(blocks, dialect)
    heads = [
        (index, layer) for index, layer in enumerate(network.sequence()) if isinstance(layer, Head)
    ]
    if not heads:
        raise InputError(
            "no [yolo], [Gaussian_yolo], [region] or [detection] head to adapt",
            **blocks[0].place(),
        )
    if adaptation.anchors is not None and not any(head.num_anchors for _, head in heads):
        raise InputError("no head of the cfg has anchors", **blocks[0].place(), argument="anchors")
    edited = CfgText(text)
    masks = _masks(heads, adaptation)
    for (index, head), mask in zip(heads, masks, strict=True):
        _adapt_head(edited, blocks, index, head, mask, adaptation)
    _adapt_schedule(edited, blocks[0], adaptation)
    return edited


def build_for_adapting(blocks: Sequence[Block], dialect: str | None = None) -> Network:
    """Build a cfg in which the layers before the heads may have the wrong number of filters.

    The network gets the number that its head needs. The Blocks keep the wrong one: ``adapt_cfg``
    replaces it in the text.

    Args:
        blocks: parsed from the cfg; they are not changed.
        dialect: ``alexeyab`` or ``pjreddie``; None for ``alexeyab``.

    Raises:
        CfgError: located, for every other mistake.
    """
    blocks = list(blocks)
    # Each failed attempt corrects one section. The set ends the loop if a correction does not help.
    corrected: set[int] = set()
    while True:
        try:
            return build_network(blocks, dialect=dialect, initialize=False)
        except CfgError as error:
            index = _index_of(error, blocks)
            if error.expected is None or index is None or index in corrected:
                raise
            corrected.add(index)
            blocks[index] = blocks[index].with_option(str(error.key), str(error.expected))


def _index_of(error: CfgError, blocks: Sequence[Block]) -> int | None:
    """Return the index of the section that an error names; None if there is none."""
    indices = (
        index
        for index, block in enumerate(blocks)
        if (block.name, block.line_of(error.key)) == (error.section, error.line)
    )
    return next(indices, None)


def _masks(heads: Sequence[tuple[int, Head]], adaptation: Adaptation) -> list[list[int] | None]:
    """Return for each head the indices of its new anchors; None to keep its mask.

    Each head gets an equal share in the order of the list. The finest grid gets the first share, so
    the anchors must be sorted from the smallest to the largest.
    """
    anchors = adaptation.anchors
    if anchors is None or all(len(head.anchors) == len(anchors) for _, head in heads):
        return [None] * len(heads)
    if len(anchors) % len(heads):
        raise InputError(f"{len(anchors)} anchors cannot be shared evenly by {len(heads)} heads")
    share = len(anchors) // len(heads)
    finest_first = sorted(range(len(heads)), key=lambda number: -heads[number][1].in_shape.width)
    masks: list[list[int] | None] = [None] * len(heads)
    for rank, number in enumerate(finest_first):
        masks[number] = list(range(rank * share, (rank + 1) * share))
    return masks


def _adapt_head(
    edited: CfgText,
    blocks: Sequence[Block],
    index: int,
    head: Head,
    mask: list[int] | None,
    adaptation: Adaptation,
) -> None:
    # Block 0 is [net], so layer i has block i + 1.
    block, source = blocks[index + 1], blocks[head.sources[0] + 1]
    count = head.num_anchors if mask is None else len(mask)
    if head.source_option not in source:
        raise source.error(
            f"the [{block.name}] of line {block.line} reads this layer, which has no"
            f" {head.source_option}= to adapt"
        )
    values = head.source_values(adaptation.classes, count)
    edited.set(source, head.source_option, str(values))
    edited.set(block, "classes", str(adaptation.classes))
    if adaptation.anchors is not None and head.num_anchors:
        decimals = head.anchor_decimals
        edited.set(
            block,
            "anchors",
            ", ".join(
                f"{width:.{decimals}f},{height:.{decimals}f}"
                for width, height in adaptation.anchors
            ),
        )
    if mask is not None and adaptation.anchors is not None:
        edited.set(block, "num", str(len(adaptation.anchors)))
        if head.mask is not None:
            edited.set(block, "mask", ",".join(map(str, mask)))
    if "counters_per_class" in block:
        raise block.error(
            "counts the boxes of the old classes",
            "counters_per_class",
            hint="remove it, or count those of the new classes",
        )


def _adapt_schedule(edited: CfgText, net: Block, adaptation: Adaptation) -> None:
    total = adaptation.max_batches
    if total is None:
        total = max(_MIN_STEPS, _STEPS_PER_CLASS * adaptation.classes)
    edited.set(net, "max_batches", str(total))
    if net.get("policy") == "steps":
        count = len(net.get("steps", "").split(","))
        fractions: Sequence[float] = _STEP_FRACTIONS
        if count != len(_STEP_FRACTIONS):
            # Spread evenly over the last fifth of the training, the first one at its beginning.
            fractions = [0.8 + 0.2 * index / (count + 1) for index in range(count)]
        edited.set(net, "steps", ",".join(str(round(total * share)) for share in fractions))
    if net.get_int("burn_in", 0) * _BURN_IN_PART > total:
        edited.set(net, "burn_in", str(max(1, total // _BURN_IN_PART)))
