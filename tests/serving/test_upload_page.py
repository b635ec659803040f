"""The page of the server in a real browser: pictures are chosen and dropped, and boxes appear."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from darknet_builder.images.files import write_image
from darknet_builder.pages.upload_page import UploadPage
from darknet_builder.prediction.detector import Detector
from darknet_builder.serving.app import create_app
from tests.helpers.browser import browsers, complaints, outside_references
from tests.helpers.served import served
from tests.helpers.toy_detector import BLUE, RED, squares, toy_network

NAMES = ("<img src=x onerror=alert(1)>", "</script>&")
HOSTILE = "<i>red.png"
DROP = """
const bytes = Uint8Array.from(atob(arguments[0]), (letter) => letter.charCodeAt(0));
const data = new DataTransfer();
data.items.add(new File([bytes], "dropped.png", {type: "image/png"}));
document.body.dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}));
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser that shows the page of a running server."""
    detector = Detector(toy_network(), names=NAMES, batch=2)
    folder = tmp_path_factory.mktemp("browser")
    with browsers(folder) as open_page, served(create_app(detector, name="toy <b>")) as site:
        yield open_page(f"{site.url}/")


def captions(browser: Any, count: int) -> list[str]:
    """Return the captions of ``count`` pictures after all answers came, the newest first."""
    from selenium.webdriver.support.ui import WebDriverWait

    def answered(_: Any) -> list[str] | None:
        texts = [part.text for part in browser.find_elements("css selector", "figcaption")]
        done = not any(text.endswith(("waiting", "in work")) for text in texts)
        return texts if len(texts) == count and done else None

    found: list[str] = WebDriverWait(browser, 20, 0.05).until(answered)
    return found


def test_pictures_become_boxes(browser: Any, tmp_path: Path) -> None:
    """Two chosen ones, one dropped one, and a file that is not a picture."""
    write_image(tmp_path / HOSTILE, squares((RED, 1, 2), (BLUE, 3, 3), size=(320, 320)))
    (tmp_path / "notes.png").write_text("no picture")
    assert browser.find_element("css selector", "h1").text == "toy <b>"
    chosen = browser.find_element("id", "files")
    chosen.send_keys(f"{tmp_path / HOSTILE}\n{tmp_path / 'notes.png'}")
    texts = captions(browser, 2)
    assert texts[0] == "notes.png not an image that OpenCV can read"
    assert texts[1].startswith(f"{HOSTILE} 1 ") and f"1 {NAMES[0]}" in texts[1]
    write_image(tmp_path / "red.png", squares((RED, 0, 0)))
    dropped = base64.b64encode((tmp_path / "red.png").read_bytes()).decode()
    browser.execute_script(DROP, dropped)
    assert captions(browser, 3)[0] == f"dropped.png 1 {NAMES[0]}"
    assert browser.find_element("id", "totals").text == "3 objects in 2 pictures"
    places = browser.execute_script(
        """
        const figure = document.querySelectorAll('figure')[2];
        const frame = figure.querySelector('.picture').getBoundingClientRect();
        const box = figure.querySelector('.class-0 .edge').getBoundingClientRect();
        return [(box.left - frame.left) / frame.width, (box.top - frame.top) / frame.height,
                (box.right - frame.left) / frame.width, (box.bottom - frame.top) / frame.height];"""
    )
    np.testing.assert_allclose(places, [1 / 4, 2 / 4, 2 / 4, 3 / 4], atol=0.006)
    assert browser.execute_script("return document.querySelectorAll('figure img').length") == 2
    browser.find_element("id", "threshold").send_keys("\ue010")  # the key End
    assert browser.find_element("id", "totals").text == "0 objects in 2 pictures"
    told = [text for text in complaints(browser) if "/detect" not in text]
    assert [text for text in told if not text.startswith("blob:")] == []


def test_the_page_is_whole() -> None:
    """It loads nothing, names are escaped, and no script but its own may run."""
    # As read from a names file with a byte that is not UTF-8.
    page = UploadPage("a </title>", [*NAMES, "\udcff"], 0.25, has_stream=True)
    assert "<img src=x" not in page.html and page.html.count("</script>") == 2
    assert "a &lt;/title&gt;" in page.html and page.html.encode("utf-8")
    links = '<a href="stream">live picture</a>'
    assert links in page.html
    harmless = UploadPage("title", ["cat"], 0.25).html.replace(
        '<link rel="icon" href="data:,">', ""
    )
    assert outside_references(harmless) == []
    assert "unsafe" not in page.policy.replace("style-src 'unsafe-inline'", "")
