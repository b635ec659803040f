"""Format text for people: plurals, aligned columns, durations, and text that is safe to print."""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection, Sequence

_IRREGULAR = {"box": "boxes", "child": "children", "class": "classes"}
_GAP = "  "
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Characters that move the cursor, change colours or reverse the direction of text. Line breaks and
tabs are not among them."""
_LINE_BREAK = re.compile("[\n\x85\u2028\u2029]")
_ESCAPE = "darknet_builder.escape"
"""The name of ``_escape_unencodable`` among Python's error handlers."""


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


def printable(text: str, encoding: str | None = "utf-8") -> str:
    r"""Return text with control characters, and characters not in an encoding, as ``\uXXXX``.

    Names of files and classes come from other people. Written as they are, their control characters
    could change the terminal; and a single byte that is not UTF-8 would stop the whole output.
    JSON stays JSON, because its strings have the same escapes.

    Args:
        text: one or more lines.
        encoding: encoding of the stream that the text is written to; None for UTF-8.

    Example:
        >>> printable("a \x1b[31mred\udcff photo")
        'a \\u001b[31mred\\udcff photo'
        >>> printable("caf\xe9", "ascii")
        'caf\\u00e9'
    """
    encoding = encoding or "utf-8"
    shown = _CONTROL.sub(lambda match: _escape(match[0]), text)
    return shown.encode(encoding, _ESCAPE).decode(encoding)


def one_line(name: object) -> str:
    r"""Return the name of a file or a class for a line of text, its line breaks as ``\u000a``.

    Example:
        >>> one_line("two\nlines.jpg")
        'two\\u000alines.jpg'
    """
    return _LINE_BREAK.sub(lambda match: _escape(match[0]), str(name))


def _escape(text: str) -> str:
    units = text.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def _escape_unencodable(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return _escape(error.object[error.start : error.end]), error.end


codecs.register_error(_ESCAPE, _escape_unencodable)
