"""A real browser without a window, for the tests of pages. Without a browser they are skipped, with
the reason."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_OUTSIDE = re.compile(
    r"""(?:src|href|srcset|action|poster)\s*=\s*["']?(?!data:)[^"'\s>]|@import|url\((?!data:)|//\w"""
)
_NAMESPACE = "http://www.w3.org/2000/svg"
OpenPage = Callable[..., Any]


@contextmanager
def browsers(folder: Path) -> Iterator[OpenPage]:
    """A function that opens a file or an address in a browser, which is closed at the end; one for
    each colour scheme."""
    webdriver = pytest.importorskip(
        "selenium.webdriver", reason="selenium is not installed: no browser can be steered"
    )
    from selenium.webdriver.chrome.service import Service

    program = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip(f"no {'Chromium' if program is None else 'chromedriver'} on this machine")
    opened: dict[bool, Any] = {}

    def open_page(
        page: Path | str, *, dark: bool = False, size: tuple[int, int] = (1400, 900)
    ) -> Any:
        if dark not in opened:
            options = webdriver.ChromeOptions()
            options.binary_location = program
            for argument in (*_ARGUMENTS, f"--user-data-dir={folder / f'profile-{dark}'}"):
                options.add_argument(argument)
            if dark:
                options.add_argument("--blink-settings=preferredColorScheme=0")
            options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
            opened[dark] = webdriver.Chrome(options=options, service=Service(driver))
        opened[dark].set_window_size(*size)
        opened[dark].get("about:blank")
        opened[dark].get(page if isinstance(page, str) else page.as_uri())
        return opened[dark]

    try:
        yield open_page
    finally:
        for browser in opened.values():
            browser.quit()


def complaints(browser: Any) -> list[str]:
    """What the page's script said or failed at, and what the page loaded from anywhere."""
    loaded = browser.execute_script(
        "return performance.getEntriesByType('resource').map((entry) => entry.name)"
        ".filter((name) => !name.startsWith('data:'))"
    )
    return [entry["message"] for entry in browser.get_log("browser")] + list(loaded)


def outside_references(page: str) -> list[str]:
    """Whatever a page could load from elsewhere."""
    text = re.sub(r"(data:[a-z/]+;base64),[\w+/=]+", r"\1", page.replace(_NAMESPACE, ""))
    return [
        text[max(0, match.start() - 30) : match.end() + 40] for match in _OUTSIDE.finditer(text)
    ]
