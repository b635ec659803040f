"""What the pages for a browser are made of: templates, style sheets and scripts beside this file,
and their colours.

A page is one file that loads nothing: style, script and data are written into it.
"""

from __future__ import annotations

import json
import re
from html import escape
from importlib.resources import files
from typing import Any

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
_DARK = "@media screen and (prefers-color-scheme: dark)"
"""Paper stays white."""


def read_part(name: str) -> str:
    """The text of a template, a style sheet or a script."""
    return (files("darknet_builder.pages") / name).read_text(encoding="utf-8")


def fill(name: str, **values: str) -> str:
    """A template with every ``{{key}}`` replaced.

    Args:
        name: of the template.
        values: one for each key, HTML already.
    """
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], read_part(name))


def theme_css() -> str:
    """The colours as variables, light or dark as the reader's system is."""

    def rule(theme: str) -> str:
        return (
            ":root{" + "".join(f"--{name}:{color};" for name, color in THEMES[theme].items()) + "}"
        )

    return f"{rule('light')}\n{_DARK}{{{rule('dark')}}}"


def fixed_css(css: str) -> str:
    """A style sheet without variables, for programs that show SVG and do not know them."""

    def theme(name: str) -> str:
        return re.sub(r"var\(--(\w+)\)", lambda match: THEMES[name][match[1]], css)

    return f"{theme('light')}\n{_DARK}{{{theme('dark')}}}"


def script_data(data: Any) -> str:
    """JSON that may stand within ``<script>``: no text in it can end the element."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def html_text(text: object) -> str:
    """Text that may stand anywhere in HTML or SVG; what XML cannot hold becomes a question mark."""
    return escape(re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", str(text)))
