"""Format options for ``print(network)`` and ``dump``: Darknet's names, the section's values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

_Value = TypeVar("_Value")


def format_options(options: Mapping[str, object], *, after: str = "") -> str:
    """Join options into a text such as ``size=2, stride=2``.

    Args:
        options: values by Darknet's names. None and False are left out, True becomes 1.
        after: text to put first, such as the base class's options.

    Example:
        >>> format_options({"size": 2, "stride": 2, "flip": False})
        'size=2, stride=2'
    """
    texts = [
        f"{name}={_format(value)}"
        for name, value in options.items()
        if value is not None and value is not False
    ]
    return ", ".join([after, *texts] if after else texts)


def unless(value: _Value, default: _Value) -> _Value | None:
    """Return ``value``, or None if it equals the default, which tells a reader nothing."""
    return None if value == default else value


def stride_options(stride: tuple[int, int]) -> dict[str, int]:
    """Return (vertical, horizontal) as options: ``stride``, or ``stride_x`` and ``stride_y``."""
    vertical, horizontal = stride
    if vertical == horizontal:
        return {"stride": vertical}
    return {"stride_x": horizontal, "stride_y": vertical}


def _format(value: object) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(_format, value))}]"
    return str(value)
