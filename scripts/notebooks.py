"""Write docs/notebooks/*.ipynb from the lesson pages, which are their only source.

    python scripts/notebooks.py

Blocks of Python become cells, commands become cells with ``!``, and outputs are left out: running
the notebook makes them. The first cell installs the package where it is missing. With an address in
``url`` of setup.cfg, it can also fetch the project, links lead to the repository, and a badge opens
the notebook in Colab.
"""

from __future__ import annotations

import argparse
import configparser
import posixpath
import re
import sys
from pathlib import Path

from darknet_builder.errors import DarknetError
from darknet_builder.support.extras import load_extra
from darknet_builder.support.files import write_text

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = ("lessons.md", "lessons.zh-CN.md")
COLAB = "https://colab.research.google.com"
_FORMAT = {"extension": ".md", "split_at_heading": True}
_NOT_RUN = re.compile(r"^<!-- not run: .*\n```\w+\n", re.MULTILINE)
_OUTPUT = re.compile(r"(?<=^```\n)\s*^```text\n.*?^```\n", re.MULTILINE | re.DOTALL)
_CONSOLE = re.compile(r"^```console\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
_PICTURE = re.compile(r"^<picture>\n(.*?)^</picture>\n", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(\]\(|src=\")(?!https?:|#)([^)\"]+)")
_START = """\
# Run this cell first. It goes to the folder of the project, which the other cells need, and
# installs the package if Python does not have it.
import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

here = Path.cwd()
folders = [folder for folder in (here, *here.parents) if (folder / "cfg/lesson.cfg").is_file()]
if not folders:
{otherwise}
os.chdir(folders[0])
try:
    version("darknet-builder")
except PackageNotFoundError:
    %pip install --quiet ".[train]"
"""
_FETCH = """\
    !git clone --quiet --depth 1 {url} darknet_builder
    folders = [here / "darknet_builder"]"""
_MISSING = '    raise FileNotFoundError("open this notebook in a copy of the project")'


def repository() -> str:
    """Return the address of the project's repository; empty if it is not published."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config["metadata"].get("url", "").rstrip("/")


def notebook_path(page: str) -> Path:
    """Return the notebook of a page."""
    return DOCS / "notebooks" / page.replace(".md", ".ipynb")


def badge(page: str, url: str) -> str:
    """Return a picture with a link that opens the notebook of a page in Colab."""
    path = notebook_path(page).relative_to(ROOT).as_posix()
    place = url.removeprefix("https://github.com")
    picture = f"![Open in Colab]({COLAB}/assets/colab-badge.svg)"
    return f"[{picture}]({COLAB}/github{place}/blob/main/{path})"


def notebook_source(page: str, text: str, url: str) -> str:
    """Return a page as the Markdown that jupytext reads: without outputs, ready to run.

    Args:
        page: file name of the page.
        text: of the page.
        url: address of the repository, or empty.
    """
    text = _OUTPUT.sub("", text)
    text = _CONSOLE.sub(_commands, text)
    text = _NOT_RUN.sub("```text\n", text)  # jupytext would make a cell of it
    text = _PICTURE.sub(_light_picture, text)
    text = _LINK.sub(lambda match: match[1] + _target(match[2], url), text)
    title, rest = text.split("\n", 1)
    otherwise = _FETCH.format(url=url) if url else _MISSING
    start = f"```python\n{_START.format(otherwise=otherwise)}```\n"
    parts = [title, "", *([badge(page, url), ""] if url else []), start, rest.lstrip("\n")]
    return "\n".join(parts)


def _commands(match: re.Match[str]) -> str:
    """Return a block of commands and outputs as a cell with the commands alone."""
    commands = re.findall(r"^\$ (.*)\n", match[1], re.MULTILINE)
    # Each ! has a shell of its own, which does not know the status of the last command.
    lines = [f"!{command}\n" for command in commands if command != "echo $?"]
    return f"```python\n{''.join(lines)}```\n"


def _light_picture(match: re.Match[str]) -> str:
    """Return the light one of two pictures: Colab and Jupyter do not choose by the colour theme."""
    return re.sub(r"^ *<source .*\n", "", match[1], flags=re.MULTILINE).strip() + "\n"


def _target(target: str, url: str) -> str:
    """Return a link of a page in docs/ as a link of a notebook in docs/notebooks/."""
    if target in PAGES:
        target = notebook_path(target).relative_to(DOCS).as_posix()
    if not url:
        return posixpath.relpath(target, "notebooks")
    path = posixpath.normpath(posixpath.join("docs", target))
    # Colab shows pictures only from an address.
    raw = url.replace("https://github.com", "https://raw.githubusercontent.com")
    is_picture = path.endswith((".png", ".svg", ".jpg"))
    return f"{raw}/main/{path}" if is_picture else f"{url}/blob/main/{path}"


def make_notebook(page: str, text: str, url: str) -> str:
    """Return a page as the text of an .ipynb file; the same page gives the same text."""
    jupytext = load_extra("jupytext", "notebooks")
    notebook = jupytext.reads(notebook_source(page, text, url), fmt=_FORMAT)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"  # jupytext's are random
        cell.metadata = {}
    return str(jupytext.writes(notebook, fmt="ipynb")).rstrip("\n") + "\n"


def main() -> int:
    """Write the notebooks; 2 if jupytext is not installed."""
    argparse.ArgumentParser(description=__doc__.split("\n\n")[0]).parse_args()
    try:
        for page in PAGES:
            text = (DOCS / page).read_text(encoding="utf-8")
            write_text(notebook_path(page), make_notebook(page, text, repository()))
    except DarknetError as error:
        sys.stderr.write(f"notebooks.py: error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
