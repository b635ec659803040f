"""Fill the templates of HTML pages, and write the page's colours as CSS.

A page is a single file that loads nothing else: style sheets, script and data are embedded in it.
Templates, style sheets and scripts lie beside this module.
"""

from __future__ import annotations

import json
import re
from html import escape
from importlib.resources import files
from typing import Any

# tests/pages/test_network_page.py checks the contrast of every pair that occurs (WCAG 2.1, 4.5:1).
THEMES: dict[str, dict[str, str]] = {
    "light": {
        "paper": "#ffffff",
        "panel": "#f6f7f9",
        "ink": "#1b1f24",
        "muted": "#5b636c",
        "faint": "#eceef1",
        "line": "#c5cbd3",
        "accent": "#2a57b3",
        "chosen": "#dfe7fb",
        "source": "#fdebc8",
        "reader": "#d3eefb",
        "weights": "#2a57b3",
        "plain": "#0a6678",
        "add": "#24692f",
        "route": "#a34a00",
        "head": "#a81a4c",
    },
    "dark": {
        "paper": "#14171c",
        "panel": "#1c2027",
        "ink": "#e6e9ee",
        "muted": "#a6b0bc",
        "faint": "#23282f",
        "line": "#434b57",
        "accent": "#86adff",
        "chosen": "#263557",
        "source": "#3e300f",
        "reader": "#12394f",
        "weights": "#86adff",
        "plain": "#45cbc6",
        "add": "#68d380",
        "route": "#ffab61",
        "head": "#ff7aaa",
    },
}
"""The colours of the light and of the dark theme, by name."""
_DARK = "@media screen and (prefers-color-scheme: dark)"
"""The condition for the dark theme. It excludes printing, so that paper stays white."""


def read_part(name: str) -> str:
    """Return the text of a template, a style sheet or a script.

    Args:
        name: its file name in this folder.
    """
    return (files("darknet_builder.pages") / name).read_text(encoding="utf-8")


def fill(name: str, **values: str) -> str:
    """Return a template with every ``{{key}}`` replaced by its value.

    Args:
        name: the file name of the template.
        values: one value for each key. They are inserted as they are, so text must be escaped by
            ``html_text`` or ``script_data``.
    """
    # One pass: a "{{key}}" inside a value is not replaced in turn.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], read_part(name))


def theme_css() -> str:
    """Return CSS that sets the colours as variables, light or dark like the reader's system."""

    def rule(theme: str) -> str:
        variables = "".join(f"--{name}:{color};" for name, color in THEMES[theme].items())
        return f":root{{{variables}}}"

    return f"{rule('light')}\n{_DARK}{{{rule('dark')}}}"


def fixed_css(css: str) -> str:
    """Return a style sheet with its colour variables replaced by their values.

    Several programs that show SVG do not support CSS variables.

    Args:
        css: rules with ``var(--name)`` for the names of ``THEMES``.
    """

    def theme(name: str) -> str:
        return re.sub(r"var\(--(\w+)\)", lambda match: THEMES[name][match[1]], css)

    return f"{theme('light')}\n{_DARK}{{{theme('dark')}}}"


def script_data(data: Any) -> str:
    r"""Return data as JSON that may be embedded in a ``<script>`` element.

    Example:
        >>> script_data({"text": "</script>"})
        '{"text":"\\u003c/script>"}'
    """
    # Only "<" can begin the tag that ends the element.
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def html_text(text: object) -> str:
    """Return text escaped for HTML and SVG; characters that XML forbids become question marks.

    Example:
        >>> html_text('a < "b"')
        'a &lt; &quot;b&quot;'
    """
    # The characters that XML 1.0 allows (https://www.w3.org/TR/xml/#charsets).
    return escape(re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", str(text)))
