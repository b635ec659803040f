"""Solution of chapter 1: read the cfg."""

from __future__ import annotations


def numbers(text: str) -> list[float]:
    """Return the numbers of a list such as ``10,14, 23,27``.

    Example:
        >>> numbers("10,14,  23.5,27")
        [10.0, 14.0, 23.5, 27.0]
    """
    return [float(part) for part in text.split(",")]


def parse_cfg(text: str) -> list[dict[str, str]]:
    r"""Read a cfg into one dict for each section, in order.

    A section begins with its name in square brackets. The dict stores the name under ``type`` and
    each ``key=value`` as strings. Darknet ignores empty lines, lines that begin with # or ; and all
    spaces, wherever they are. A value may contain another =.

    Example:
        >>> parse_cfg("[net]\nwidth = 32\n# the first layer\n[maxpool]\nsize=2")
        [{'type': 'net', 'width': '32'}, {'type': 'maxpool', 'size': '2'}]
    """
    blocks: list[dict[str, str]] = []
    for line in text.splitlines():
        line = "".join(line.split())
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":
            blocks.append({"type": line.strip("[]")})
        else:
            key, _, value = line.partition("=")
            blocks[-1][key] = value
    return blocks
