"""Read numbers as C's atoi and atof do: the longest number at a text's beginning."""

from __future__ import annotations

import re

LARGEST_INT = 2**31 - 1
"""The largest int of Darknet; the smallest is one less than its negative."""
_INT_DIGITS = 10
_INTEGER = re.compile(r"([+-]?)0*([0-9]*)")
_REAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def read_int(text: str) -> tuple[int, str] | None:
    """Return the whole number at a text's beginning, and the rest; None without one.

    A number of more than 32 bits may be replaced by another one of more than 32 bits.

    Example:
        >>> read_int("180#P6"), read_int("+0012"), read_int("x")
        ((180, '#P6'), (12, ''), None)
    """
    match = _INTEGER.match(text)
    assert match is not None  # it also matches an empty text
    sign, digits = match.groups()
    if not match.group().strip("+-"):
        return None
    # Not int of any text: Python refuses to convert thousands of digits.
    number = int(digits or "0") if len(digits) <= _INT_DIGITS else 2 * LARGEST_INT
    return (-number if sign == "-" else number), text[match.end() :]


def read_float(text: str) -> tuple[float, str] | None:
    """Return the number at a text's beginning, and the rest; None without one.

    Example:
        >>> read_float("0.7#x"), read_float(".5e-1")
        ((0.7, '#x'), (0.05, ''))
    """
    match = _REAL.match(text)
    return None if match is None else (float(match.group()), text[match.end() :])
