"""Options as ``print(network)`` and ``dump`` show them: Darknet's names, the section's values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

_Value = TypeVar("_Value")


def format_options(options: Mapping[str, object], *, after: str = "") -> str:
    """Write options side by side, such as ``size=2, stride=2``.

    Args:
        options: values by Darknet's names. None and False are left out, True is written as 1.
        after: options that are already text, such as those of the base class; they stand first.
    """
    texts = [
        f"{name}={_format(value)}"
        for name, value in options.items()
        if value is not None and value is not False
    ]
    return ", ".join([after, *texts] if after else texts)


def unless(value: _Value, default: _Value) -> _Value | None:
    """Return ``value``, or None where it is Darknet's default and tells a person nothing."""
    return None if value == default else value


def stride_options(stride: tuple[int, int]) -> dict[str, int]:
    """Name (vertical, horizontal) as the cfg does: ``stride``, or ``stride_x`` and ``stride_y``."""
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
