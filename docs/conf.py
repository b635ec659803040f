"""How Sphinx makes the site of these pages: ``make docs``. What the program says itself is filled
in here."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from importlib import import_module
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # for tests.helpers.rooms, the order of the rooms

from darknet_builder import __version__  # noqa: E402
from darknet_builder.cli import program as cli  # noqa: E402
from darknet_builder.cli.commands import command_names  # noqa: E402
from tests.helpers.rooms import SOURCES, module_name, rank_of, room_of  # noqa: E402

project = "darknet_builder"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
napoleon_use_ivar = (
    True  # "Attributes:" of a dataclass are a list, not a second description of each
)
python_maximum_signature_line_length = 88  # beyond that, one argument a line

html_theme = "furo"
html_title = f"darknet_builder {version}"
html_copy_source = False


# ---- what the program says itself ----------------------------------------------------------------


def command_pages() -> str:
    """``--help`` of every command, word for word."""
    return "\n".join(f"## {name}\n\n```text\n{help_text(name)}```\n" for name in command_names())


def help_text(name: str) -> str:
    """What ``darknet-builder NAME --help`` writes on a terminal of 100 columns without colour."""
    os.environ.update(COLUMNS="100", NO_COLOR="1")
    with redirect_stdout(io.StringIO()) as out, suppress(SystemExit):
        cli.main([name, "--help"])
    return out.getvalue()


def module_table() -> str:
    """Every module by room, with the first line of its docstring."""
    rows = sorted((rank_of(name), name) for name in map(module_name, SOURCES) if name != "__init__")
    lines = ["| room | module | what it does |", "|---|---|---|"]
    lines += [f"| {room_of(name)} | `{name}` | {first_line(name)} |" for _, name in rows]
    return "\n".join(lines) + f"\n\n{len(rows)} modules.\n"


def first_line(name: str) -> str:
    """Of a module's docstring; ``code`` in Markdown's way."""
    docstring = import_module(f"darknet_builder.{name}".removesuffix(".__init__")).__doc__ or ""
    line = docstring.strip().split("\n\n")[0].replace("\n", " ")
    return re.sub(r"``(.+?)``", r"`\1`", line).replace("|", r"\|")


GENERATED: dict[str, Callable[[], str]] = {
    "<!-- the site shows every command's help here -->": command_pages,
    "<!-- the site shows every module here -->": module_table,
}
"""What a page may say -> what stands in its place on the site."""
ABOVE = re.compile(r"\]\((?:\.\./)+(CONTRIBUTING|CHANGELOG)\.md")
"""A link to a file that lies above this folder, and is a page of the site."""


def fill_in(app: Sphinx, page: str, source: list[str]) -> None:
    """Before Sphinx reads a page."""
    for mark, make in GENERATED.items():
        if mark in source[0]:
            source[0] = source[0].replace(mark, make())
    source[0] = ABOVE.sub(lambda match: f"](/{match[1].lower()}.md", source[0])


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", fill_in)
