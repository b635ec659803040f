"""Listings: rows that can be filtered by name, counted, and written as text or plain data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from darknet_builder.errors import InputError, did_you_mean
from darknet_builder.support.text import align_columns, plural

if TYPE_CHECKING:
    from darknet_builder.cfg.block import Block

PARTS = ("modules", "children", "parameters", "buffers", "summary")
"""The values of ``what`` in ``list_network``."""
Totals = dict[str, int | float]
_WORDS = ("name", "type", "shape", "dtype", "saved", "output", "details")
_WILDCARDS = "*?["


@dataclass(frozen=True)
class Row:
    """One entry of a listing.

    Attributes:
        names: names that a filter's pattern is compared with: the dotted name, then the type, if
            there is one.
        data: the entry as plain data, for JSON.
        part: the module, tensor, ``LayerSummary`` or ``Block``.
    """

    names: tuple[str, ...]
    data: dict[str, Any]
    part: Any


@dataclass(frozen=True)
class Listing:
    """All entries of one kind.

    Attributes:
        noun: name of one entry: ``layer``, ``module``, ``child``, ``parameter``, ``buffer`` or
            ``block``.
        rows: all entries, in the order of the network or cfg.
        total: sums up rows: at least ``entries`` (``layers`` in a summary) and the number of values
            in them.
        text: writes rows as a table with a line of totals.
    """

    noun: str
    rows: tuple[Row, ...]
    total: Callable[[Sequence[Row]], Totals]
    text: Callable[[Sequence[Row]], str]

    def matching(self, pattern: str | None) -> list[Row]:
        """Return the rows with a name that matches.

        Args:
            pattern: with ``*``, ``?`` or ``[ ]`` a glob for a whole name. Without them, whole parts
                of a dotted name: ``layers.8`` matches ``layers.8.conv`` but not ``layers.81``. None
                matches everything.

        Raises:
            InputError: if nothing matches.
        """
        if pattern is None:
            return list(self.rows)
        shown = [row for row in self.rows if _any_fits(row.names, pattern)]
        if not shown:
            names = [name for row in self.rows for name in row.names]
            known = dict.fromkeys(part for name in names for part in [name, *name.split(".")])
            example = f" (names are like {self.rows[-1].names[0]})" if self.rows else ""
            raise InputError(
                f"matches none of the {len(self.rows)} {plural(2, self.noun)}{example}",
                argument="pattern",
                value=pattern,
                hint=did_you_mean(pattern, known),
            )
        return shown

    def to_dict(self, shown: Sequence[Row]) -> dict[str, Any]:
        """Return some rows as plain data, with their totals and those of all rows."""
        return {
            "totals": self.total(shown),
            "totals_unfiltered": self.total(self.rows),
            "rows": [row.data for row in shown],
        }


def list_blocks(blocks: Sequence[Block]) -> Listing:
    """List the sections of a cfg, [net] first, without building anything."""
    from darknet_builder.cfg.parser import format_cfg

    rows = []
    for index, block in enumerate(blocks, start=-1):  # [net] is -1; the first layer is 0
        name = f"layers.{index}" if index >= 0 else "net"
        rows.append(Row((name, block.name), _block_data(index, block), block))

    def text(shown: Sequence[Row]) -> str:
        sections = [
            f"# {row.names[0]}, line {row.part.line}\n{format_cfg([row.part])}\n" for row in shown
        ]
        return (
            "".join(sections)
            + f"# {write_counts(_block_totals(shown), _block_totals(rows), 'block', 'option')}\n"
        )

    return Listing("block", tuple(rows), _block_totals, text)


def write_table(columns: Sequence[str], cells: Sequence[Sequence[str]], total: str) -> str:
    """Return aligned columns and a line of totals, or only the totals without cells."""
    lines = align_columns([columns, *cells], left=_WORDS) if cells else []
    return "\n".join([*lines, total]) + "\n"


def write_counts(shown: Totals, whole: Totals, noun: str, value: str) -> str:
    """Return, for example, ``3 of 41 parameters, 216 of 28,868 values``.

    If all rows are shown, return ``41 parameters, 28,868 values``.
    """
    pairs = [(shown["entries"], whole["entries"], noun), (shown["values"], whole["values"], value)]
    if shown["entries"] == whole["entries"]:
        return ", ".join(f"{part:,} {plural(part, name)}" for part, _, name in pairs)
    return ", ".join(f"{part:,} of {total:,} {plural(total, name)}" for part, total, name in pairs)


def _any_fits(names: Sequence[str], pattern: str) -> bool:
    return any(_fits(name, pattern) for name in names)


def _fits(name: str, pattern: str) -> bool:
    if any(character in pattern for character in _WILDCARDS):
        return fnmatchcase(name, pattern)
    # Dots on both sides, so that only whole parts match: ".layers.8." is not in ".layers.81.conv."
    return f".{pattern.strip('.')}." in f".{name}."


def _block_data(index: int, block: Block) -> dict[str, Any]:
    layer = index if index >= 0 else None
    return {"layer": layer, "name": block.name, "line": block.line, "options": dict(block)}


def _block_totals(rows: Sequence[Row]) -> Totals:
    return {"entries": len(rows), "values": sum(len(row.part) for row in rows)}
