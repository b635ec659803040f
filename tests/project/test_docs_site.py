"""``make docs``: Sphinx makes a site of docs/ without a warning, with everything in it, for wide
and narrow windows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import darknet_builder
from darknet_builder.cli.commands import command_names
from tests.helpers.browser import browsers, complaints
from tests.helpers.rooms import SOURCES, module_name

ROOT = Path(__file__).parents[2]
ReadPage = Callable[[str], str]
# Sphinx takes a minute of processor time, which "make test" does not have.
pytestmark = [pytest.mark.slow, pytest.mark.pack]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site, built as ``make docs`` does."""
    pytest.importorskip("sphinx", reason="Sphinx is not installed (the extra docs)")
    folder = tmp_path_factory.mktemp("site")
    options = re.search(r"-m sphinx (.+) -b html", (ROOT / "Makefile").read_text())
    assert options is not None and "-W" in options[1].split()
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "sphinx",
            *options[1].split(),
            "-b",
            "html",
            "-d",
            folder / "trees",
            ROOT / "docs",
            folder / "html",
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert (result.returncode, result.stderr) == (0, "")
    return folder / "html"


@pytest.fixture
def read(site: Path) -> ReadPage:
    """A page's HTML."""
    return lambda name: (site / f"{name}.html").read_text(encoding="utf-8")


def test_every_public_name_is_described(site: Path) -> None:
    """Under the name that users import, or where it stands in the package."""
    pages = [path.read_text(encoding="utf-8") for path in (site / "reference").glob("*.html")]
    counts = {
        name: sum(len(re.findall(rf'id="darknet_builder(\.\w+)*\.{name}"', page)) for page in pages)
        for name in darknet_builder.__all__
    }
    assert [name for name, count in counts.items() if not count] == []


def test_every_command_shows_its_help(read: ReadPage) -> None:
    page = read("reference/commands")
    assert [name for name in command_names() if f"usage: darknet-builder {name} " not in page] == []


def test_every_module_has_its_room(read: ReadPage) -> None:
    rows = re.findall(
        r"<tr class=\"row-\w+\"><td><p>(\w+)</p></td>\n<td><p><code.*?><span"
        r" class=\"pre\">(.+?)</span>",
        read("architecture"),
    )
    assert sorted(name for _, name in rows) == sorted(set(map(module_name, SOURCES)) - {"__init__"})
    shown = [name for _, name in rows]
    order = ["errors", "cfg.parser", "network.factory", "training.trainer", "cli.program"]
    assert sorted(order, key=shown.index) == order
    assert all(name.split(".")[0] == room for room, name in rows)


def test_links_to_files_above_are_pages(read: ReadPage) -> None:
    assert 'href="contributing.html"' in read("index") and 'href="../contributing.html"' in read(
        "reference/layers"
    )
    assert "A worked example" in read("contributing") and "Unreleased" in read("changelog")


@pytest.mark.parametrize("width", [1400, 390])
def test_in_a_browser(site: Path, width: int, tmp_path: Path) -> None:
    """No page is wider than its window, and none loads or says anything that it should not."""
    wide = []
    with browsers(tmp_path) as open_page:
        for page in sorted(site.glob("**/*.html")):
            browser = open_page(page)
            browser.execute_cdp_cmd(
                "Emulation.setDeviceMetricsOverride",
                {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500},
            )
            if browser.execute_script("return document.documentElement.scrollWidth") > width:
                wide.append(page.name)
            assert [
                told for told in complaints(browser) if not told.startswith(site.as_uri())
            ] == []
    assert wide == []
