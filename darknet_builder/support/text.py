"""Format text for people: plural nouns, aligned columns, durations."""

from __future__ import annotations

from collections.abc import Collection, Sequence

_IRREGULAR = {"child": "children"}
_GAP = "  "


def plural(count: float, noun: str) -> str:
    """Return the form of a noun that goes with a count, without the count.

    Args:
        count: ``1`` takes the singular, everything else the plural.
        noun: the noun's singular form.

    Example:
        >>> plural(1, "image"), plural(3, "image"), plural(0, "child")
        ('image', 'images', 'children')
    """
    return noun if count == 1 else _IRREGULAR.get(noun, f"{noun}s")


def align_columns(rows: Sequence[Sequence[str]], left: Collection[str]) -> list[str]:
    """Return one line of text for each row, with the columns aligned.

    Args:
        rows: rows of equal length, the headings first.
        left: headings of the columns to align to the left; all others, the numbers, are aligned to
            the right.

    Example:
        >>> for line in align_columns([("name", "bytes"), ("a", "1,000")], left=("name",)):
        ...     print(line)
        name  bytes
        a     1,000
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [_align_row(row, widths, rows[0], left) for row in rows]


def _align_row(
    row: Sequence[str], widths: Sequence[int], headings: Sequence[str], left: Collection[str]
) -> str:
    cells = []
    for cell, width, heading in zip(row, widths, headings, strict=True):
        cells.append(cell.ljust(width) if heading in left else cell.rjust(width))
    return _GAP.join(cells).rstrip()


def duration(seconds: float) -> str:
    """Return a duration as ``2h 05m``, ``3m 20s`` or ``12s``.

    Example:
        >>> duration(12), duration(200), duration(7500)
        ('12s', '3m 20s', '2h 05m')
    """
    # Round first: 119.7 s are 2m 00s, not 1m 60s.
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes:02d}m"
    return f"{minutes}m {rest:02d}s" if minutes else f"{rest}s"
