"""Sphinx configuration of the site that ``make docs`` builds.

It also inserts generated text into pages: the help of every command and the table of modules.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout, suppress
from importlib import import_module
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # for tests.helpers.rooms

from darknet_builder import __version__  # noqa: E402
from darknet_builder.cli import commands  # noqa: E402
from darknet_builder.cli import program as cli  # noqa: E402
from darknet_builder.cli.commands import command_names, names_in  # noqa: E402
from tests.helpers.rooms import SOURCES, module_name, rank_of, room_of  # noqa: E402

project = "darknet_builder"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # list "Attributes:" of a dataclass; do not describe each attribute twice
python_maximum_signature_line_length = 88  # beyond that, one argument a line

html_theme = "furo"
html_title = f"darknet_builder {version}"
html_copy_source = False


# ---- generated text ------------------------------------------------------------------------------


def command_pages() -> str:
    """Return the ``--help`` text of every command, each below a heading."""
    pages = [
        f"## {' '.join(words)}\n\n```text\n{help_text(words)}```\n"
        for name in command_names()
        for words in words_of(commands.__name__, [name])
    ]
    return "\n".join(pages)


def words_of(package: str, words: list[str]) -> Iterator[list[str]]:
    """Yield the words that call a command, and those that call the commands in it, at any depth."""
    yield words
    module = import_module(f"{package}.{words[-1].replace('-', '_')}")
    for name in names_in(getattr(module, "__path__", [])):
        yield from words_of(module.__name__, [*words, name])


def help_text(words: list[str]) -> str:
    """Return what a command writes for ``--help``, 100 columns wide and without colour."""
    os.environ.update(COLUMNS="100", NO_COLOR="1")
    with redirect_stdout(io.StringIO()) as out, suppress(SystemExit):
        cli.main([*words, "--help"])
    return out.getvalue()


def module_table() -> str:
    """Return a table of all modules: room, name, first line of the docstring."""
    rows = sorted((rank_of(name), name) for name in map(module_name, SOURCES) if name != "__init__")
    lines = ["| room | module | what it does |", "|---|---|---|"]
    lines += [f"| {room_of(name)} | `{name}` | {first_line(name)} |" for _, name in rows]
    return "\n".join(lines) + f"\n\n{len(rows)} modules.\n"


def first_line(name: str) -> str:
    """Return the first paragraph of a module's docstring as one line of Markdown."""
    docstring = import_module(f"darknet_builder.{name}".removesuffix(".__init__")).__doc__ or ""
    line = docstring.strip().split("\n\n")[0].replace("\n", " ")
    return re.sub(r"``(.+?)``", r"`\1`", line).replace("|", r"\|")


GENERATED: dict[str, Callable[[], str]] = {
    "<!-- the site shows every command's help here -->": command_pages,
    "<!-- the site shows every module here -->": module_table,
}
"""Placeholder in a page -> function that returns the text to insert there."""
ABOVE = re.compile(r"\]\((?:\.\./)+(CONTRIBUTING|CHANGELOG|SECURITY)\.md")
"""Links to files above this folder that are also pages of the site."""


PICTURE = re.compile(
    r'<picture>\s*<source [^>]*srcset="([^"]+)">\s*<img alt="([^"]*)" src="([^"]+)">\s*</picture>'
)
"""A dark and a light picture, of which GitHub shows the one that fits."""


def both_pictures(match: re.Match[str]) -> str:
    """Return the directives for both pictures of a ``<picture>``; the theme shows one of them."""
    dark, text, light = match.groups()
    pictures = ((light, "only-light"), (dark, "only-dark"))
    return "\n".join(
        f"```{{image}} {path}\n:alt: {text}\n:class: {kind}\n```\n" for path, kind in pictures
    )


def fill_in(app: Sphinx, page: str, source: list[str]) -> None:
    """Insert generated text and adapt links before Sphinx parses a page."""
    for mark, make in GENERATED.items():
        if mark in source[0]:
            source[0] = source[0].replace(mark, make())
    source[0] = PICTURE.sub(both_pictures, source[0])
    source[0] = ABOVE.sub(lambda match: f"](/{match[1].lower()}.md", source[0])


def setup(app: Sphinx) -> None:
    """Register the event handlers; Sphinx calls this function."""
    app.connect("source-read", fill_in)
